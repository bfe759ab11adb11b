"""Encoders of older versions, which configs still name: every layer has norms with weights, and there are no registers.

Written from what salt-ml 0.8 answers, which was the last that had them. Parameters have the names that they had, but
`mha.linear_q`, `linear_k` and `linear_v` are one `mha.in_proj`, and `mha.linear_out` is `mha.out_proj`.

Shapes: "..." the tokens of a layout, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, cast

from torch import Tensor, nn

from salt.layout import Layout
from salt.nn.attention import Attention, ScaledDotProductAttention
from salt.nn.encoder import Between, Encoded, Encoder, Tokens, joined, parted, through, unencoded
from salt.nn.layers import Dense


@dataclass
class MHAConfig:
    """Multi-head attention, as `TransformerEncoder` wants it described.

    Parameters
    ----------
    num_heads : int
        Number of heads, a divisor of the width.
    attention : ScaledDotProductAttention
        How tokens are weighed.
    out_proj : bool
        Whether what the heads give is projected.
    """

    num_heads: int
    attention: ScaledDotProductAttention = field(default_factory=ScaledDotProductAttention)
    out_proj: bool = True

    def attention_of(self, embed_dim: int) -> Attention:
        """Attention of tokens of this width."""
        make = Attention if self.out_proj else Unprojected
        return make(embed_dim, self.num_heads, dropout=self.attention.dropout)


class Unprojected(Attention):
    """Attention whose heads are added as they are.

    Parameters
    ----------
    embed_dim, num_heads, dropout
        As of `Attention`.
    """

    def __init__(self, embed_dim: int, num_heads: int, dropout: float = 0.0) -> None:
        super().__init__(embed_dim, num_heads, dropout=dropout)
        self.out_proj = None  # type: ignore[assignment]

    def _added(self, residual: Tensor | None, out: Tensor) -> Tensor:
        return out if residual is None else residual + out


class TransformerEncoder(Encoder):
    """A transformer encoder over all constituents of a jet, without registers: an empty jet has no token.

    Parameters
    ----------
    embed_dim : int
        Width D of the tokens.
    num_layers : int
        Number of layers.
    mha_config : MHAConfig
        The attention of each layer.
    dense_config : dict[str, Any] | None
        Arguments of the `Dense` that follows it, but its sizes; None: nothing follows.
    out_dim : int
        Width of the tokens that leave; 0: `embed_dim`, without a projection.
    """

    def __init__(
        self,
        embed_dim: int,
        num_layers: int,
        mha_config: MHAConfig,
        dense_config: dict[str, Any] | None = None,
        out_dim: int = 0,
    ) -> None:
        super().__init__(embed_dim, out_dim or embed_dim)
        self.num_layers = num_layers
        self.layers = nn.ModuleList(_Layer(embed_dim, mha_config, dense_config) for _ in range(num_layers))
        self.final_norm = nn.LayerNorm(embed_dim)
        self.final_linear = nn.Linear(embed_dim, out_dim) if out_dim else nn.Identity()

    def forward(self, streams: Sequence[Tokens], between: Between | None = None) -> Encoded:
        """Embedded streams (..., D) to encoded ones (..., output_size)."""
        x, merged = joined(streams)
        x = through(self.layers, x, merged.layout, between)
        x = self.final_linear(self.final_norm(x))
        return Encoded(parted(streams, merged, x), Tokens("", x, merged.layout))


class TransformerCrossAttentionEncoder(Encoder):
    """Streams that are encoded each on its own, and look at each other between their layers.

    Parameters
    ----------
    input_names : list[str]
        The streams.
    embed_dim : int
        Width D of the tokens.
    num_layers : int
        Number of layers of each stream.
    mha_config : MHAConfig
        The attention of each layer, in a stream and between two.
    sa_dense_config, ca_dense_config : dict[str, Any] | None
        Arguments of the `Dense` that follows attention in a stream, and between two; None: nothing follows.
    out_dim : int
        Width of the tokens that leave; 0: `embed_dim`, without a projection.
    ca_every_layer : bool
        Streams look at each other after every layer; else after the first and after the last.
    """

    def __init__(
        self,
        input_names: list[str],
        embed_dim: int,
        num_layers: int,
        mha_config: MHAConfig,
        sa_dense_config: dict[str, Any] | None = None,
        ca_dense_config: dict[str, Any] | None = None,
        out_dim: int = 0,
        ca_every_layer: bool = False,
    ) -> None:
        super().__init__(embed_dim, out_dim or embed_dim)
        self.input_names = input_names
        self._num_layers = num_layers
        self._exchanging = sorted({0, num_layers - 1}) if not ca_every_layer else list(range(num_layers))

        def several(make: type[nn.Module], count: int, dense_config: dict[str, Any] | None) -> nn.ModuleList:
            return nn.ModuleList(make(embed_dim, mha_config, dense_config) for _ in range(count))

        self.type_layers = nn.ModuleDict({name: several(_Layer, num_layers, sa_dense_config) for name in input_names})
        self.cross_layers = nn.ModuleDict(
            {
                f"{one}_{other}": several(_Exchange, len(self._exchanging), ca_dense_config)
                for one, other in combinations(input_names, 2)
            }
        )
        self.final_norm = nn.LayerNorm(embed_dim)
        self.final_linear = nn.Linear(embed_dim, out_dim) if out_dim else nn.Identity()

    def forward(self, streams: Sequence[Tokens], between: Between | None = None) -> Encoded:
        """Embedded streams (..., D) to encoded ones (..., output_size)."""
        assert between is None, "num_layers is 0: whoever has something to put between layers is refused"
        given = {stream.name: stream for stream in streams}
        if sorted(given) != sorted(self.input_names):
            raise ValueError(
                f"the encoder has input_names {', '.join(self.input_names)}, but init_nets embed {', '.join(given)}: "
                "name the same streams in both"
            )
        for depth in range(self._num_layers):
            for name, stream in given.items():
                layer = cast(nn.ModuleList, self.type_layers[name])[depth]
                given[name] = stream._replace(x=layer(stream.x, stream.layout))
            if depth in self._exchanging:
                given = self._exchanged(given, self._exchanging.index(depth))
        return unencoded([s._replace(x=self.final_linear(self.final_norm(s.x))) for s in given.values()])

    def _exchanged(self, given: dict[str, Tokens], place: int) -> dict[str, Tokens]:
        """Streams that have looked at each other, all at once; two use the same weights either way."""
        learned = {name: stream.x for name, stream in given.items()}
        for one, other in combinations(self.input_names, 2):
            layer = cast(nn.ModuleList, self.cross_layers[f"{one}_{other}"])[place]
            learned[one] = learned[one] + layer(given[one], given[other])
            learned[other] = learned[other] + layer(given[other], given[one])
        return {name: stream._replace(x=learned[name]) for name, stream in given.items()}


class _Layer(nn.Module):
    """Attention in a stream, then a dense net, each of the normalised input and added to it."""

    def __init__(self, embed_dim: int, mha_config: MHAConfig, dense_config: dict[str, Any] | None) -> None:
        super().__init__()
        self.mha = mha_config.attention_of(embed_dim)
        self.norm1 = nn.LayerNorm(embed_dim)
        self.dense = _dense(embed_dim, dense_config)
        self.norm2 = nn.LayerNorm(embed_dim) if self.dense is not None else nn.Identity()

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """Tokens (..., D) to tokens (..., D)."""
        x = self.mha(x, self.norm1(x), layout)
        return x if self.dense is None else x + self.dense(self.norm2(x))


class _Exchange(nn.Module):
    """What a stream learns from another: attention to it, then a dense net, with nothing added in between."""

    def __init__(self, embed_dim: int, mha_config: MHAConfig, dense_config: dict[str, Any] | None) -> None:
        super().__init__()
        self.mha = mha_config.attention_of(embed_dim)
        self.norm0 = nn.LayerNorm(embed_dim)
        self.norm1 = nn.LayerNorm(embed_dim)
        self.dense = _dense(embed_dim, dense_config)
        self.norm2 = nn.LayerNorm(embed_dim) if self.dense is not None else nn.Identity()

    def forward(self, stream: Tokens, others: Tokens) -> Tensor:
        """What tokens (..., D) learn from others of the same jets."""
        x = self.mha(None, self.norm1(stream.x), stream.layout, others._replace(x=self.norm0(others.x)))
        return x if self.dense is None else self.dense(self.norm2(x))


def _dense(embed_dim: int, dense_config: dict[str, Any] | None) -> Dense | None:
    """The dense net of a layer; None: it has none."""
    return None if dense_config is None else Dense(**{"input_size": embed_dim, **dense_config})
