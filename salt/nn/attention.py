"""Attention: how the tokens of a jet learn from each other.

Shapes: "..." the tokens of a layout, D width, H heads, d = D / H.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from salt.layout import Layout
from salt.nn.layers import add_linear

ATTENTION_TYPES = ("torch-math", "torch-meff", "torch-flash", "flash-varlen")


class Attention(nn.Module):
    """Multi-head self-attention inside each jet. Vaswani et al., Attention is all you need, arXiv:1706.03762.

    Parameters
    ----------
    embed_dim : int
        Width D of the tokens.
    num_heads : int
        Number of heads H, a divisor of D.
    dropout : float
        Probability of dropping an attention weight.
    bias : bool
        Whether the projections have a bias.
    """

    def __init__(self, embed_dim: int, num_heads: int = 1, dropout: float = 0.0, bias: bool = True) -> None:
        super().__init__()
        if embed_dim % num_heads:
            raise ValueError(f"embed_dim {embed_dim} is not a multiple of num_heads {num_heads} (key attn_kwargs)")
        self.num_heads = num_heads
        self.dropout = dropout
        self.scale = (embed_dim // num_heads) ** -0.5
        self.in_proj_weight = nn.Parameter(torch.empty(3 * embed_dim, embed_dim))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * embed_dim)) if bias else None
        self.out_proj = nn.Linear(embed_dim, embed_dim, bias=bias)
        nn.init.xavier_uniform_(self.in_proj_weight)
        if bias:
            nn.init.zeros_(self.out_proj.bias)

    def forward(self, residual: Tensor, x: Tensor, layout: Layout) -> Tensor:
        """What tokens (..., D) learn from each other, added to the residual (..., D)."""
        qkv = F.linear(x, self.in_proj_weight, self.in_proj_bias)
        qkv = qkv.unflatten(-1, (3, self.num_heads, -1))  # (..., 3, H, d)
        out = layout.attend(qkv, self.scale, self.dropout if self.training else 0.0)
        return add_linear(residual, out.flatten(-2), self.out_proj)
