"""Feeds: where the batches of an epoch come from: a store that any jet can be taken from, or parts read in turn.

Shapes: N jets of the store, M jets chosen of them, B jets of a batch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Protocol

from numpy.typing import NDArray
from torch import Tensor

from salt.data.augment import Augmentation
from salt.data.order import Order
from salt.data.store import Store
from salt.data.windows import Window
from salt.types import Batch

TOGETHER = 4000
"""Jets that are gathered at once, for several small batches: what each call costs is shared."""


class Parts(Protocol):
    """Jets that are read in parts: a store on disk, or the files themselves."""

    def read(self, ranges: Sequence[tuple[int, int]]) -> Store:
        """The jets of these (first, count), rising and without overlaps, in memory."""


class Feed(ABC):
    """The batches of each epoch.

    Parameters
    ----------
    order : Order
        Which positions make each batch.
    chosen : NDArray | None
        (M,) the jets of the store, rising, that the positions stand for; None for all.
    augmentation : Augmentation
        What is done to the jets of a batch, new in each epoch.
    """

    def __init__(self, order: Order, chosen: NDArray | None, augmentation: Augmentation) -> None:
        self.order = order
        self.chosen = chosen
        self.augmentation = augmentation

    def __len__(self) -> int:
        return len(self.order)

    @abstractmethod
    def batches(self, epoch: int, start_step: int = 0) -> Iterator[Batch]:
        """Those of an epoch, from `start_step` on."""

    def jets(self, positions: Tensor) -> NDArray:
        """(B,) the jets that these positions (B,) stand for."""
        return positions.numpy() if self.chosen is None else self.chosen[positions.numpy()]

    def _ranges(self, window: Window) -> list[tuple[int, int]]:
        """(first, count) of the jets of a window."""
        if self.chosen is None:
            return window.ranges
        ends = [(int(self.chosen[first]), int(self.chosen[first + count - 1])) for first, count in window.ranges]
        return [(first, last - first + 1) for first, last in ends]


class StoreFeed(Feed):
    """Batches gathered from a store in memory, or mapped.

    Parameters
    ----------
    store : Store
        Where the jets are.
    order, chosen, augmentation
        As those of `Feed`.
    """

    def __init__(self, store: Store, order: Order, chosen: NDArray | None, augmentation: Augmentation) -> None:
        super().__init__(order, chosen, augmentation)
        self.store = store

    def batches(self, epoch: int, start_step: int = 0) -> Iterator[Batch]:
        """Those of an epoch, from `start_step` on."""
        batches = self.order.batches(epoch, start_step)
        while together := list(islice(batches, max(TOGETHER // self.order.global_batch_size, 1))):
            for batch in self.store.gather_all([self.jets(positions) for positions in together]):
                yield self.augmentation(batch, epoch)

    def batch(self, positions: Tensor, epoch: int) -> Batch:
        """The batch of these positions (B,)."""
        return self.augmentation(self.store.gather(self.jets(positions)), epoch)


class PartsFeed(Feed):
    """Batches gathered from parts that are read one after the other, the next one while this one serves.

    Parameters
    ----------
    parts : Parts
        What reads them.
    order, chosen, augmentation
        As those of `Feed`.
    """

    def __init__(self, parts: Parts, order: Order, chosen: NDArray | None, augmentation: Augmentation) -> None:
        super().__init__(order, chosen, augmentation)
        self.parts = parts

    def batches(self, epoch: int, start_step: int = 0) -> Iterator[Batch]:
        """Those of an epoch, from `start_step` on."""
        windows = self.order.windows(epoch, start_step)
        stores: list[Store] = []
        with ThreadPoolExecutor(1, "salt-read") as ahead:
            upcoming = self._read_next(windows, ahead)
            while upcoming is not None:
                window, reading = upcoming
                carried = self.jets(window.carried)
                stores = [store for store in stores if store.has(carried).any()]
                stores.append(reading.result())
                upcoming = self._read_next(windows, ahead)
                for positions in window.batches:
                    yield self.augmentation(_gather(stores, self.jets(positions)), epoch)
                    stores = stores[-1:]  # what was carried is in the first batch, all of it

    def _read_next(self, windows: Iterator[Window], ahead: ThreadPoolExecutor) -> tuple[Window, Future[Store]] | None:
        """The next window, and its jets, which are being read; None where the epoch ends."""
        window = next(windows, None)
        return None if window is None else (window, ahead.submit(self.parts.read, self._ranges(window)))


def _gather(stores: Sequence[Store], jets: NDArray) -> Batch:
    """The batch of these jets (B,), each of which is in one of the stores."""
    found = [jets[store.has(jets)] for store in stores]
    batches = [store.gather(part) for store, part in zip(stores, found, strict=True) if len(part)]
    return batches[0] if len(batches) == 1 else Batch.joined(batches)
