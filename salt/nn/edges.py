"""Edges: what is known of pairs of tokens, and attention that looks at it.

Shapes: "..." the tokens of a layout, "square" its ordered pairs of tokens of one jet, each with itself included; D
width, H heads, d = D / H, E width of the edges.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from salt.kernels.edges import edge_features, required_variables
from salt.kernels.updated_edges import project_updated
from salt.layout import Layout
from salt.nn.attention import Heads
from salt.nn.layers import Dense
from salt.types import Schema


class EdgeConstructor(nn.Module):
    """Computes features of the pairs of constituents of a stream.

    Parameters
    ----------
    input_name : str
        The stream.
    edge_features : Sequence[str]
        Names of `salt.kernels.edges.FEATURES`.
    variables : Mapping[str, Sequence[str]]
        Stream -> names of its variables.
    """

    def __init__(self, input_name: str, edge_features: Sequence[str], variables: Mapping[str, Sequence[str]]) -> None:
        super().__init__()
        self.input_name = input_name
        self.edge_features = list(edge_features)
        if input_name not in variables:
            raise ValueError(
                f"data.edge_constructors makes features of pairs of {input_name!r}, but data.variables has no such "
                f"stream; there are {', '.join(map(repr, variables))}"
            )
        self._columns = {variable: column for column, variable in enumerate(variables[input_name])}
        for key, variables_of in ((name, required_variables(name)) for name in self.edge_features):
            if missing := [variable for variable in variables_of if variable not in self._columns]:
                raise ValueError(
                    f"edge feature {key!r} of {input_name!r} (data.edge_constructors) is made of "
                    f"{', '.join(variables_of)}, but data.variables.{input_name} has no {', '.join(missing)}"
                )

    def forward(self, values: Tensor, layout: Layout) -> Tensor:
        """Variables of the tokens (..., F), not normalised, to features of their pairs (square, E)."""
        return edge_features(values, layout.square, self._columns, self.edge_features)


class EdgeInitNet(nn.Module):
    """Computes and embeds the features of pairs of one stream.

    Parameters
    ----------
    schema : Schema
        The streams, their variables, and the features of their pairs.
    input_name : str
        The stream.
    dense_config : dict[str, Any]
        Arguments of `Dense`; its `input_size` follows from the schema.
    """

    def __init__(self, schema: Schema, input_name: str, dense_config: dict[str, Any]) -> None:
        super().__init__()
        if input_name not in schema.edges:
            raise ValueError(
                f"edge_init_nets has one for {input_name!r}, but data.edge_constructors makes features of pairs of "
                f"{', '.join(map(repr, schema.edges)) or 'no stream'}: add {{input_name: {input_name}, "
                "edge_features: [...]} there"
            )
        self.constructor = EdgeConstructor(input_name, schema.edges[input_name], schema.variables)
        self.input_name = input_name
        config, size = dict(dense_config), len(schema.edges[input_name])
        if (given := config.pop("input_size", size)) != size:
            raise ValueError(
                f"edge init net of {input_name!r}: dense_config.input_size is {given}, but data.edge_constructors "
                f"gives {size} features: leave input_size out"
            )
        self.net = Dense(input_size=size, **config)

    @property
    def output_size(self) -> int:
        """E, width of the edges."""
        return self.net.output_size

    def forward(self, measured: Tensor, layout: Layout) -> Tensor:
        """Variables of the constituents (..., F), not normalised, to edges (square, E)."""
        features = self.constructor(measured, layout)
        return self.net(features.to(next(self.net.parameters()).dtype))


class Edges(ABC):
    """An edge for each pair of tokens. Whoever looks at them sees a linear map of them, and so few numbers a pair."""

    @abstractmethod
    def project(self, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The linear map of each edge, with weight (C, E) and bias (C,): (C, square)."""


