"""The tagger of boosted Higgs bosons of release 21: one net on the first subjets of a jet.

Shapes: B jets, N subjets, G variables of a jet, F of a subjet.
"""

from __future__ import annotations

import torch
from torch import nn

from salt.layout import Layout, Packed
from salt.models.streams import only_stream
from salt.models.tagger import Tagger, dense
from salt.types import Inputs, Preds, Schema, ragged


class R21Xbb(Tagger):
    """Tasks that read the first constituents of a jet one after the other, each with the jet's variables in front.

    A jet with fewer has the mean of each variable in the place of those that it lacks: zero, normalised.

    Parameters
    ----------
    schema : Schema
        The streams and their variables, one of constituents. The CLI fills it in from `data`.
    tasks : nn.ModuleList
        The `Task`s, of the global object.
    num_constituents : int
        N, how many constituents are read.
    """

    def __init__(self, schema: Schema, tasks: nn.ModuleList, num_constituents: int = 3) -> None:
        super().__init__(schema, tasks)
        self.stream = only_stream(schema, "R21Xbb")
        self.num_constituents = num_constituents
        jets = len(schema.variables.get(schema.global_object, []))
        own = len(schema.variables[self.stream])
        width = num_constituents * (jets + own)
        for task in self.heads():
            if task.input_name != schema.global_object:
                raise ValueError(
                    f"task {task.name!r} reads input_name {task.input_name!r}, but tasks of R21Xbb read the global "
                    f"object {schema.global_object!r}"
                )
            if task.net.input_size != width:
                raise ValueError(
                    f"task {task.name!r}: dense_config.input_size is {task.net.input_size}, but it reads {width}: "
                    f"{num_constituents} of {self.stream!r} with {own} variables, and {jets} of "
                    f"{schema.global_object!r} with each"
                )

    def forward(self, inputs: Inputs, house: type[Layout] = Packed) -> Preds:
        """Normalised inputs of each stream to the raw output of each task."""
        x, layout = house.of(ragged(inputs, self.stream))
        slots = layout.slots(x, self.num_constituents)  # (B, N, F)
        jets = dense(inputs, self.schema.global_object)
        if jets is not None:
            slots = torch.cat([jets[:, None].expand(-1, self.num_constituents, -1), slots], -1)
        return {task.name: task(slots.flatten(1), None, None) for task in self.heads()}
