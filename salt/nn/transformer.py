"""The transformer encoder.

Shapes: B jets, "..." the tokens of a layout, D width, H heads, d = D / H, R registers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from salt.layout import Layout
from salt.nn.attention import ATTENTION_TYPES, Attention
from salt.nn.encoder import Encoded, Encoder, Tokens
from salt.nn.layers import GLU, make_norm


class NormResidual(nn.Module):
    """x + fn(norm(x)): a step that adds to its input.

    Parameters
    ----------
    fn : nn.Module
        The step: it is called with what to add to, and the normalised input.
    norm : nn.Module
        The normalisation of its input.
    """

    def __init__(self, fn: nn.Module, norm: nn.Module) -> None:
        super().__init__()
        self.fn = fn
        self.norm = norm

    def forward(self, x: Tensor, *args: Any) -> Tensor:
        """Tokens (..., D) to tokens (..., D)."""
        return self.fn(x, self.norm(x), *args)


class EncoderLayer(nn.Module):
    """Attention, then a feed-forward net, each of the normalised input and added to it.

    Parameters
    ----------
    embed_dim : int
        Width D of the tokens.
    norm : str
        LayerNorm or RMSNorm.
    dense_kwargs : dict[str, Any] | None
        Arguments of `GLU` but the width.
    attn_kwargs : dict[str, Any] | None
        Arguments of `Attention` but the width.
    """

    def __init__(
        self,
        embed_dim: int,
        norm: str = "LayerNorm",
        dense_kwargs: dict[str, Any] | None = None,
        attn_kwargs: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.attn = NormResidual(Attention(embed_dim, **(attn_kwargs or {})), make_norm(norm, embed_dim))
        self.dense = NormResidual(GLU(embed_dim, **(dense_kwargs or {})), make_norm(norm, embed_dim))

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """Tokens (..., D) to tokens (..., D)."""
        return self.dense(self.attn(x, layout))


class Transformer(Encoder):
    """A transformer encoder over all constituents of a jet and a few registers.

    Registers are learned tokens that every jet has besides (Darcet et al., Vision transformers need registers,
    arXiv:2309.16588): with them no jet is empty.

    Parameters
    ----------
    num_layers : int
        Number of encoder layers.
    embed_dim : int
        Width D of the tokens.
    out_dim : int | None
        Width of the tokens that leave; None: `embed_dim`, without a projection.
    norm : str
        LayerNorm or RMSNorm.
    attn_type : str
        Upstream's names are understood; the kernel is chosen by the device and the number type.
    do_final_norm : bool
        Normalise the tokens that leave.
    num_registers : int
        R, at least 1.
    drop_registers : bool
        Leave the registers out of what leaves, and so out of the pooling.
    dense_kwargs, attn_kwargs : dict[str, Any] | None
        Arguments of `GLU` and `Attention` but the width.
    """

    def __init__(
        self,
        num_layers: int,
        embed_dim: int,
        out_dim: int | None = None,
        norm: str = "LayerNorm",
        attn_type: str = "torch-math",
        do_final_norm: bool = True,
        num_registers: int = 1,
        drop_registers: bool = False,
        dense_kwargs: dict[str, Any] | None = None,
        attn_kwargs: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(embed_dim, embed_dim if out_dim is None else out_dim)
        if num_registers < 1:
            raise ValueError(
                f"num_registers is {num_registers}: a transformer needs at least 1, or empty jets have no token"
            )
        if attn_type not in ATTENTION_TYPES:
            raise ValueError(f"unknown attn_type {attn_type!r}; there are {', '.join(ATTENTION_TYPES)}")
        self.drop_registers = drop_registers
        self.registers = nn.Parameter(torch.empty(num_registers, embed_dim).normal_(std=_REGISTER_STD))
        self.layers = nn.ModuleList(EncoderLayer(embed_dim, norm, dense_kwargs, attn_kwargs) for _ in range(num_layers))
        self.out_proj = nn.Linear(embed_dim, out_dim) if out_dim is not None else nn.Identity()
        self.out_norm = make_norm(norm, self.output_size) if do_final_norm else nn.Identity()

    def forward(self, streams: Sequence[Tokens]) -> Encoded:
        """Embedded streams (..., D) to encoded ones (..., output_size); the registers are pooled, too."""
        layouts = [stream.layout for stream in streams]
        merged = type(layouts[0]).merge(layouts, self.registers.shape[0])
        x = merged.join([stream.x for stream in streams], self.registers)
        for layer in self.layers:
            x = layer(x, merged.layout)
        x = self.out_norm(self.out_proj(x))
        parts = [stream._replace(x=merged.part(x, place)) for place, stream in enumerate(streams)]
        pooled = merged.without_registers(x) if self.drop_registers else (x, merged.layout)
        return Encoded(parts, Tokens("", *pooled))


_REGISTER_STD = 0.02
"""Width of the registers at the start: small against the embedded tracks."""
