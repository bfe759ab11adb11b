"""PartOrder: the order of the file in which several ranks test it, each a part of it, for one file of what they find.

Shapes: N jets; B jets of a batch.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from salt.data.order import BLOCK, NOTHING, NUM_BLOCKS, Order
from salt.data.windows import Window


class PartOrder(Order):
    """Batches of neighbours, the same as those of one rank, of which each rank has some that follow each other.

    So that what a batch gives is the same to the last bit, whoever computes it. The last ranks may have no batch.

    Parameters
    ----------
    num_jets, batch_size, rank, num_ranks
        As those of `Order`; N and B.
    window_jets : int
        Jets that are read at once, at most, unless one batch alone has more.
    """

    mode = "parts"

    def __init__(
        self, num_jets: int, batch_size: int, rank: int = 0, num_ranks: int = 1, window_jets: int = BLOCK * NUM_BLOCKS
    ) -> None:
        super().__init__(num_jets, batch_size)
        each, more = divmod(self.num_batches, num_ranks)
        self.first = rank * each + min(rank, more)
        self.num_batches = each + (rank < more)
        self.batch_size = batch_size
        self.window_jets = window_jets

    def windows(self, epoch: int, start_step: int = 0) -> Iterator[Window]:
        """Runs of batches, with this rank's jets alone."""
        run = max(self.window_jets // self.batch_size, 1)
        end = self.first + self.num_batches
        for batch in range(self.first + start_step, end, run):
            first, last = batch * self.batch_size, min(min(batch + run, end) * self.batch_size, self.num_jets)
            jets = torch.arange(first, last)
            yield Window([(first, last - first)], NOTHING, iter(jets.split(self.batch_size)))
