"""The model: embed each stream, encode them together, pool, and ask the tasks.

Shapes: B jets, "..." the tokens of a layout, D width.
"""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor, nn

from salt.layout import Layout, Packed
from salt.models.tagger import Tagger, ragged
from salt.nn.embedding import InitNet
from salt.nn.encoder import Encoder, Tokens, unencoded
from salt.nn.pooling import Pooling
from salt.types import Inputs, Preds, Schema


class SaltModel(Tagger):
    """A tagger: several streams in, several tasks out.

    Parameters
    ----------
    schema : Schema
        The streams and their variables. The CLI fills it in from `data`.
    init_nets : list[dict[str, Any]]
        Arguments of one `InitNet` for each stream of constituents, in the order in which they are merged.
    tasks : nn.ModuleList
        The `Task`s.
    encoder : Encoder | None
        The encoder of all constituents together; None: they are pooled as they were embedded (DeepSets).
    pool_net : Pooling | None
        From tokens to one vector a jet; None: no task may read the global object.
    """

    def __init__(
        self,
        schema: Schema,
        init_nets: list[dict[str, Any]],
        tasks: nn.ModuleList,
        encoder: Encoder | None = None,
        pool_net: Pooling | None = None,
    ) -> None:
        super().__init__(schema, tasks)
        self.init_nets = nn.ModuleList(InitNet(schema=schema, **config) for config in init_nets)
        self.encoder = encoder
        self.pool_net = pool_net
        self._check_streams()

    def _nets(self) -> list[InitNet]:
        return cast(list[InitNet], list(self.init_nets))

    def _check_streams(self) -> None:
        streams = [self.schema.global_object, *(net.input_name for net in self._nets())]
        for task in self.heads():
            if task.input_name not in streams:
                raise ValueError(
                    f"task {task.name!r} reads input_name {task.input_name!r}, which no init net embeds; "
                    f"there are {', '.join(map(repr, streams))}"
                )

    def forward(self, inputs: Inputs, house: type[Layout] = Packed) -> Preds:
        """Normalised inputs of each stream to the raw output of each task."""
        embedded = self._embed(inputs, house)
        encoded = self.encoder(embedded) if self.encoder is not None else unencoded(embedded)
        pooled = self.pool_net(encoded.together) if self.pool_net is not None else None
        streams = {tokens.name: tokens for tokens in encoded.streams}
        preds: Preds = {}
        for task in self.heads():
            if task.input_name == self.schema.global_object:
                preds[task.name] = task(pooled, None, None)
            else:
                tokens = streams[task.input_name]
                preds[task.name] = task(tokens.x, pooled, tokens.layout)
        return preds

    def _embed(self, inputs: Inputs, house: type[Layout]) -> list[Tokens]:
        """The embedded constituents of each stream."""
        jets = inputs.get(self.schema.global_object)
        assert jets is None or isinstance(jets, Tensor)
        embedded = []
        for net in self._nets():
            x, layout = house.of(ragged(inputs, net.input_name))
            embedded.append(Tokens(net.input_name, net(x, jets, layout), layout))
        return embedded