class EmbeddedEdges(Edges):
    """Edges as a net has embedded them.

    Parameters
    ----------
    values : Tensor
        (square, E)
    """

    def __init__(self, values: Tensor) -> None:
        self._values = values

    def project(self, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The linear map of each edge (C, square)."""
        projected = weight @ self._values.transpose(-1, -2)
        if bias is not None:
            projected = projected + bias[:, None]
        return projected.movedim(-2, 0)


class UpdatedEdges(Edges):
    """Edges u + norm(u) that a layer has made of its logits, u = linear(logits): they are never built.

    Parameters
    ----------
    logits : Tensor
        (H, square)
    linear : nn.Linear
        From H to E.
    norm : nn.Module
        LayerNorm or RMSNorm of width E, with weights or without.
    """

    def __init__(self, logits: Tensor, linear: nn.Linear, norm: nn.LayerNorm | nn.RMSNorm) -> None:
        self._logits = logits
        self._linear = linear
        self._norm = norm

    def project(self, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The linear map of each edge (C, square)."""
        affine, epsilon = self._linear.weight, self._norm.eps  # (E, H)
        assert epsilon is not None
        offset = affine.new_zeros(len(affine)) if self._linear.bias is None else self._linear.bias
        whole = torch.cat([affine, offset[:, None]], 1)  # (E, H + 1)
        centred = whole - whole.mean(0) if isinstance(self._norm, nn.LayerNorm) else whole
        plain = weight @ whole
        if bias is not None:
            plain = torch.cat([plain[:, :-1], plain[:, -1:] + bias[:, None]], 1)
        scaled = (weight if self._norm.weight is None else weight * self._norm.weight) @ centred
        square = centred.t() @ centred / len(affine)  # (H + 1, H + 1)
        # s~ square s~ with s~ = (s, 1) is s (square s + 2 corner) + last
        form = torch.cat([square[:-1, :-1], 2 * square[:-1, -1:]], 1)
        maps = torch.cat([plain, scaled, form])
        offsets = torch.cat([maps[:, -1], square[-1:, -1]])
        out = project_updated(self._logits.flatten(1), maps[:, :-1], offsets, epsilon)
        return out.reshape(out.shape[0], *self._logits.shape[1:])


class EdgeAttention(Heads):
    """Multi-head self-attention inside each jet that looks at edges.

    Each edge adds a term to the logit of its pair, and a gate to its weight. Hussain et al., Global self-attention as a
    replacement for graph convolution, arXiv:2108.03348.

    Parameters
    ----------
    embed_dim : int
        Width D of the tokens.
    edge_embed_dim : int
        Width E of the edges.
    update_edges : bool
        Make new edges of the logits.
    bias : bool
        Whether the linear maps have a bias.
    mup : bool
        A maximal update parametrisation, see `Heads`.
    config : Any
        Further arguments of `Heads`.
    """

    def __init__(
        self,
        embed_dim: int,
        edge_embed_dim: int,
        update_edges: bool = False,
        bias: bool = True,
        mup: bool = False,
        **config: Any,
    ) -> None:
        super().__init__(embed_dim, bias=bias, mup=mup, **config)
        self.linear_e = nn.Linear(edge_embed_dim, self.num_heads, bias=bias)
        self.linear_g = nn.Linear(edge_embed_dim, self.num_heads, bias=bias)
        self.linear_e_out = nn.Linear(self.num_heads, edge_embed_dim, bias=bias) if update_edges else None
        for linear in (self.linear_e, self.linear_g, self.linear_e_out):
            if linear is not None and linear.bias is not None:
                nn.init.zeros_(linear.bias)
            if linear is not None and mup:
                nn.init.normal_(linear.weight, std=linear.in_features**-0.5)

    def forward(self, x: Tensor, layout: Layout, edges: Edges) -> tuple[Tensor, Tensor]:
        """What tokens (..., D) learn from each other, and the logits (H, square)."""
        weight = torch.cat([self.linear_e.weight, self.linear_g.weight])
        bias = None if self.linear_e.bias is None else torch.cat([self.linear_e.bias, self.linear_g.bias])
        term, gate = edges.project(weight, bias).chunk(2)
        out, logits = layout.attend_edges(self.projected(x), term, gate, self.scale, self.dropout_now)
        return self.out_proj(out.flatten(-2)), logits

    def updated(self, logits: Tensor, norm: nn.Module) -> Edges:
        """The edges for the next layer, of these logits (H, square): u + norm(u), u a linear map of them."""
        assert self.linear_e_out is not None, "update_edges is not set"
        return UpdatedEdges(logits, self.linear_e_out, cast(nn.LayerNorm | nn.RMSNorm, norm))

    def keep_edges(self) -> None:
        """Do not train what updates edges: nobody looks at them."""
        if self.linear_e_out is not None:
            self.linear_e_out.requires_grad_(False)
