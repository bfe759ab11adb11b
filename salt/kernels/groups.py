"""Jets of equal length together: what attention on CPU computes in one product of matrices.

Shapes: T tokens of all jets together, L tokens of one jet, H heads, d width of a head, k jets of the same length.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

FRAGMENTED = 2
"""From so many runs for each number of tokens on, jets of equal length that are no neighbours are gathered."""


class Part(NamedTuple):
    """k jets of L tokens: their rows, and their views of the flat buffers."""

    rows: slice | Tensor
    """Of neighbours a slice, else (k * L,)."""
    jets: int
    length: int
    queries_and_keys: Tensor
    """(2, k * H, L, d)"""
    values: Tensor
    """(k * H, L, d + 1): the last column is 1, so that sums of weights come with the product."""
    weights: Tensor
    """(k * H, L, L)"""

    def room(self, x: Tensor) -> Tensor:
        """Where rows of these jets can be written, to be `put` then: (T, ...) -> (k * L, ...)."""
        return x[self.rows] if isinstance(self.rows, slice) else x.new_empty(self.jets * self.length, *x.shape[1:])

    def put(self, x: Tensor, room: Tensor) -> None:
        """Take what was written to the room of x, where that is not a part of x itself."""
        if not isinstance(self.rows, slice):
            x.index_copy_(0, self.rows, room)


def groups(offsets: NDArray[np.int64]) -> Iterator[tuple[slice | Tensor, int, int]]:
    """Rows, number and length of jets of equal length: all of a length at once where few of them are neighbours."""
    lengths = np.diff(offsets)
    starts = np.flatnonzero(np.diff(lengths, prepend=-1))  # of runs
    order = np.argsort(lengths, kind="stable")
    in_order = np.flatnonzero(np.diff(lengths[order], prepend=-1))
    if len(starts) < FRAGMENTED * len(in_order):
        for first, jets in zip(starts.tolist(), np.diff(starts, append=len(lengths)).tolist(), strict=True):
            yield slice(int(offsets[first]), int(offsets[first + jets])), jets, int(lengths[first])
        return
    for members in np.split(order, in_order[1:]):
        length = int(lengths[members[0]])
        rows = offsets[members][:, None] + np.arange(length)
        yield torch.from_numpy(rows.reshape(-1)), len(members), length


def parts(offsets: Tensor, heads: int, width: int, by_head: Tensor, weights: Tensor) -> Iterator[Part]:
    """All jets but the empty ones, with their views of buffers that a forward pass fills and a backward one reads."""
    at = w = 0
    for rows, jets, length in groups(offsets.numpy()):
        tokens, batch = jets * length, jets * heads
        if not tokens:
            continue
        middle = at + 2 * tokens * heads * width
        end = middle + tokens * heads * (width + 1)
        yield Part(
            rows,
            jets,
            length,
            by_head[at:middle].view(2, batch, length, width),
            by_head[middle:end].view(batch, length, width + 1),
            weights[w : w + batch * length * length].view(batch, length, length),
        )
        at, w = end, w + batch * length * length
