"""Order: which jets each batch of an epoch holds.

Shapes: N jets; B jets of one rank's batch; G = B x number of ranks jets of the global batch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch
from torch import Tensor

from salt.data.names import unknown
from salt.data.permutation import Identity, Permutation, permutation
from salt.data.windows import ShuffledBlocks, Window, merged

MODES = ("exact", "window", "batch", "none")
"""What `data.shuffle` may ask for, besides auto."""

BLOCK = 8192
"""Jets that are read together: some megabytes, below which disks are slow."""

NUM_BLOCKS = 128
"""Blocks in memory together: a million jets."""

NOTHING = torch.empty(0, dtype=torch.int64)


class Order(ABC):
    """The batches of each epoch: each jet exactly once, as many batches on every rank.

    Its whole state is (seed, epoch, step): nothing has to be saved but these three numbers, and going on at a step is
    a seek. Batch k of R ranks with batch size B holds together the same jets as batch k of one rank with batch size
    R x B. A batch that is not full is split as evenly as it goes; where it has fewer jets than there are ranks, it is
    dropped.

    Parameters
    ----------
    num_jets : int
        N.
    batch_size : int
        Jets of each rank's batch.
    seed : int
        The order of an epoch depends on it and the epoch's number alone.
    rank : int
        Which of the ranks this is.
    num_ranks : int
        How many ranks share the jets.
    drop_last : bool
        Drop the batch of an epoch that is not full.
    """

    mode: str
    """What `data.shuffle` calls it."""

    def __init__(
        self,
        num_jets: int,
        batch_size: int,
        seed: int = 0,
        rank: int = 0,
        num_ranks: int = 1,
        drop_last: bool = False,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"data.batch_size is {batch_size}; it must be at least 1")
        self.num_jets = num_jets
        self.global_batch_size = batch_size * num_ranks
        self.seed = seed
        self.rank = rank
        self.num_ranks = num_ranks
        self.drop_last = drop_last
        full, left = divmod(num_jets, self.global_batch_size)
        self.num_batches = full + (left >= num_ranks and not drop_last)
        if self.num_batches == 0:
            raise ValueError(
                f"{num_jets} jets do not make one batch for {num_ranks} ranks with data.batch_size {batch_size}: "
                "lower it, use fewer devices, or more jets"
            )

    def __len__(self) -> int:
        return self.num_batches

    def sequence(self) -> dict[str, int | str]:
        """What the sequence of the jets of an epoch depends on, beside its number; not how it is cut into batches."""
        return {"mode": self.mode, "num_jets": self.num_jets, "seed": self.seed}

    @abstractmethod
    def windows(self, epoch: int, start_step: int = 0) -> Iterator[Window]:
        """The batches from `start_step` on, in groups, each with the jets that must be in memory for it.

        Parameters
        ----------
        epoch : int
            Number of the epoch.
        start_step : int
            Number of the batches that have been seen already.
        """

    def batches(self, epoch: int, start_step: int = 0) -> Iterator[Tensor]:
        """Positions (B,) of this rank's batches, from `start_step` on."""
        for window in self.windows(epoch, start_step):
            yield from window.batches

    def _share(self, together: Tensor) -> Tensor:
        """What is this rank's of a global batch (G,)."""
        return together.tensor_split(self.num_ranks)[self.rank]


class ExactOrder(Order):
    """An exact permutation of all jets; any jet may meet any other in any batch."""

    mode = "exact"

    def windows(self, epoch: int, start_step: int = 0) -> Iterator[Window]:
        """One window of all jets."""
        jets = permutation(self.num_jets, self.seed, epoch)
        yield Window([(0, self.num_jets)], NOTHING, self._cut(jets, start_step))

    def _cut(self, jets: Permutation, start_step: int) -> Iterator[Tensor]:
        for step in range(start_step, self.num_batches):
            start = step * self.global_batch_size
            yield self._share(jets.part(start, min(start + self.global_batch_size, self.num_jets)))


