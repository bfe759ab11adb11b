"""Ragged data: the constituents of many jets, packed one after the other with nothing between.

Shapes: B jets, T tokens (constituents) of all jets together, F features, P ordered pairs of different tokens of one
jet, S ordered pairs of tokens of one jet.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Run(NamedTuple):
    """Neighbouring jets that all have the same number of tokens: their rows are a view of shape (jets, length)."""

    jets: int
    length: int


class Pairs(NamedTuple):
    """All ordered pairs i != j of tokens of the same jet, sorted by i, then by j; each a tensor (P,)."""

    first: Tensor
    second: Tensor
    swapped: Tensor
    """Position of the pair (j, i) of each pair (i, j)."""


class Square(NamedTuple):
    """All ordered pairs of tokens of the same jet, each with itself included, sorted by i, then by j; each (S,)."""

    first: Tensor
    second: Tensor


class Segments:
    """Where each jet's tokens lie: jet b owns the rows offsets[b] to offsets[b + 1].

    The integer work on the offsets is done once and kept. Everything is right for jets in any order and of any
    length, zero included; it is fast where jets of equal length are neighbours, as the loader puts them.

    Parameters
    ----------
    offsets : Tensor
        (B + 1,) int64, never decreasing, from 0 to T.
    """

    def __init__(self, offsets: Tensor) -> None:
        self.offsets = offsets

    @classmethod
    def from_lengths(cls, lengths: Tensor) -> Segments:
        """Segments of jets with these numbers of tokens (B,)."""
        offsets = torch.zeros(lengths.shape[0] + 1, dtype=torch.int64, device=lengths.device)
        if lengths.device.type == "cpu":  # torch's own calls take ten times as long on so few numbers
            np.cumsum(lengths.numpy(), out=offsets.numpy()[1:])
        else:
            torch.cumsum(lengths, 0, out=offsets[1:])
        return cls(offsets)

    @property
    def num_jets(self) -> int:
        """B."""
        return self.offsets.shape[0] - 1

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """(B,) number of tokens of each jet, for the host: known on other devices, too, without asking them.

        A copy: the memory of tensors moves where a worker hands them over, and a view would be left behind.
        """
        return self.lengths.cpu().numpy().copy()

    @cached_property
    def num_tokens(self) -> int:
        """T."""
        return int(self.offsets[-1] if self.offsets.device.type == "cpu" else self.counts.sum())

    @cached_property
    def longest(self) -> int:
        """Largest number of tokens of a jet."""
        return int(self.counts.max(initial=0))

    @cached_property
    def lengths(self) -> Tensor:
        """(B,) number of tokens of each jet."""
        return self.offsets.diff()

    @cached_property
    def owner(self) -> Tensor:
        """(T,) the jet that each token belongs to."""
        return _repeat(torch.arange(self.num_jets, device=self.offsets.device), self.lengths, self.num_tokens)

    @cached_property
    def runs(self) -> list[Run]:
        """Neighbouring jets of equal length, in order."""
        lengths = self.counts
        ends = np.append(np.flatnonzero(np.diff(lengths)) + 1, len(lengths)) if len(lengths) else np.empty(0, int)
        counts = np.diff(ends, prepend=0)
        return [Run(jets, length) for jets, length in zip(counts.tolist(), lengths[ends - 1].tolist(), strict=True)]

    @cached_property
    def run_sizes(self) -> list[int]:
        """Number of tokens of each run: what to split a packed tensor by."""
        return [run.jets * run.length for run in self.runs]

    @cached_property
    def num_pairs(self) -> int:
        """P, the number of ordered pairs of different tokens of one jet."""
        return sum(run.jets * run.length * (run.length - 1) for run in self.runs)

    @cached_property
    def pairs(self) -> Pairs:
        """All ordered pairs of different tokens of one jet."""
        partners = (self.lengths - 1).clamp(min=0)[self.owner]  # of each token
        first = _repeat(torch.arange(self.num_tokens, device=partners.device), partners, self.num_pairs)
        start = torch.cat([partners.new_zeros(1), partners.cumsum(0)])  # of each token's pairs
        rank = torch.arange(first.shape[0], device=partners.device) - start[first]
        base = self.offsets[self.owner]  # first token of the same jet
        position = first - base[first]
        second_position = rank + (rank >= position)  # skip i == j
        second = base[first] + second_position
        # (j, i) is among j's pairs at rank i, or one earlier where i comes after j
        swapped = start[second] + position - (position > second_position).long()
        return Pairs(first, second, swapped)

    @cached_property
    def num_square(self) -> int:
        """S, the number of ordered pairs of tokens of one jet, each with itself included."""
        return sum(run.jets * run.length**2 for run in self.runs)

    @cached_property
    def square(self) -> Square:
        """All ordered pairs of tokens of one jet, each with itself included."""
        partners = self.lengths[self.owner]  # of each token, itself included
        first = _repeat(torch.arange(self.num_tokens, device=partners.device), partners, self.num_square)
        before = partners.cumsum(0) - partners  # pairs of the tokens before
        rank = torch.arange(first.shape[0], device=first.device) - before[first]
        return Square(first, self.offsets[self.owner][first] + rank)

    def with_extra(self, count: int) -> Segments:
        """Segments of the same jets with `count` more tokens each."""
        more = Segments(self.offsets + count * torch.arange(self.num_jets + 1, device=self.offsets.device))
        if "counts" in self.__dict__:
            more.__dict__["counts"] = self.counts + count
        return more

    @classmethod
    def together(cls, parts: Sequence[Segments]) -> Segments:
        """Segments of the same jets with the tokens of all parts."""
        if len(parts) == 1:
            return parts[0]
        whole = cls(torch.stack([part.offsets for part in parts]).sum(0))
        if all("counts" in part.__dict__ for part in parts):
            whole.__dict__["counts"] = np.sum([part.counts for part in parts], axis=0)
        return whole

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Segments:
        """The same segments on another device; numbers already counted stay known, and those of tokens are counted."""
        if self.offsets.device.type == "cpu" and torch.device(device).type != "cpu":
            _ = self.counts
        moved = Segments(self.offsets.to(device, non_blocking=non_blocking))
        moved.__dict__.update(self._counted())
        return moved

    def pin_memory(self) -> Segments:
        """The same segments in page-locked memory."""
        pinned = Segments(self.offsets.pin_memory())
        pinned.__dict__.update(self._counted())
        return pinned

    def _counted(self) -> dict[str, object]:
        """The kept results that are plain numbers, and so the same on any device."""
        return {k: v for k, v in self.__dict__.items() if k in {"counts", "num_tokens", "runs", "run_sizes"}}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Segments) and torch.equal(self.offsets, other.offsets)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Segments(num_jets={self.num_jets}, num_tokens={self.num_tokens})"


def _repeat(values: Tensor, counts: Tensor, total: int) -> Tensor:
    """Each value as often as its count says; by numpy on CPU, where torch's threads cost it milliseconds."""
    if values.device.type != "cpu":
        return torch.repeat_interleave(values, counts, output_size=total)
    return torch.from_numpy(np.repeat(values.numpy(), counts.numpy()))


