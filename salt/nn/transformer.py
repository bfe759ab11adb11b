"""The transformer encoder.

Shapes: B jets, "..." the tokens of a layout, D width, H heads, d = D / H, R registers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from salt.layout import Layout
from salt.nn.attention import Attention
from salt.nn.edges import EdgeAttention, Edges, EmbeddedEdges
from salt.nn.encoder import Between, Encoded, Encoder, Tokens, joined, parted
from salt.nn.layers import GLU, make_norm
from salt.nn.residual import LayerScale, NormResidual, Step

NORM_TYPES = ("pre", "post", "hybrid", "none")
"""Where the steps of an encoder layer are normalised."""


class EncoderLayer(nn.Module):
    """Attention, then feed-forward nets, each of them added to its input.

    Parameters
    ----------
    embed_dim : int
        Width D of the tokens.
    norm : str
        LayerNorm or RMSNorm.
    ls_init : float | None
        Learned factors on what each step adds, and their value at the start; None: 1.
    drop_path : float
        Share of the jets for which a step is left out of a training step.
    depth : int
        Number of layers before this one.
    dense_kwargs, attn_kwargs : dict[str, Any] | None
        Arguments of `GLU` and `Attention` but the width.
    norm_type : str
        pre: of what a step reads; post: of the sum; none; hybrid: of queries, keys and values of each head, and pre
        in the first layer, but in the others only of what leaves the attention.
    edge_embed_dim : int
        Width E of the edges that the attention looks at; 0: it looks at none.
    update_edges : bool
        Make new edges of the logits.
    mup : bool
        Maximal update parametrisation of attention and feed-forward nets.
    num_dense : int
        Number of feed-forward nets, one after the other.
    """

    def __init__(
        self,
        embed_dim: int,
        norm: str = "LayerNorm",
        ls_init: float | None = None,
        drop_path: float = 0.0,
        depth: int = 1,
        dense_kwargs: dict[str, Any] | None = None,
        attn_kwargs: dict[str, Any] | None = None,
        norm_type: str = "pre",
        edge_embed_dim: int = 0,
        update_edges: bool = False,
        mup: bool = False,
        num_dense: int = 1,
    ) -> None:
        super().__init__()
        if norm_type not in NORM_TYPES:
            raise ValueError(f"unknown norm_type {norm_type!r}; there are {', '.join(NORM_TYPES)} (key norm_type)")
        if num_dense < 1:
            raise ValueError(f"num_dense is {num_dense}: a layer needs at least 1 feed-forward net")
        hybrid = norm_type == "hybrid"
        place = norm_type if not hybrid else "none" if depth else "pre"

        def added(step: nn.Module) -> NormResidual:
            scale = None if ls_init is None else LayerScale(embed_dim, ls_init)
            return NormResidual(step, make_norm(norm, embed_dim), place, scale, drop_path)

        def attention(**config: Any) -> nn.Module:
            if edge_embed_dim:
                return EdgeAttention(embed_dim, edge_embed_dim, update_edges=update_edges, **config)
            return Attention(embed_dim, **config)

        parametrised = {"mup": True} if mup else {}
        normalised = {"do_qk_norm": True, "do_v_norm": True} if hybrid else {}
        self.norm = make_norm(norm, embed_dim) if hybrid and depth else nn.Identity()
        self.attn = added(attention(**{**parametrised, **(attn_kwargs or {}), **normalised}))
        nets = [added(GLU(embed_dim, **{**parametrised, **(dense_kwargs or {})})) for _ in range(num_dense)]
        self.dense = nets[0] if num_dense == 1 else InTurn(nets)
        self.edge_postnorm = make_norm(norm, edge_embed_dim) if edge_embed_dim and update_edges else None

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """Tokens (..., D) to tokens (..., D), of a layer that looks at no edges."""
        return self.dense(self.norm(self.attn(x, layout)), layout)

    def look(self, x: Tensor, layout: Layout, edges: Edges) -> tuple[Tensor, Edges]:
        """Tokens (..., D) and their edges to tokens and the edges for the next layer."""
        attention = cast(EdgeAttention, self.attn.fn)
        learned, logits = attention(self.attn.read(x), layout, edges)
        if self.edge_postnorm is not None:
            edges = attention.updated(logits, self.edge_postnorm)
        return self.dense(self.norm(self.attn.add(x, learned, layout)), layout), edges

    def end(self) -> None:
        """Be the last layer: nobody looks at its edges, and what would update them is only there for checkpoints."""
        if self.edge_postnorm is not None:
            self.edge_postnorm.requires_grad_(False)
            cast(EdgeAttention, self.attn.fn).keep_edges()


class InTurn(nn.ModuleList):
    """Several steps, one after the other."""

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """Tokens (..., D) to tokens (..., D)."""
        for step in self:
            x = step(x, layout)
        return x


class DecoderLayer(nn.Module):
    """Tokens that learn from each other, then from those of another stream, and then a feed-forward net.

    Parameters
    ----------
    embed_dim : int
        Width D of both.
    norm : str
        LayerNorm or RMSNorm.
    ls_init : float | None
        Learned factors on what each step adds, and their value at the start; None: 1.
    drop_path : float
        Share of the jets for which a step is left out of a training step.
    dense_kwargs, attn_kwargs : dict[str, Any] | None
        Arguments of `GLU` and of both `Attention`s but the width.
    norm_type : str
        pre: of what a step reads, but not of the other stream; post: of the sum; none.
    """

    def __init__(
        self,
        embed_dim: int,
        norm: str = "LayerNorm",
        ls_init: float | None = 1e-3,
        drop_path: float = 0.0,
        dense_kwargs: dict[str, Any] | None = None,
        attn_kwargs: dict[str, Any] | None = None,
        norm_type: str = "pre",
    ) -> None:
        super().__init__()

        def added(step: Step) -> NormResidual:
            scale = None if ls_init is None else LayerScale(embed_dim, ls_init)
            return NormResidual(step, make_norm(norm, embed_dim), norm_type, scale, drop_path)

        self.self_attn = added(Attention(embed_dim, **(attn_kwargs or {})))
        self.cross_attn = added(Attention(embed_dim, **(attn_kwargs or {})))
        self.dense = added(GLU(embed_dim, **(dense_kwargs or {})))

    def forward(self, x: Tensor, layout: Layout, others: Tokens) -> Tensor:
        """Tokens (..., D), and those of another stream of the same jets, to tokens (..., D)."""
        return self.dense(self.cross_attn(self.self_attn(x, layout), layout, others), layout)


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
    mup : bool
        The projection to `out_dim`, which is the last layer of the maximal update parametrisation, begins at 0; that
        of the layers is asked for by `mup` in `attn_kwargs` and `dense_kwargs`, as upstream.
    edge_embed_dim : int
        Width E of the edges that the layers look at, the output of `edge_init_nets`; 0: they look at none.
    update_edges : bool
        Make new edges for each layer of the logits of the one before.
    norm_type, ls_init, drop_path, num_dense, dense_kwargs, attn_kwargs
        Arguments of each `EncoderLayer`.
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
        edge_embed_dim: int = 0,
        update_edges: bool = False,
        mup: bool = False,
        norm_type: str = "pre",
        ls_init: float | None = None,
        drop_path: float = 0.0,
        num_dense: int = 1,
        dense_kwargs: dict[str, Any] | None = None,
        attn_kwargs: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(embed_dim, embed_dim if out_dim is None else out_dim, edge_embed_dim)
        if num_registers < 1:
            raise ValueError(
                f"num_registers is {num_registers}: a transformer needs at least 1, or empty jets have no token"
            )
        if update_edges and not edge_embed_dim:
            raise ValueError("update_edges is set, but the encoder looks at no edges: give edge_embed_dim, too")
        if mup and out_dim is None:
            raise ValueError("mup is asked for without out_dim: the projection to it is the last layer that it is of")
        layer: dict[str, Any] = {
            "norm": norm,
            "ls_init": ls_init,
            "drop_path": drop_path,
            "dense_kwargs": dense_kwargs,
            "attn_kwargs": {**(attn_kwargs or {}), "attn_type": attn_type},
            "norm_type": norm_type,
            "num_dense": num_dense,
            "edge_embed_dim": edge_embed_dim,
            "update_edges": update_edges,
        }
        self.num_layers = num_layers
        self.drop_registers = drop_registers
        self.registers = nn.Parameter(torch.empty(num_registers, embed_dim).normal_(std=_REGISTER_STD))
        self.layers = nn.ModuleList(EncoderLayer(embed_dim, depth=depth, **layer) for depth in range(num_layers))
        for last in self.layers[-1:]:
            cast(EncoderLayer, last).end()
        self.out_proj = nn.Linear(embed_dim, out_dim) if out_dim is not None else nn.Identity()
        self.out_norm = make_norm(norm, self.output_size) if do_final_norm else nn.Identity()
        if mup:
            for parameter in self.out_proj.parameters():
                nn.init.zeros_(parameter)

    def forward(self, streams: Sequence[Tokens], between: Between | None = None) -> Encoded:
        """Embedded streams (..., D) to encoded ones (..., output_size); the registers are pooled, too."""
        x, merged = joined(streams, self.registers)
        edges: Edges | None = None
        if self.edge_embed_dim:
            edges = EmbeddedEdges(merged.join_edges([stream.edges for stream in streams]))
        for layer in cast(list[EncoderLayer], list(self.layers)):
            x = between(x, merged.layout) if between is not None else x
            if edges is None:
                x = layer(x, merged.layout)
            else:
                x, edges = layer.look(x, merged.layout, edges)
        x = self.out_norm(self.out_proj(x))
        pooled = merged.without_registers(x) if self.drop_registers else (x, merged.layout)
        return Encoded(parted(streams, merged, x), Tokens("", *pooled))


_REGISTER_STD = 0.02
"""Width of the registers at the start: small against the embedded tracks."""
