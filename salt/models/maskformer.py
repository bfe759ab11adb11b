"""MaskDecoder: finds a fixed number of objects among the constituents of a jet.

Shapes: B jets, "..." the constituents of a layout, Q queries of each jet, C classes of objects, D width, K layers that
have losses: the last one, after earlier ones where these have.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from salt.models.object_losses import ObjectLosses
from salt.nn.decoder import MaskDecoderLayer
from salt.nn.encoder import Tokens, joined
from salt.types import Preds

OBJECT_CLASS, OBJECT_MASKS = "object_class", "object_masks"
"""Names of the decoder's own answers: (K, B, Q, C + 1) and (K, ..., Q) logits."""


class Found(NamedTuple):
    """What the decoder has found."""

    embed: Tensor
    """(B, Q, D)"""
    preds: Preds
    """Its own answers."""


class MaskDecoder(nn.Module):
    """Queries ask the encoded constituents of a jet for its objects: what each is, and which constituents are of it.

    Cheng et al., Per-pixel classification is not all you need, arXiv:2107.06278; Stroud et al., Secondary vertex
    reconstruction with MaskFormers, arXiv:2312.12272.

    Every jet has one more token besides its constituents, of zeros: a jet without constituents can be asked, too.

    Parameters
    ----------
    embed_dim : int
        Width D of the encoded constituents, and of the queries.
    num_layers : int
        Number of decoder layers.
    md_config : Mapping[str, Any]
        Arguments of each `MaskDecoderLayer` but the width: n_heads, mask_attention, bidirectional_ca.
    class_net : nn.Module
        From queries (B, Q, D) to class logits; `Dense` with `output_size` C + 1, the last for no object. One class
        needs one logit only, that of no object.
    mask_net : nn.Module
        From queries (B, Q, D) to the vectors by which constituents (D) are multiplied to mask logits.
    num_objects : int
        Q.
    loss_config : Mapping[str, Any]
        Arguments of `ObjectLosses`: num_classes, loss_weights, ...
    aux_loss : bool
        Let each layer but the last have its own losses, too, with the same weights.
    """

    def __init__(
        self,
        embed_dim: int,
        num_layers: int,
        md_config: Mapping[str, Any],
        class_net: nn.Module,
        mask_net: nn.Module,
        num_objects: int,
        loss_config: Mapping[str, Any],
        aux_loss: bool = False,
    ) -> None:
        super().__init__()
        self.embed_dim = embed_dim
        self.aux_loss = aux_loss
        self.queries = nn.Parameter(torch.randn(num_objects, embed_dim))
        self.class_net = class_net
        self.mask_net = mask_net
        self.layers = nn.ModuleList(MaskDecoderLayer(embed_dim, **md_config) for _ in range(num_layers))
        self.norm1 = nn.LayerNorm(embed_dim)
        self.norm2 = nn.LayerNorm(embed_dim)
        self.mask_loss = ObjectLosses(**loss_config)

    def forward(self, tokens: Tokens) -> Found:
        """Encoded constituents (..., D) to objects."""
        layout = tokens.layout
        x, merged = joined([tokens._replace(x=self.norm2(tokens.x))], registers=tokens.x.new_zeros(1, self.embed_dim))
        queries = self.norm1(self.queries).expand(layout.num_jets, -1, -1)
        classes, masks = [], []
        for number, layer in enumerate(self.layers, 1):
            queries, x = layer(queries, x, merged.layout, self.mask_net)
            if self.aux_loss or number == len(self.layers):
                classes.append(self.class_net(queries))
                masks.append(layout.dot_queries(merged.part(x, 0), self.mask_net(queries)))
        return Found(queries, {OBJECT_CLASS: torch.stack(classes), OBJECT_MASKS: torch.stack(masks)})