class Ragged:
    """Values of the constituents of many jets: jet b owns `values[offsets[b]:offsets[b + 1]]`.

    Parameters
    ----------
    values : Tensor
        (T, F), of any dtype.
    segments : Segments
        Where each jet's rows lie.
    measured : Tensor | None
        (T, F), what the values were before they were normalised; None: they are what they were.
    """

    def __init__(self, values: Tensor, segments: Segments, measured: Tensor | None = None) -> None:
        self.values = values
        self.segments = segments
        self.measured = values if measured is None else measured

    @classmethod
    def from_lengths(cls, values: Tensor, lengths: Tensor) -> Ragged:
        """Ragged values (T, F) of jets with these numbers of tokens (B,)."""
        segments = Segments.from_lengths(lengths)
        if values.shape[0] != segments.num_tokens:
            raise ValueError(f"{values.shape[0]} rows of values, but the jets' lengths add up to {segments.num_tokens}")
        return cls(values, segments)

    @classmethod
    def joined(cls, parts: Sequence[Ragged]) -> Ragged:
        """The jets of all parts, one after the other."""
        values = torch.cat([part.values for part in parts])
        return cls.from_lengths(values, torch.cat([part.segments.lengths for part in parts]))

    @property
    def offsets(self) -> Tensor:
        """(B + 1,) int64 row offsets (known elsewhere as cu_seqlens)."""
        return self.segments.offsets

    def with_values(self, values: Tensor) -> Ragged:
        """Other values of the same tokens."""
        return Ragged(values, self.segments)

    def normalised(self, values: Tensor) -> Ragged:
        """The same values, normalised: how they were measured stays known."""
        return Ragged(values, self.segments, self.measured)

    def raw(self) -> Ragged:
        """The same as it was measured, before it was normalised."""
        return Ragged(self.measured, self.segments)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Ragged:
        """The same on another device."""
        return Ragged(
            self.values.to(device, non_blocking=non_blocking), self.segments.to(device, non_blocking=non_blocking)
        )

    def pin_memory(self) -> Ragged:
        """The same in page-locked memory."""
        return Ragged(self.values.pin_memory(), self.segments.pin_memory())

    def __repr__(self) -> str:
        return f"Ragged(values={tuple(self.values.shape)}, {self.segments!r})"
