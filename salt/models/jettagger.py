"""The tagger of the first versions (end of 2022): jets and their tracks, an encoder, tasks of jets and of tracks.

Shapes: B jets, "..." the tokens of a layout, D width.
"""

from __future__ import annotations

from torch import Tensor, nn

from salt.layout import Layout, Packed
from salt.models.streams import only_stream
from salt.models.tagger import Tagger, dense
from salt.nn.embedding import in_front
from salt.nn.encoder import Encoder, Tokens, unencoded
from salt.nn.layers import Dense
from salt.nn.pooling import Pooling
from salt.tasks.base import Task
from salt.types import Inputs, Preds, Schema, ragged


class JetTagger(Tagger):
    """A tagger of jets with one stream of tracks.

    Parameters
    ----------
    schema : Schema
        The streams and their variables, one of constituents. The CLI fills it in from `data`.
    init_net : Dense
        Embeds each track; its input is the variables of the jet, and behind them those of the track.
    pool_net : Pooling
        From tracks to one vector a jet.
    gnn : Encoder | None
        The encoder of the tracks; None: they are pooled as they were embedded.
    jet_net, track_net : list[Task]
        Tasks of jets, which read what is pooled; and of tracks, which read their track, with what is pooled in front
        where their net is so wide.
    """

    def __init__(
        self,
        schema: Schema,
        init_net: Dense,
        pool_net: Pooling,
        gnn: Encoder | None = None,
        jet_net: Task | list[Task] | None = None,
        track_net: Task | list[Task] | None = None,
    ) -> None:
        super().__init__(schema, nn.ModuleList([*_listed(jet_net), *_listed(track_net)]))
        self.stream = only_stream(schema, "JetTagger")
        jets = len(schema.variables.get(schema.global_object, []))
        own = len(schema.variables[self.stream])
        if init_net.input_size != jets + own:
            raise ValueError(
                f"init_net.input_size is {init_net.input_size}, but data.variables gives {own} of {self.stream!r} and "
                f"{jets} of {schema.global_object!r}: they are {jets + own} together"
            )
        for key, tasks, stream in (("jet_net", jet_net, schema.global_object), ("track_net", track_net, self.stream)):
            for task in _listed(tasks):
                if task.input_name != stream:
                    raise ValueError(
                        f"{key} has a task {task.name!r} of {task.input_name!r}: its label has to be one of {stream!r}"
                    )
        self.init_net = init_net
        self.gnn = gnn
        self.pool_net = pool_net

    def forward(self, inputs: Inputs, house: type[Layout] = Packed) -> Preds:
        """Normalised inputs of each stream to the raw output of each task."""
        x, layout = house.of(ragged(inputs, self.stream))
        embedded = [Tokens(self.stream, self.init_net(x, dense(inputs, self.schema.global_object), layout), layout)]
        encoded = unencoded(embedded) if self.gnn is None else self.gnn(embedded)
        pooled = self.pool_net(encoded.together)
        (tracks,) = encoded.streams
        preds: Preds = {}
        for task in self.heads():
            if task.input_name == self.schema.global_object:
                preds[task.name] = task(pooled, None, None)
            else:
                preds[task.name] = self._of_tracks(task, tracks, pooled)
        return preds

    def _of_tracks(self, task: Task, tracks: Tokens, pooled: Tensor) -> Tensor:
        if task.net.context_size or task.net.input_size == tracks.x.shape[-1]:
            return task(tracks.x, pooled, tracks.layout)
        return task(in_front(pooled, tracks.x, tracks.layout), None, tracks.layout)


def _listed(tasks: Task | list[Task] | None) -> list[Task]:
    return [] if tasks is None else [tasks] if isinstance(tasks, Task) else list(tasks)
