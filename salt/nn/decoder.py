"""A layer of a mask decoder: queries learn from the tokens of their jet, and these from the queries.

Shapes: B jets, "..." the tokens of a layout, M queries of each jet, D width, H heads, d = D / H.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from salt.layout import Layout
from salt.nn.attention import Heads
from salt.nn.layers import GLU
from salt.nn.residual import add_linear

CONFIDENT = 0.9
"""Masked attention looks at the tokens that are a query's with more than this probability."""

Attend = Callable[[Tensor, Tensor, Tensor, float], Tensor]
"""Query, key, value (each of shape (any, H, d)) and the factor on the logits -> what the queries found."""


class CrossAttention(Heads):
    """Multi-head attention of some vectors to others.

    Its parameters are those of `Heads`.
    """

    def forward(self, x: Tensor, source: Tensor, attend: Attend) -> Tensor:
        """x, with what it learns from the source, both of width D; `attend` knows what lies where."""
        query, key, value = self.projected_apart(x, source)
        return add_linear(x, attend(query, key, value, self.scale).flatten(-2), self.out_proj)


class MaskDecoderLayer(nn.Module):
    """Queries look at tokens, at each other, and pass a feed-forward net; then tokens look at queries.

    Cheng et al., Masked-attention Mask Transformer, arXiv:2112.01527; each step is added to its input.

    Parameters
    ----------
    embed_dim : int
        Width D of queries and tokens.
    n_heads : int
        Number of attention heads, a divisor of D.
    mask_attention : bool
        Let a query look only at the tokens that are in its mask so far, at all if none is.
    bidirectional_ca : bool
        Let the tokens look at the queries, too.
    """

    def __init__(
        self, embed_dim: int, n_heads: int = 1, mask_attention: bool = True, bidirectional_ca: bool = True
    ) -> None:
        super().__init__()
        if embed_dim % n_heads:
            raise ValueError(f"embed_dim {embed_dim} is not a multiple of n_heads {n_heads} (key md_config)")
        self.mask_attention = mask_attention
        self.q_ca = CrossAttention(embed_dim, n_heads)
        self.q_sa = CrossAttention(embed_dim, n_heads)
        self.q_dense = GLU(embed_dim)
        self.kv_ca = CrossAttention(embed_dim, n_heads) if bidirectional_ca else None
        self.kv_dense = GLU(embed_dim) if bidirectional_ca else None

    def forward(
        self, queries: Tensor, x: Tensor, layout: Layout, mask_net: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Queries (B, M, D) and tokens (..., D) to new ones; `mask_net` makes queries what masks are made with."""
        allowed = None
        if self.mask_attention:
            with torch.no_grad():
                allowed = layout.dot_queries(x, mask_net(queries)).sigmoid() > CONFIDENT
        queries = self.q_ca(queries, x, partial(layout.attend_from, allowed=allowed))
        queries = self.q_sa(queries, queries, attend_together)
        queries = self.q_dense(queries, queries)
        if self.kv_ca is not None and self.kv_dense is not None:
            x = self.kv_ca(x, queries, layout.attend_to)
            x = self.kv_dense(x, x)
        return queries, x


def attend_together(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    """Softmax attention of the queries of a jet to each other: (B, M, H, d) three times -> (B, M, H, d)."""
    q, k, v = (x.transpose(1, 2) for x in (query, key, value))
    return F.scaled_dot_product_attention(q, k, v, scale=scale).transpose(1, 2)
