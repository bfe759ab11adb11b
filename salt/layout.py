"""Layouts: where the tokens of each jet are. Every module is written once, on tokens, and asks the layout for the rest.

Shapes: B jets, T tokens of all jets together, n tokens of the one jet, D width, H heads, d width of a head, P pairs,
M queries of each jet.
"..." below is T under `Packed` and n under `One`; pairs are (P,) under `Packed` and (n, n) under `One`. Where a token
makes a pair with itself, too, there are S, those of each jet a square of (n, n): "square" below, (S,) or (n, n).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import reduce
from typing import Self

import torch
from torch import Tensor, nn

from salt.kernels.across import attend_across
from salt.kernels.attention import attend
from salt.kernels.edge_attention import attend_edges
from salt.kernels.pairs import pair_labels, pair_map
from salt.kernels.queries import attend_from, attend_to, dot_queries, somewhere
from salt.kernels.segments import join, pool, segment_sum, spread, take
from salt.ragged import Ragged, Segments


class Layout(ABC):
    """Where the tokens of one stream are."""

    @classmethod
    @abstractmethod
    def of(cls, stream: Ragged) -> tuple[Tensor, Self]:
        """The tokens of a stream as this layout holds them, and the layout."""

    @classmethod
    @abstractmethod
    def merge(cls, layouts: Sequence[Self], num_registers: int = 0) -> Merged:
        """Put several streams of the same jets, and some registers a jet, into one."""

    @property
    @abstractmethod
    def num_jets(self) -> int:
        """B."""

    @abstractmethod
    def spread(self, x: Tensor) -> Tensor:
        """Give each token its jet's row: (B, D) -> something that adds to (..., D)."""

    @abstractmethod
    def attend(self, qkv: Tensor, scale: float, dropout: float = 0.0) -> Tensor:
        """Softmax attention inside each jet: (..., 3, H, d) -> (..., H, d)."""

    @abstractmethod
    def attend_across(
        self, q: Tensor, k: Tensor, v: Tensor, others: Self, scale: float, dropout: float = 0.0
    ) -> Tensor:
        """Softmax attention to the tokens of another stream of the same jet: (..., H, d) thrice -> (..., H, d).

        A token of a jet without such others gets 0.
        """

    @abstractmethod
    def attend_edges(
        self, qkv: Tensor, term: Tensor, gate: Tensor, scale: float, dropout: float = 0.0
    ) -> tuple[Tensor, Tensor]:
        """Attention with a term on the logit and a gate on the weight of each pair, and the logits with their terms.

        (..., 3, H, d), (H, square) twice -> (..., H, d), (H, square).
        """

    @abstractmethod
    def square(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x_i and x_j of all pairs, each token with itself included: (...) -> (square) twice."""

    @abstractmethod
    def attend_scored(self, score: nn.Module, q: Tensor, k: Tensor, v: Tensor, dropout: float = 0.0) -> Tensor:
        """Softmax attention inside each jet, of score(q_i + k_j): (..., H, d) thrice -> (..., H, d).

        The score takes (pairs, H, d) to (pairs, H), pairs of a token with itself included.
        """

    @abstractmethod
    def pool(self, score: Tensor, x: Tensor) -> Tensor:
        """Softmax-weighted mean of each jet's tokens: (..., 1), (..., D) -> (B, D)."""

    @abstractmethod
    def slots(self, x: Tensor, count: int) -> Tensor:
        """The first tokens of each jet, zeros where it has fewer: (..., D) -> (B, count, D)."""

    @abstractmethod
    def total(self, x: Tensor) -> Tensor:
        """Sum of each jet's tokens: (..., D) -> (B, D)."""

    @abstractmethod
    def dot_queries(self, x: Tensor, queries: Tensor) -> Tensor:
        """Product of each token with the queries of its jet: (..., D), (B, M, D) -> (..., M)."""

    @abstractmethod
    def attend_from(
        self, queries: Tensor, key: Tensor, value: Tensor, scale: float, allowed: Tensor | None = None
    ) -> Tensor:
        """Softmax attention of queries to the tokens of their jet: (B, M, H, d), (..., H, d) twice -> (B, M, H, d).

        Where a query may look is `allowed` (..., M); one that may look nowhere looks everywhere.
        """

    @abstractmethod
    def attend_to(self, query: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
        """Softmax attention of each token to the queries of its jet: (..., H, d), (B, M, H, d) twice -> (..., H, d)."""

    @abstractmethod
    def pair_map(self, fn: nn.Sequential, a: Tensor, b: Tensor) -> Tensor:
        """fn(a_i + b_j) for all ordered pairs of tokens of one jet: (..., D) twice -> (pairs, out)."""

    @abstractmethod
    def pair(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x_i and x_j of all pairs, for labels without gradient: (...) -> (pairs) twice."""

    @abstractmethod
    def swap(self, pairs: Tensor) -> Tensor:
        """The value of (j, i) in the place of (i, j)."""

    @abstractmethod
    def connect(self, linked: Tensor) -> Tensor:
        """For each token the place in its jet of the first one linked to it, over any number of links.

        (pairs) bool, symmetric -> (...) int64.
        """


class Merged(ABC):
    """Several streams of the same jets in one, with registers: its layout, the way in, and the way out."""

    layout: Layout

    @abstractmethod
    def join(self, streams: Sequence[Tensor], registers: Tensor | None = None) -> Tensor:
        """Tokens of all streams (..., D) and the same registers (R, D) for every jet -> merged tokens."""

    @abstractmethod
    def join_edges(self, streams: Sequence[Tensor | None]) -> Tensor:
        """What is known of the pairs of each stream, (square, E), None: nothing -> of those of the merged tokens.

        Nothing is known of a token with one of another stream, nor of the registers: zeros. To be called after `join`.
        """

    @abstractmethod
    def part(self, x: Tensor, stream: int) -> Tensor:
        """The merged tokens that came from one stream."""

    @abstractmethod
    def without_registers(self, x: Tensor) -> tuple[Tensor, Layout]:
        """The merged tokens that are no registers, and their layout."""


# --- many jets, one after the other: training, and inference on batches ------------------------------------------


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
        found = [v.new_zeros(0, *v.shape[1:])]
        sizes = self.segments.run_sizes
        for run, *parts in zip(self.segments.runs, q.split(sizes), k.split(sizes), v.split(sizes), strict=True):
            a, b, c = (part.unflatten(0, (run.jets, run.length)) for part in parts)  # (jets, length, H, d)
            found.append(_scored(score, a, b, c, dropout).flatten(0, 1))
        return torch.cat(found)

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


# --- one jet, dense operations only: what ONNX exports -----------------------------------------------------------


class One(Layout):
    """The tokens (n, D) of one jet; n may be 0."""

    @classmethod
    def of(cls, stream: Ragged) -> tuple[Tensor, One]:
        return stream.values, cls()

    @classmethod
    def merge(cls, layouts: Sequence[One], num_registers: int = 0) -> OneMerge:
        return OneMerge(num_registers)

    @property
    def num_jets(self) -> int:
        return 1

    def spread(self, x: Tensor) -> Tensor:
        return x

    def attend(self, qkv: Tensor, scale: float, dropout: float = 0.0) -> Tensor:
        q, k, v = qkv.unbind(1)
        return self.attend_across(q, k, v, self, scale, dropout)

    def attend_across(self, q: Tensor, k: Tensor, v: Tensor, others: One, scale: float, dropout: float = 0.0) -> Tensor:
        q, k, v = (x.transpose(0, 1) for x in (q, k, v))  # (H, n, d) each, n of either stream
        weight = torch.softmax(q @ k.transpose(1, 2) * scale, -1)
        weight = torch.nn.functional.dropout(weight, dropout)
        return (weight @ v).transpose(0, 1)

    def attend_edges(
        self, qkv: Tensor, term: Tensor, gate: Tensor, scale: float, dropout: float = 0.0
    ) -> tuple[Tensor, Tensor]:
        q, key, v = qkv.permute(1, 2, 0, 3)  # (H, n, d) each
        logits = q @ key.transpose(1, 2) * scale + term
        weight = torch.nn.functional.dropout(logits.softmax(-1), dropout) * gate.sigmoid()
        return (weight @ v).transpose(0, 1), logits

    def square(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.pair(x)

    def attend_scored(self, score: nn.Module, q: Tensor, k: Tensor, v: Tensor, dropout: float = 0.0) -> Tensor:
        return _scored(score, q[None], k[None], v[None], dropout)[0]

    def pool(self, score: Tensor, x: Tensor) -> Tensor:
        return torch.softmax(score, 0).transpose(0, 1) @ x

    def slots(self, x: Tensor, count: int) -> Tensor:
        return torch.cat([x, x.new_zeros(count, x.shape[1])])[None, :count]

    def total(self, x: Tensor) -> Tensor:
        return x.sum(0, keepdim=True)

    def dot_queries(self, x: Tensor, queries: Tensor) -> Tensor:
        return x @ queries[0].transpose(0, 1)

    def attend_from(
        self, queries: Tensor, key: Tensor, value: Tensor, scale: float, allowed: Tensor | None = None
    ) -> Tensor:
        q, k, v = (x.transpose(0, 1) for x in (queries[0], key, value))  # (H, M or n, d)
        logits = q @ k.transpose(1, 2) * scale
        if allowed is not None:
            logits = logits.masked_fill(~somewhere(allowed.transpose(0, 1)), -torch.inf)
        return (torch.softmax(logits, -1) @ v).transpose(0, 1)[None]

    def attend_to(self, query: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
        q, k, v = (x.transpose(0, 1) for x in (query, keys[0], values[0]))  # (H, n or M, d)
        return (torch.softmax(q @ k.transpose(1, 2) * scale, -1) @ v).transpose(0, 1)

    def pair_map(self, fn: nn.Sequential, a: Tensor, b: Tensor) -> Tensor:
        return fn(a[:, None] + b[None])

    def pair(self, x: Tensor) -> tuple[Tensor, Tensor]:
        n = x.shape[0]  # not len(x): an export would take it for a constant
        return x[:, None].expand(-1, n), x[None].expand(n, -1)

    def swap(self, pairs: Tensor) -> Tensor:
        return pairs.transpose(0, 1)

    def connect(self, linked: Tensor) -> Tensor:
        tokens = linked.shape[0]
        reach = (linked | torch.eye(tokens, dtype=torch.bool, device=linked.device)).to(torch.float32)
        for _ in range(_DOUBLINGS):
            reach = (reach @ reach > 0).to(torch.float32)
        place = torch.arange(tokens, device=linked.device)
        return torch.where(reach > 0, place, tokens).amin(1) if tokens else place


def _scored(score: nn.Module, q: Tensor, k: Tensor, v: Tensor, dropout: float) -> Tensor:
    """Attention of jets of equal length: (jets, n, H, d) thrice -> (jets, n, H, d)."""
    weight = torch.softmax(score(q[:, :, None] + k[:, None]), 2)  # (jets, n, n, H)
    weight = torch.nn.functional.dropout(weight, dropout)
    return torch.einsum("bijh,bjhd->bihd", weight, v)


_DOUBLINGS = 8
"""Paths of up to 2 ** 8 links are followed: no jet of the field has more tracks."""


class OneMerge(Merged):
    """Streams of one jet in one: their tokens one after the other, then the registers.

    Parameters
    ----------
    num_registers : int
        R, tokens that the jet has besides.
    """

    def __init__(self, num_registers: int = 0) -> None:
        self.layout = One()
        self._num_registers = num_registers
        self._lengths: list[int] = []

    def join(self, streams: Sequence[Tensor], registers: Tensor | None = None) -> Tensor:
        self._lengths = [stream.shape[0] for stream in streams]
        return torch.cat([*streams, registers] if registers is not None else list(streams))

    def join_edges(self, streams: Sequence[Tensor | None]) -> Tensor:
        whole, start, parts = sum(self._lengths) + self._num_registers, 0, []
        for edges, length in zip(streams, self._lengths, strict=True):
            around = (start, whole - start - length)
            parts += [] if edges is None else [torch.nn.functional.pad(edges, (0, 0, *around, *around))]
            start += length
        return torch.stack(parts).sum(0)

    def part(self, x: Tensor, stream: int) -> Tensor:
        start = sum(self._lengths[:stream])
        return x[start : start + self._lengths[stream]]

    def without_registers(self, x: Tensor) -> tuple[Tensor, Layout]:
        return x[: x.shape[0] - self._num_registers], self.layout
