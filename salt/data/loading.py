"""Loading: from jets that can be gathered to the batches of a trainer."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from lightning.pytorch.utilities.rank_zero import rank_zero_only
from numpy.typing import NDArray

from salt.data.augment import Augmentation
from salt.data.device import DeviceStore
from salt.data.feeds import Feed, PartsFeed, StoreFeed
from salt.data.loader import Loader, WorkerLoader
from salt.data.order import Order, make_order
from salt.data.parts import PartOrder
from salt.data.space import DEFAULT_MEMORY, MEMORY_SHARE, in_words
from salt.data.splits import Split

info = rank_zero_only(logging.getLogger(__name__).info)
warn = rank_zero_only(logging.getLogger(__name__).warning)

Shuffle = Literal["auto", "exact", "window", "batch", "none"]
Mode = Shuffle | Literal["parts"]
"""How the jets of an epoch follow each other; parts: each rank has a part of the file."""

BLOCK_BYTES = 2**20
"""Jets of so many bytes are read together: disks are slow with less; windows of more blocks mix better."""

WINDOW_SHARE = 1 / 8
"""Share of the free memory that a window takes; two are there at a time."""

MIN_BLOCKS = 8
"""Of a window, whatever the memory."""


@dataclass(frozen=True)
class Loading:
    """How batches are made.

    Parameters
    ----------
    batch_size : int
        Jets of each rank's batch.
    seed : int
        What the shuffle depends on, beside the epoch.
    rank, num_ranks : int
        Which of the ranks this is, and how many share the jets.
    num_workers : int
        Processes that gather batches; 0: a thread.
    prefetch : int
        Batches that are gathered ahead, by each process if there are some.
    pin_memory : bool
        Put batches into page-locked memory.
    persistent_workers : bool
        Keep the processes from epoch to epoch.
    context : str | None
        How processes are started; None for the system's own way.
    window_jets : int | None
        Jets of a window; None for what memory has room for.
    blocks : tuple[int, int] | None
        Jets of a block, and blocks of a window, of the run that is resumed; None for what memory has room for.
    device : str
        Where the store's columns are: cpu or cuda.
    free : int | None
        Bytes of memory that are free, the same for all ranks, which must come to the same decision; None: not known.
    """

    batch_size: int
    seed: int = 0
    rank: int = 0
    num_ranks: int = 1
    num_workers: int = 0
    prefetch: int = 2
    pin_memory: bool = False
    persistent_workers: bool = True
    context: str | None = None
    window_jets: int | None = None
    blocks: tuple[int, int] | None = None
    device: str = "cpu"
    free: int | None = None

    def loader(
        self, split: Split, mode: Mode, chosen: NDArray | None, augmentation: Augmentation, epoch: Callable[[], int]
    ) -> Loader:
        """Batches of a split.

        Parameters
        ----------
        split : Split
            The jets.
        mode : Mode
            How they are shuffled.
        chosen : NDArray | None
            (M,) which of them are used, rising; None for all.
        augmentation : Augmentation
            What is done to the jets of a batch.
        epoch : Callable[[], int]
            Number of the epoch, asked at the start of each.
        """
        feed = self._feed(split, mode, chosen, augmentation)
        if self.num_workers > 0 and isinstance(feed, StoreFeed) and self.device == "cpu":
            workers = (self.num_workers, self.persistent_workers, self.context)
            return WorkerLoader(feed, epoch, self.prefetch, self.pin_memory, *workers)
        if self.num_workers > 0:
            warn("data.num_workers is %d, but jets are read in turn by one thread here", self.num_workers)
        return Loader(feed, epoch, self.prefetch, self.pin_memory and self.device == "cpu")

    def _feed(self, split: Split, mode: Mode, chosen: NDArray | None, augmentation: Augmentation) -> Feed:
        size, free = split.num_bytes, self.free
        fits = free is None or size <= free * MEMORY_SHARE
        if mode == "auto":
            mode = "exact" if fits and split.is_random else "window"
            _explain(mode, split, size, free)
        elif mode == "exact" and not fits:
            took, left = in_words(size), in_words(free or 0)
            warn("data.shuffle: exact takes %s, but %s of memory is free: this will be slow", took, left)
        order = self._order(split, mode, size, free, chosen)
        if mode == "window" or (mode != "exact" and not (fits and split.is_random)):
            return PartsFeed(split, order, chosen, augmentation)
        store = split.load()
        if self.device != "cpu":
            store = DeviceStore(store, self.device)
        return StoreFeed(store, order, chosen, augmentation)

    def _order(self, split: Split, mode: Mode, size: int, free: int | None, chosen: NDArray | None) -> Order:
        """The order of a mode; blocks and windows of chosen jets lie among all others, which are read with them."""
        num_jets = split.num_jets if chosen is None else len(chosen)
        block = max(BLOCK_BYTES * num_jets // max(size, 1), 1)
        num_blocks = self._num_blocks(block * split.num_jets // num_jets, free)
        if self.blocks is not None and self.window_jets is None:
            block, num_blocks = self.blocks
        ranks = (self.rank, self.num_ranks)
        if mode == "parts":
            return PartOrder(num_jets, self.batch_size, *ranks, window_jets=block * num_blocks)
        return make_order(mode, num_jets, self.batch_size, self.seed, *ranks, block=block, num_blocks=num_blocks)

    def _num_blocks(self, block: int, free: int | None) -> int:
        """Blocks of a window."""
        if self.window_jets is not None:
            return max(self.window_jets // block, 1)
        return max(int((free or DEFAULT_MEMORY) * WINDOW_SHARE) // BLOCK_BYTES, MIN_BLOCKS)


FROM_FILES = "they are read from the files themselves"


def _explain(mode: Mode, split: Split, size: int, free: int | None) -> None:
    """Say which shuffle was chosen, and why."""
    what = "an exact shuffle of all jets in each epoch" if mode == "exact" else "an approximate shuffle"
    why = f"they take {in_words(size)}, and {in_words(free or 0)} of memory is free"
    info("data.shuffle: auto is %s, %s: %s", mode, what, why if split.is_random else FROM_FILES)