class WindowOrder(Order):
    """An approximate shuffle for jets that memory does not hold: exact inside windows of randomly chosen blocks.

    The windows follow each other without a seam: a batch that begins in one goes on in the next. Jets of one block are
    always in one window: two of a batch meet again in the next epoch about 1 + N block / W**2 times as often as after
    an exact shuffle, where W = block x num_blocks; on a file sorted by class, the chi2 of a batch's classes is about
    1 + G / num_blocks per degree of freedom.
    A pool that keeps half of its jets for the next window is no better with the same memory: its batches hold jets of
    as many blocks, and two jets of one block meet as often.
    Each rank takes its share out of every batch, and so reads every window.

    Parameters
    ----------
    num_jets, batch_size, seed, rank, num_ranks, drop_last
        As those of `Order`.
    block : int
        Neighbouring jets that are read together.
    num_blocks : int
        Blocks of a window. While the next window is read ahead, two of them are in memory.
    """

    mode = "window"

    def __init__(
        self,
        num_jets: int,
        batch_size: int,
        seed: int = 0,
        rank: int = 0,
        num_ranks: int = 1,
        drop_last: bool = False,
        block: int = BLOCK,
        num_blocks: int = NUM_BLOCKS,
    ) -> None:
        super().__init__(num_jets, batch_size, seed, rank, num_ranks, drop_last)
        if block < 1 or num_blocks < 1:
            raise ValueError(f"a window of {num_blocks} blocks of {block} jets holds none: both must be at least 1")
        self.block = block
        self.num_blocks = num_blocks

    def sequence(self) -> dict[str, int | str]:
        """What the sequence depends on: the blocks, too."""
        return {**super().sequence(), "block": self.block, "num_blocks": self.num_blocks}

    def windows(self, epoch: int, start_step: int = 0) -> Iterator[Window]:
        """Windows of num_blocks blocks, in the order of the epoch."""
        blocks = ShuffledBlocks(self.num_jets, self.block, self.num_blocks, self.seed, epoch)
        step, place, carried = start_step, start_step * self.global_batch_size, NOTHING
        for window in range(blocks.window_at(place), len(blocks)):
            if step == self.num_batches:
                return
            skipped = max(place - blocks.starts[window], 0)  # seen already, in the first window only
            pool = torch.cat([carried, blocks.positions(window)[skipped:]])
            last = window == len(blocks) - 1
            count = self.num_batches - step if last else min(len(pool) // self.global_batch_size, len(self) - step)
            yield Window(blocks.ranges(window), carried, self._cut(pool, count))
            carried = pool[count * self.global_batch_size :]
            step += count

    def _cut(self, pool: Tensor, count: int) -> Iterator[Tensor]:
        for together in pool.split(self.global_batch_size)[:count]:
            yield self._share(together)


class ContiguousOrder(Order):
    """Batches of neighbours: batch k always holds the same jets k G to (k + 1) G - 1.

    Parameters
    ----------
    num_jets, batch_size, seed, rank, num_ranks, drop_last
        As those of `Order`.
    window_jets : int
        Jets of a window, at most, unless one batch alone has more.
    """

    def __init__(
        self,
        num_jets: int,
        batch_size: int,
        seed: int = 0,
        rank: int = 0,
        num_ranks: int = 1,
        drop_last: bool = False,
        window_jets: int = BLOCK * NUM_BLOCKS,
    ) -> None:
        super().__init__(num_jets, batch_size, seed, rank, num_ranks, drop_last)
        self.window_jets = window_jets

    @abstractmethod
    def numbers(self, epoch: int) -> Permutation:
        """Of the batches, in the order of an epoch."""

    def windows(self, epoch: int, start_step: int = 0) -> Iterator[Window]:
        """Runs of batches, with this rank's jets of them alone."""
        numbers = self.numbers(epoch)
        run = max(self.window_jets // self.global_batch_size, 1)
        for step in range(start_step, self.num_batches, run):
            shares = [self._jets(number) for number in numbers.part(step, min(step + run, self.num_batches)).tolist()]
            ranges = merged(sorted((int(share[0]), len(share)) for share in shares))
            yield Window(ranges, NOTHING, iter(shares))

    def _jets(self, number: int) -> Tensor:
        start = number * self.global_batch_size
        return self._share(torch.arange(start, min(start + self._size(number), self.num_jets)))

    def _size(self, number: int) -> int:
        """Jets of a global batch."""
        return self.global_batch_size


class BatchOrder(ContiguousOrder):
    """Upstream's weak shuffle: batches of neighbours, always the same, in another order each epoch."""

    mode = "batch"

    def sequence(self) -> dict[str, int | str]:
        """What the sequence depends on: the batches, too."""
        return {**super().sequence(), "global_batch_size": self.global_batch_size}

    def numbers(self, epoch: int) -> Permutation:
        """Of the batches, in the order of an epoch."""
        return permutation(self.num_batches, self.seed, epoch)


class FileOrder(ContiguousOrder):
    """The order of the file, in each epoch. Jets that are too few for a batch of all ranks are in the one before."""

    mode = "none"

    def numbers(self, epoch: int) -> Permutation:
        """Of the batches, one after the other."""
        return Identity()

    def _size(self, number: int) -> int:
        """Jets of a global batch: no jet is to be missing where jets are looked at once."""
        left = self.num_jets - self.num_batches * self.global_batch_size
        takes_them = number == self.num_batches - 1 and 0 < left < self.num_ranks and not self.drop_last
        return self.global_batch_size + (left if takes_them else 0)


def make_order(
    mode: str,
    num_jets: int,
    batch_size: int,
    seed: int = 0,
    rank: int = 0,
    num_ranks: int = 1,
    drop_last: bool = False,
    block: int = BLOCK,
    num_blocks: int = NUM_BLOCKS,
) -> Order:
    """The order of a mode of `data.shuffle`; `block` x `num_blocks` jets make a window of all but the exact one."""
    match mode:
        case "exact":
            return ExactOrder(num_jets, batch_size, seed, rank, num_ranks, drop_last)
        case "window":
            return WindowOrder(num_jets, batch_size, seed, rank, num_ranks, drop_last, block, num_blocks)
        case "batch":
            return BatchOrder(num_jets, batch_size, seed, rank, num_ranks, drop_last, block * num_blocks)
        case "none":
            return FileOrder(num_jets, batch_size, seed, rank, num_ranks, drop_last, block * num_blocks)
    raise ValueError(unknown("mode", mode, ["auto", *MODES], "data.shuffle"))
