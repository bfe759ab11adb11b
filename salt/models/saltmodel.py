"""The model: embed each stream, encode them together, pool, and ask the tasks.

Shapes: B jets, "..." the tokens of a layout, Q objects that are looked for, D width, P parameters, G variables of the
stream `global`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from salt.data.objects import OBJECTS
from salt.layout import Layout, Packed
from salt.models.featurewise import after_encoder, before_layers, by_layer
from salt.models.maskformer import MaskDecoder
from salt.models.object_finder import ObjectFinder
from salt.models.streams import check_edges, check_reads, check_streams
from salt.models.tagger import Tagger, dense
from salt.nn.edges import EdgeInitNet
from salt.nn.embedding import InitNet
from salt.nn.encoder import Between, Encoded, Encoder, Tokens, unencoded
from salt.nn.merging import StreamMerge
from salt.nn.pooling import Pooling
from salt.types import GLOBAL, PARAMETERS, Batch, Columns, Inputs, Preds, Schema, ragged


class SaltModel(Tagger):
    """A tagger: several streams in, several tasks out.

    What the tasks of the global object read is what is pooled, and behind it the variables of the stream `global`.

    Parameters
    ----------
    schema : Schema
        The streams and their variables. The CLI fills it in from `data`.
    init_nets : list[dict[str, Any]]
        Arguments of one `InitNet` for each stream of constituents, in the order in which they are merged; or of one
        for the global object, whose embedding is in the place of what is pooled (DL1).
    tasks : nn.ModuleList
        The `Task`s.
    encoder : Encoder | None
        The encoder of all constituents together; None: they are pooled as they were embedded (DeepSets).
    pool_net : Pooling | None
        From tokens to one vector a jet; None: no task may read the global object, but where an init net embeds it.
    merge_dict : dict[str, list[str]] | None
        Name -> streams that enter the encoder as one, behind those that stay alone; None: each enters for itself.
    featurewise_nets : list[dict[str, Any]] | None
        Arguments of a `FeaturewiseTransformation` for some of the layers input, encoder (of which each layer has its
        own) and global; None: parameters, if there are any, are inputs of the init nets.
    edge_init_nets : list[dict[str, Any]] | None
        Arguments of one `EdgeInitNet` for each stream whose pairs the encoder looks at (`data.edge_constructors`).
    mask_decoder : MaskDecoder | None
        Finds objects (data.mf_config) among the encoded constituents, for tasks on the stream `objects`; None: none.
    """

    def __init__(
        self,
        schema: Schema,
        init_nets: list[dict[str, Any]],
        tasks: nn.ModuleList,
        encoder: Encoder | None = None,
        pool_net: Pooling | None = None,
        merge_dict: dict[str, list[str]] | None = None,
        featurewise_nets: list[dict[str, Any]] | None = None,
        edge_init_nets: list[dict[str, Any]] | None = None,
        mask_decoder: MaskDecoder | None = None,
    ) -> None:
        super().__init__(schema, tasks)
        check_streams(schema, init_nets, encoder, pool_net, merge_dict or {})
        of = by_layer(featurewise_nets)
        self.init_nets = nn.ModuleList(
            InitNet(schema=schema, **config, featurewise=of.get("input")) for config in init_nets
        )
        self.edge_init_nets = nn.ModuleList(EdgeInitNet(schema=schema, **config) for config in edge_init_nets or [])
        self.encoder = encoder
        self.pool_net = pool_net
        self.merge_dict = dict(merge_dict or {})
        self.featurewise_encoder = before_layers(schema, of.get("encoder"), encoder)
        size = self._nets()[0].net.output_size if encoder is None else encoder.output_size
        self.featurewise_global = after_encoder(schema, of.get("global"), size)
        streams = [net.input_name for net in self._nets()]
        readers = self.heads() if mask_decoder is None else self.row_heads()
        check_reads(schema, readers, streams, pool_net, self.merge_dict)
        check_edges(schema, streams, self._edge_nets(), encoder)
        self.mask_decoder = mask_decoder
        self._finder: ObjectFinder | None = None
        if mask_decoder is not None:
            self._finder = ObjectFinder(mask_decoder, schema.objects, self.heads(), streams)

    def _nets(self) -> list[InitNet]:
        return cast(list[InitNet], list(self.init_nets))

    def _edge_nets(self) -> dict[str, EdgeInitNet]:
        return {net.input_name: net for net in cast(list[EdgeInitNet], list(self.edge_init_nets))}

    def forward(self, inputs: Inputs, house: type[Layout] = Packed) -> Preds:
        """Normalised inputs of each stream to the raw output of each task."""
        embedded = self._embed(inputs, house)
        encoded = self._encode(embedded, dense(inputs, PARAMETERS)) if embedded else None
        streams = {tokens.name: tokens for tokens in encoded.streams} if encoded is not None else {}
        found = self._finder.find(streams.values()) if self._finder is not None else None
        pooled = self._pool(encoded, inputs, None if found is None else found.embed)
        preds: Preds = {} if found is None else dict(found.preds)
        for task in self.heads():
            if task.input_name == self.schema.global_object:
                preds[task.name] = task(pooled, None, None)
            elif found is not None and task.input_name == OBJECTS:
                preds[task.name] = task(found.embed, None, None)
            else:
                tokens = streams[task.input_name]
                preds[task.name] = task(tokens.x, pooled, tokens.layout)
        return preds

    def _embed(self, inputs: Inputs, house: type[Layout]) -> list[Tokens]:
        """The embedded constituents of each stream."""
        jets, parameters = dense(inputs, self.schema.global_object), dense(inputs, PARAMETERS)
        embedded, edge_nets = [], self._edge_nets()
        for net in self._nets():
            if net.input_name != self.schema.global_object:
                stream, edge_net = ragged(inputs, net.input_name), edge_nets.get(net.input_name)
                x, layout = house.of(stream)
                edges = edge_net(house.of(stream.raw())[0], layout) if edge_net is not None else None
                embedded.append(Tokens(net.input_name, net(x, jets, parameters, layout), layout, edges))
        return embedded

    def _encode(self, embedded: Sequence[Tokens], parameters: Tensor | None) -> Encoded:
        """What becomes of the embedded streams in the encoder, if there is one."""
        merge = StreamMerge(embedded, self.merge_dict)
        if self.encoder is None:
            encoded = unencoded(merge.streams)
        else:
            encoded = self.encoder(merge.streams, self._between(parameters))
        streams = merge.parted(encoded.streams)
        if self.featurewise_global is None:
            return encoded._replace(streams=streams)
        tokens = [*streams, encoded.together]
        changed = [of._replace(x=self.featurewise_global(of.x, parameters, of.layout)) for of in tokens]
        return Encoded(changed[:-1], changed[-1])

    def _between(self, parameters: Tensor | None) -> Between | None:
        """Each layer's transformation in turn; None: there are none."""
        if not len(self.featurewise_encoder):
            return None
        nets = iter(self.featurewise_encoder)
        return lambda x, layout: next(nets)(x, parameters, layout)

    def _pool(self, encoded: Encoded | None, inputs: Inputs, queries: Tensor | None) -> Tensor | None:
        """What is known of each jet (B, D + G), its objects (B, Q, D) included; None: nobody asks for it."""
        if encoded is None:
            jets = dense(inputs, self.schema.global_object)
            pooled = self._nets()[0](jets, jets, dense(inputs, PARAMETERS), None)
        elif self.pool_net is not None:
            pooled = self.pool_net(encoded.together, queries)
        else:
            return None
        more = dense(inputs, GLOBAL)
        return pooled if more is None else torch.cat([pooled, more], -1)

    def finder(self) -> ObjectFinder | None:
        """What finds objects; None where there is no mask decoder."""
        return self._finder

    def losses(self, preds: Preds, batch: Batch, house: type[Layout] = Packed) -> dict[str, tuple[Tensor, Tensor]]:
        """Sum and count of each loss: of tasks, and of the mask decoder."""
        found = {} if self._finder is None else self._finder.losses(preds, batch, house)
        return super().losses(preds, batch, house) | found

    def loss_weights(self) -> dict[str, float]:
        """Name of each loss -> its weight in the total."""
        return super().loss_weights() | ({} if self._finder is None else self._finder.loss_weights())

    def outputs(
        self, preds: Preds, inputs: Inputs, columns: Columns, house: type[Layout] = Packed
    ) -> dict[str, dict[str, Tensor]]:
        """Physical values of each task, and what the mask decoder says of objects and their constituents."""
        outputs = super().outputs(preds, inputs, columns, house)
        if self._finder is not None:
            outputs |= self._finder.outputs(preds, self._finder.layout(inputs, house))
        return outputs
