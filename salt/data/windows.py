"""Window: what must be in memory together for some batches; ShuffledBlocks: the windows of an approximate shuffle.

Shapes: N jets in blocks of neighbours; W jets of a window; B jets of one rank's batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from salt.data.permutation import permutation


class Window(NamedTuple):
    """Jets that are read together, and the batches that can be served then.

    Each position of `batches` is in `ranges` or in `carried`. The next window may be asked for, and read, while the
    batches of this one are still being served.
    """

    ranges: list[tuple[int, int]]
    """(first, count) of neighbouring positions to read now; sorted, disjoint, no two of them adjacent."""

    carried: Tensor
    """(c,) int64, fewer than one global batch: positions of windows before that the first batch here still needs.
    Keep them until it is served. The first window, also one in the middle of an epoch, carries nothing."""

    batches: Iterator[Tensor]
    """(B,) int64 positions of this rank's batches, to be gone through once; none where all jets of the window are
    carried on to the next one."""


class ShuffledBlocks:
    """The jets of an epoch in windows: blocks of neighbours in a random order, shuffled exactly inside each window.

    A block is what a disk reads at once; a window is what memory holds.

    Parameters
    ----------
    num_jets : int
        N.
    block : int
        Neighbouring jets of a block; the last block of the file may be smaller, and takes any place in the order.
    num_blocks : int
        Blocks of a window.
    seed, epoch : int
        The order depends on them alone.
    """

    def __init__(self, num_jets: int, block: int, num_blocks: int, seed: int, epoch: int) -> None:
        num = -(-num_jets // block)
        order = permutation(num, seed, epoch).part(0, num).numpy()
        self._firsts = np.split(order * block, range(num_blocks, num, num_blocks))
        self.num_jets, self.block, self.seed, self.epoch = num_jets, block, seed, epoch
        self.starts = [0, *np.cumsum([sum(self._counts(firsts)) for firsts in self._firsts]).tolist()]
        """Place of each window's first jet in the order of the epoch; and N."""

    def __len__(self) -> int:
        return len(self._firsts)

    def window_at(self, place: int) -> int:
        """Number of the window that holds this place of the order."""
        return int(np.searchsorted(self.starts, place, side="right")) - 1

    def ranges(self, window: int) -> list[tuple[int, int]]:
        """(first, count) of the jets of a window, as few ranges as it goes."""
        firsts = np.sort(self._firsts[window])
        return merged(zip(firsts.tolist(), self._counts(firsts).tolist(), strict=True))

    def positions(self, window: int) -> Tensor:
        """(W,) int64: the jets of a window, in their order of this epoch."""
        jets = torch.cat([torch.arange(first, first + count) for first, count in self.ranges(window)])
        return jets[permutation(len(jets), self.seed, self.epoch, 1, window).part(0, len(jets))]

    def _counts(self, firsts: np.ndarray) -> np.ndarray:
        return np.minimum(self.num_jets - firsts, self.block)


def merged(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same positions in the fewest (first, count); `ranges` are sorted and disjoint."""
    fewest: list[tuple[int, int]] = []
    for first, count in ranges:
        if fewest and sum(fewest[-1]) == first:
            fewest[-1] = (fewest[-1][0], fewest[-1][1] + count)
        else:
            fewest.append((first, count))
    return fewest
