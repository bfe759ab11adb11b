"""Packed: many jets, one after the other, for training and for inference on batches.

Shapes: as in `salt.layout.layout`; "..." is T.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor, nn

from salt.kernels.across import attend_across
from salt.kernels.attention import attend
from salt.kernels.edge_attention import attend_edges
from salt.kernels.pairs import pair_labels, pair_map
from salt.kernels.queries import attend_from, attend_to, dot_queries
from salt.kernels.scored import attend_scored
from salt.kernels.segments import join, pool, segment_sum, spread, take
from salt.layout.layout import Layout, Merged
from salt.ragged import Ragged, Segments


class Packed(Layout):
    """Tokens of many jets in one tensor (T, D), nothing between them.

    Parameters
    ----------
    segments : Segments
        Where each jet's tokens lie.
    """

    def __init__(self, segments: Segments) -> None:
        self.segments = segments

    @classmethod
    def of(cls, stream: Ragged) -> tuple[Tensor, Packed]:
        return stream.values, cls(stream.segments)

    @classmethod
    @torch.compiler.disable
    def merge(cls, layouts: Sequence[Packed], num_registers: int = 0) -> PackedMerge:
        return PackedMerge([layout.segments for layout in layouts], num_registers)

    @property
    def num_jets(self) -> int:
        return self.segments.num_jets

    def spread(self, x: Tensor) -> Tensor:
        return spread(x, self.segments)

    def attend(self, qkv: Tensor, scale: float, dropout: float = 0.0) -> Tensor:
        return attend(qkv, self.segments, scale, dropout)

    def attend_across(
        self, q: Tensor, k: Tensor, v: Tensor, others: Packed, scale: float, dropout: float = 0.0
    ) -> Tensor:
        return attend_across(q, k, v, self.segments, others.segments, scale, dropout)

    def attend_edges(
        self, qkv: Tensor, term: Tensor, gate: Tensor, scale: float, dropout: float = 0.0
    ) -> tuple[Tensor, Tensor]:
        return attend_edges(qkv, term, gate, self.segments, scale, dropout)

    @torch.compiler.disable
    def square(self, x: Tensor) -> tuple[Tensor, Tensor]:
        first, second = self.segments.square
        return x.index_select(0, first), x.index_select(0, second)

    def attend_scored(self, score: nn.Module, q: Tensor, k: Tensor, v: Tensor, dropout: float = 0.0) -> Tensor:
        return attend_scored(score, q, k, v, self.segments, dropout)

    def pool(self, score: Tensor, x: Tensor) -> Tensor:
        return pool(score, x, self.segments)

    def slots(self, x: Tensor, count: int) -> Tensor:
        number = torch.arange(count, device=x.device)
        exists = number < self.segments.lengths[:, None]  # (B, count)
        row = torch.where(exists, self.segments.offsets[:-1, None] + number, x.shape[0])
        return torch.cat([x, x.new_zeros(1, x.shape[1])])[row]

    def total(self, x: Tensor) -> Tensor:
        return segment_sum(x, self.segments)

    def dot_queries(self, x: Tensor, queries: Tensor) -> Tensor:
        return dot_queries(x, queries, self.segments)

    def attend_from(
        self, queries: Tensor, key: Tensor, value: Tensor, scale: float, allowed: Tensor | None = None
    ) -> Tensor:
        return attend_from(queries, key, value, self.segments, scale, allowed)

    def attend_to(self, query: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
        return attend_to(query, keys, values, self.segments, scale)

    def pair_map(self, fn: nn.Sequential, a: Tensor, b: Tensor) -> Tensor:
        return pair_map(fn, a, b, self.segments)

    def pair(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return pair_labels(x, self.segments)

    def swap(self, pairs: Tensor) -> Tensor:
        return pairs[self.segments.pairs.swapped]

    def connect(self, linked: Tensor) -> Tensor:
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        ends, tokens = self.segments.pairs, self.segments.num_tokens
        first, second = ends.first[linked].cpu().numpy(), ends.second[linked].cpu().numpy()
        graph = coo_array((linked.new_ones(len(first)).cpu().numpy(), (first, second)), shape=(tokens, tokens))
        _, numbers = connected_components(graph, directed=False)
        cluster = torch.as_tensor(numbers, dtype=torch.int64, device=linked.device)
        place = torch.arange(tokens, device=linked.device) - self.segments.offsets[self.segments.owner]
        head = place.new_zeros(tokens).scatter_reduce_(0, cluster, place, "amin", include_self=False)
        return head[cluster]


class PackedMerge(Merged):
    """Streams of packed tokens in one: for each jet its tokens of each stream in turn, then its registers.

    Parameters
    ----------
    streams : list[Segments]
        Where each jet's tokens lie in each stream.
    num_registers : int
        R, tokens that every jet has besides.
    """

    def __init__(self, streams: list[Segments], num_registers: int = 0) -> None:
        self._streams = streams
        self._num_registers = num_registers
        self._tokens = Segments.together(streams)
        merged = self._tokens.with_extra(num_registers)
        self._merged = merged
        self.layout = Packed(merged)
        before = merged.offsets[:-1]  # (B,) merged row of each jet's next token
        self._positions = []
        for segments in streams:
            self._positions.append(
                torch.arange(segments.num_tokens, device=before.device)
                + (before - segments.offsets[:-1])[segments.owner]
            )
            before = before + segments.lengths
        if num_registers:
            registers = torch.arange(num_registers, device=before.device)
            self._positions.append((before[:, None] + registers).flatten())

    def join(self, streams: Sequence[Tensor], registers: Tensor | None = None) -> Tensor:
        parts = list(streams)
        if registers is not None:
            parts.append(registers.expand(self._tokens.num_jets, *registers.shape).flatten(0, 1))
        dtype = reduce(torch.promote_types, [part.dtype for part in parts])  # of registers under autocast, like cat
        return join(tuple(self._positions), *[part.to(dtype) for part in parts]) if len(parts) > 1 else parts[0]

    @torch.compiler.disable
    def join_edges(self, streams: Sequence[Tensor | None]) -> Tensor:
        merged = self._merged
        squares = merged.lengths**2
        before = squares.cumsum(0) - squares  # (B,) pairs of the jets before
        out = None
        for edges, segments, position in zip(streams, self._streams, self._positions, strict=False):
            if edges is None:
                continue
            out = edges.new_zeros(merged.num_square, edges.shape[1]) if out is None else out
            first, second = segments.square
            jet = segments.owner
            row = before[jet] + (position - merged.offsets[jet]) * merged.lengths[jet] - merged.offsets[jet]
            out = out.index_copy(0, row[first] + position[second], edges)
        assert out is not None, "no stream has edges"
        return out

    def part(self, x: Tensor, stream: int) -> Tensor:
        return take(x, self._positions[stream]) if len(self._positions) > 1 else x

    def without_registers(self, x: Tensor) -> tuple[Tensor, Layout]:
        if not self._num_registers:
            return x, self.layout
        position = torch.arange(self._tokens.num_tokens, device=x.device) + self._num_registers * self._tokens.owner
        return take(x, position), Packed(self._tokens)
