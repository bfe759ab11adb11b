"""Attention: how the tokens of a jet learn from each other, or from those of another stream.

Shapes: "..." the tokens of a layout, D width, H heads, d = D / H.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from salt.kernels.norms import rms_norm
from salt.layout import Layout
from salt.nn.encoder import Tokens
from salt.nn.layers import RMS_EPSILON, init_mup, make_norm
from salt.nn.residual import Step, add_linear

ATTENTION_TYPES = ("torch-math", "torch-meff", "torch-flash", "flash-varlen")
"""Upstream's names of kernels. They give the same numbers, and here the same kernel: the fastest for the device and the
number type, which `salt.kernels.attention` chooses."""


class Heads(nn.Module, ABC):
    """The heads of an attention: what they make of tokens, and what is made of theirs.

    Parameters
    ----------
    embed_dim : int
        Width D of the tokens.
    num_heads : int
        Number of heads H, a divisor of D.
    attn_type : str
        One of `ATTENTION_TYPES`: understood, but the kernel is chosen by the device and the number type.
    dropout : float
        Probability of dropping an attention weight.
    bias : bool
        Whether the projections have a bias.
    do_qk_norm : bool
        RMSNorm of the queries and of the keys, each head on its own. Henry et al., arXiv:2010.04245.
    do_v_norm : bool
        The same of the values.
    mup : bool
        A maximal update parametrisation: logits scale with 1 / d and not 1 / sqrt(d), and begin at 0, the queries'
        weights being 0. Yang et al., Tensor Programs V, arXiv:2203.03466.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int = 1,
        attn_type: str = "torch-meff",
        dropout: float = 0.0,
        bias: bool = True,
        do_qk_norm: bool = False,
        do_v_norm: bool = False,
        mup: bool = False,
    ) -> None:
        super().__init__()
        if embed_dim % num_heads:
            raise ValueError(f"embed_dim {embed_dim} is not a multiple of num_heads {num_heads} (key attn_kwargs)")
        if attn_type not in ATTENTION_TYPES:
            raise ValueError(f"unknown attn_type {attn_type!r}; there are {', '.join(ATTENTION_TYPES)}")
        width = embed_dim // num_heads
        self.num_heads = num_heads
        self.dropout = dropout
        self.scale = 1 / width if mup else width**-0.5
        self.in_proj_weight = nn.Parameter(torch.empty(3 * embed_dim, embed_dim))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * embed_dim)) if bias else None
        self.q_norm = make_norm("RMSNorm", width) if do_qk_norm else nn.Identity()
        self.k_norm = make_norm("RMSNorm", width) if do_qk_norm else nn.Identity()
        self.v_norm = make_norm("RMSNorm", width) if do_v_norm else nn.Identity()
        self._normalised = (do_qk_norm, do_qk_norm, do_v_norm)
        self.out_proj = nn.Linear(embed_dim, embed_dim, bias=bias)
        self._reset(mup)

    def _reset(self, mup: bool) -> None:
        nn.init.xavier_uniform_(self.in_proj_weight)
        if self.out_proj.bias is not None:
            nn.init.zeros_(self.out_proj.bias)
        if mup:
            embed_dim = self.out_proj.in_features
            nn.init.zeros_(self.in_proj_weight[:embed_dim])
            nn.init.normal_(self.in_proj_weight[embed_dim:], std=(self.num_heads / embed_dim) ** 0.5)
            init_mup(self.out_proj)

    def projected(self, x: Tensor) -> Tensor:
        """Queries, keys and values (..., 3, H, d) of tokens (..., D)."""
        qkv = F.linear(x, self.in_proj_weight, self.in_proj_bias)
        qkv = qkv.unflatten(-1, (3, self.num_heads, -1))
        if all(self._normalised):
            gains = torch.stack([self.get_parameter(f"{of}_norm.weight") for of in "qkv"])
            return rms_norm(qkv, gains[:, None], RMS_EPSILON)
        if any(self._normalised):
            q, k, v = qkv.unbind(-3)
            qkv = torch.stack([self.q_norm(q), self.k_norm(k), self.v_norm(v)], -3)
        return qkv

    def projected_apart(self, x: Tensor, others: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (..., H, d) of tokens, keys and values of others."""
        width = x.shape[-1]
        biases = (None, None) if self.in_proj_bias is None else self.in_proj_bias.split([width, 2 * width])
        weights = self.in_proj_weight.split([width, 2 * width])
        q = F.linear(x, weights[0], biases[0]).unflatten(-1, (self.num_heads, -1))
        k, v = F.linear(others, weights[1], biases[1]).unflatten(-1, (2, self.num_heads, -1)).unbind(-3)
        return self.q_norm(q), self.k_norm(k), self.v_norm(v)

    @property
    def dropout_now(self) -> float:
        """Probability of dropping an attention weight: 0 outside training."""
        return self.dropout if self.training else 0.0


class Attention(Heads, Step):
    """Multi-head attention inside each jet. Vaswani et al., Attention is all you need, arXiv:1706.03762.

    Its parameters are those of `Heads`.
    """

    def forward(self, residual: Tensor | None, x: Tensor, layout: Layout, others: Tokens | None = None) -> Tensor:
        """What tokens (..., D) learn from each other, or from others of the same jets, added to the residual."""
        if others is None:
            out = layout.attend(self.projected(x), self.scale, self.dropout_now)
        else:
            q, k, v = self.projected_apart(x, others.x)
            out = layout.attend_across(q, k, v, others.layout, self.scale, self.dropout_now)
        return self._added(residual, out.flatten(-2))

    def _added(self, residual: Tensor | None, out: Tensor) -> Tensor:
        """What was learnt (..., D), projected, and added to the residual."""
        return add_linear(residual, out, self.out_proj)


class Weighing(nn.Module, ABC):
    """How tokens weigh each other: what attention has between its projections."""

    @abstractmethod
    def forward(self, qkv: Tensor, scale: float, layout: Layout) -> Tensor:
        """Queries, keys and values (..., 3, H, d) to what tokens learn from each other (..., H, d)."""

    @abstractmethod
    def of_layer(self, num_heads: int, head_dim: int) -> Weighing:
        """Another of the same arguments, with weights of its own, for a layer of so many heads."""


class ScaledDotProductAttention(Weighing):
    """Softmax of scaled products of queries and keys: how configs of older versions name it, for there were others.

    Parameters
    ----------
    dropout : float
        Probability of dropping an attention weight.
    """

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = dropout

    def forward(self, qkv: Tensor, scale: float, layout: Layout) -> Tensor:
        """Queries, keys and values (..., 3, H, d) to what tokens learn from each other (..., H, d)."""
        return layout.attend(qkv, scale, self.dropout if self.training else 0.0)

    def of_layer(self, num_heads: int, head_dim: int) -> ScaledDotProductAttention:
        """Another of the same arguments."""
        return ScaledDotProductAttention(self.dropout)
