"""From variables to vectors: normalisation, and the net that embeds each stream.

Shapes: B jets, T constituents, F variables, G variables of the global object, D width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from salt.layout import Layout
from salt.nn.layers import Dense
from salt.ragged import Ragged
from salt.types import Inputs, Schema

NormDict = Mapping[str, Mapping[str, Mapping[str, float]]]
"""Dataset -> variable -> {mean, std}."""


class InputNorm(nn.Module):
    """Shift and scale every input variable: (x - mean) / std, in a copy.

    Parameters
    ----------
    schema : Schema
        The streams and their variables.
    norm_dict : NormDict | None
        Dataset name -> variable -> {mean, std}; None: mean 0 and std 1, to be loaded from a checkpoint.
    """

    def __init__(
        self, schema: Schema, norm_dict: Mapping[str, Mapping[str, Mapping[str, float]]] | None = None
    ) -> None:
        super().__init__()
        self.streams = list(schema.variables)
        for stream, names in schema.variables.items():
            means, stds = torch.zeros(len(names)), torch.ones(len(names))
            if norm_dict is not None:
                of = norm_dict[schema.dataset(stream)]
                means = torch.tensor([float(of[name]["mean"]) for name in names])
                stds = torch.tensor([float(of[name]["std"]) for name in names])
            self.register_buffer(f"{stream}_means", means)
            self.register_buffer(f"{stream}_stds", stds)

    def forward(self, inputs: Inputs) -> dict[str, Tensor | Ragged]:
        """Inputs of each stream, normalised."""
        return {stream: self._scale(stream, x) for stream, x in inputs.items()}

    def _scale(self, stream: str, x: Tensor | Ragged) -> Tensor | Ragged:
        means, stds = self.get_buffer(f"{stream}_means"), self.get_buffer(f"{stream}_stds")
        if isinstance(x, Ragged):
            return x.with_values((x.values - means) / stds)
        return (x - means) / stds


class InitNet(nn.Module):
    """Embed the constituents of one stream, with the variables of their jet in front.

    Parameters
    ----------
    schema : Schema
        The streams and their variables.
    input_name : str
        The stream to embed.
    dense_config : dict[str, Any]
        Arguments of `Dense`; its `input_size` follows from the schema.
    attach_global : bool
        Whether the global object's variables are inputs too.
    """

    def __init__(
        self, schema: Schema, input_name: str, dense_config: dict[str, Any], attach_global: bool = True
    ) -> None:
        super().__init__()
        self.input_name = input_name
        self.attach_global = attach_global and bool(schema.variables.get(schema.global_object))
        own = len(schema.variables[input_name])
        context = len(schema.variables[schema.global_object]) if self.attach_global else 0
        config = dict(dense_config)
        given = config.pop("input_size", own + context)
        if given != own + context:
            raise ValueError(
                f"init net of {input_name!r}: dense_config.input_size is {given}, but data.variables gives {own} "
                f"of {input_name!r} and {context} of {schema.global_object!r}: leave input_size out"
            )
        self.net = Dense(input_size=own, context_size=context, **config)

    def forward(self, x: Tensor, global_inputs: Tensor | None, layout: Layout) -> Tensor:
        """Constituents (..., F) and their jets (B, G) to tokens (..., D)."""
        return self.net(x, global_inputs if self.attach_global else None, layout)
