"""The encoder of the first versions (end of 2022): a graph network without edges, its attention to choose.

Shapes: "..." the tokens of a layout, D width, H heads, d = D / H.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from salt.layout import Layout
from salt.nn.attention import Weighing
from salt.nn.encoder import Between, Encoded, Encoder, Tokens, joined, parted, through
from salt.nn.layers import Dense, make_activation, make_norm


class GATv2Attention(Weighing):
    """Attention whose score is a small net of receiver and sender together.

    The weight of token j for token i is softmax_j(a . activation(q_i + k_j)), a of each head.
    Brody, Alon and Yahav, How attentive are graph attention networks?, arXiv:2105.14491.

    Parameters
    ----------
    num_heads : int
        H.
    head_dim : int
        d.
    activation : str
        Name of a class of `torch.nn`.
    dropout : float
        Probability of dropping an attention weight.
    """

    def __init__(self, num_heads: int, head_dim: int, activation: str = "LeakyReLU", dropout: float = 0.0) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.head_dim = head_dim
        self.activation = activation
        self.dropout = dropout
        self.score = _Score(num_heads, head_dim, activation)

    def forward(self, qkv: Tensor, scale: float, layout: Layout) -> Tensor:
        """Queries, keys and values (..., 3, H, d) to what tokens learn from each other; nothing is scaled."""
        q, k, v = qkv.unbind(-3)
        return layout.attend_scored(self.score, q, k, v, self.dropout if self.training else 0.0)

    def of_layer(self, num_heads: int, head_dim: int) -> GATv2Attention:
        """Another of the same arguments, with weights of its own."""
        if (num_heads, head_dim) != (self.num_heads, self.head_dim):
            raise ValueError(
                f"GATv2Attention has num_heads {self.num_heads} and head_dim {self.head_dim}, but the encoder's "
                f"num_heads and embd_dim give {num_heads} and {head_dim}: let them agree"
            )
        return GATv2Attention(num_heads, head_dim, self.activation, self.dropout)


class _Score(nn.Module):
    def __init__(self, num_heads: int, head_dim: int, activation: str) -> None:
        super().__init__()
        self.weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(num_heads, head_dim)))
        self.activation = make_activation(activation)

    def forward(self, x: Tensor) -> Tensor:
        """(pairs, H, d) to (pairs, H)."""
        return (self.activation(x) * self.weight).sum(-1)


class MultiheadAttention(nn.Module):
    """Several heads of an attention, from projections of the tokens, projected again.

    Parameters
    ----------
    embd_dim : int
        Width D of the tokens.
    num_heads : int
        H, a divisor of D.
    attention : Weighing
        How tokens weigh each other: ScaledDotProductAttention or GATv2Attention.
    """

    def __init__(self, embd_dim: int, num_heads: int, attention: Weighing) -> None:
        super().__init__()
        if embd_dim % num_heads:
            raise ValueError(f"embd_dim {embd_dim} is not a multiple of num_heads {num_heads}")
        self.num_heads = num_heads
        self.scale = (embd_dim // num_heads) ** -0.5
        self.attention = attention.of_layer(num_heads, embd_dim // num_heads)
        self.in_proj = nn.Linear(embd_dim, 3 * embd_dim)
        self.out_proj = nn.Linear(embd_dim, embd_dim)

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """What tokens (..., D) learn from each other."""
        qkv = self.in_proj(x).unflatten(-1, (3, self.num_heads, -1))
        return self.out_proj(self.attention(qkv, self.scale, layout).flatten(-2))


class GraphTransformer(Encoder):
    """What `salt.models.Transformer` was at the end of 2022; its arguments tell it from today's.

    Each layer has an attention of its own; then all shared one.

    Parameters
    ----------
    embd_dim : int
        Width D of the tokens.
    num_heads, num_layers : int
        Heads of the attention, and how often it is applied.
    attention : Weighing
        How tokens weigh each other: ScaledDotProductAttention or GATv2Attention.
    activation : str
        Name of a class of `torch.nn`, inside the net that follows the attention.
    residual : bool
        Whether what the steps give is added to what they read.
    norm_layer : str | None
        LayerNorm or RMSNorm, of what a step reads; None: nothing is normalised.
    dropout : float
        Probability of dropping an input of a linear map of that net.
    out_proj : Dense | None
        A net behind the last layer; None: there is none.
    """

    def __init__(
        self,
        embd_dim: int,
        num_heads: int,
        num_layers: int,
        attention: Weighing,
        activation: str = "SiLU",
        residual: bool = True,
        norm_layer: str | None = None,
        dropout: float = 0.0,
        out_proj: Dense | None = None,
    ) -> None:
        super().__init__(embd_dim, embd_dim if out_proj is None else out_proj.output_size)
        self.num_layers = num_layers
        self.layers = nn.ModuleList(
            _Layer(embd_dim, num_heads, attention, activation, residual, norm_layer, dropout) for _ in range(num_layers)
        )
        self.out_proj = nn.Identity() if out_proj is None else out_proj

    def forward(self, streams: Sequence[Tokens], between: Between | None = None) -> Encoded:
        """Embedded streams (..., D) to encoded ones (..., output_size)."""
        x, merged = joined(streams)
        x = through(self.layers, x, merged.layout, between)
        x = self.out_proj(x)
        return Encoded(parted(streams, merged, x), Tokens("", x, merged.layout))


class _Layer(nn.Module):
    def __init__(
        self, width: int, heads: int, attention: Weighing, act: str, residual: bool, norm: str | None, dropout: float
    ) -> None:
        super().__init__()
        self.residual = residual
        self.norm1 = make_norm(norm, width) if norm else nn.Identity()
        self.norm2 = make_norm(norm, width) if norm else nn.Identity()
        self.mha = MultiheadAttention(width, heads, attention)
        self.dense = Dense(width, activation=act, dropout=dropout)

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """Tokens (..., D) to tokens (..., D)."""
        learned = self.mha(self.norm1(x), layout)
        x = x + learned if self.residual else learned
        learned = self.dense(self.norm2(x))
        return x + learned if self.residual else learned
