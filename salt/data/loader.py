"""Loader: the batches of an epoch, gathered ahead by one thread."""

from __future__ import annotations

import queue
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import NamedTuple

from torch import Tensor

from salt.data.order import EpochOrder
from salt.data.store import Store
from salt.types import Batch


class Failure(NamedTuple):
    """What went wrong in the thread, handed over to who asks for batches; None: nothing, the epoch has ended."""

    error: BaseException | None


class Loader:
    """Batches of jets, epoch after epoch.

    Parameters
    ----------
    store : Store
        Where the jets are.
    order : EpochOrder
        Which of them make each batch.
    epoch : Callable[[], int]
        Number of the epoch, asked at the start of each iteration.
    prefetch : int
        Batches that are gathered ahead.
    """

    def __init__(self, store: Store, order: EpochOrder, epoch: Callable[[], int], prefetch: int = 2) -> None:
        self.store = store
        self.order = order
        self.epoch = epoch
        self.prefetch = max(prefetch, 1)

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[Batch]:
        return Prefetch(self.store.gather, self.order.batches(self.epoch()), self.prefetch)


class Prefetch(Iterator[Batch]):
    """One epoch's batches; its thread ends with the epoch, with an error, or with this object.

    Parameters
    ----------
    gather : Callable[[Tensor], Batch]
        Makes a batch of the jets' numbers.
    indices : Iterator[Tensor]
        The jets' numbers of each batch.
    size : int
        Batches that may wait, gathered.
    """

    def __init__(self, gather: Callable[[Tensor], Batch], indices: Iterator[Tensor], size: int) -> None:
        self._ready: queue.Queue[Batch | Failure] = queue.Queue(size)
        stop = threading.Event()
        # The thread must not hold this object, or it would never be collected.
        thread = threading.Thread(
            target=_work, args=(gather, indices, self._ready, stop), name="salt-prefetch", daemon=True
        )
        self._close = weakref.finalize(self, _end, thread, self._ready, stop)
        thread.start()

    def __next__(self) -> Batch:
        if not self._close.alive:
            raise StopIteration
        item = self._ready.get()
        if isinstance(item, Failure):
            self.close()
            raise StopIteration if item.error is None else item.error
        return item

    def close(self) -> None:
        """End the thread now; there are no more batches."""
        self._close()


def _work(
    gather: Callable[[Tensor], Batch],
    indices: Iterator[Tensor],
    ready: queue.Queue[Batch | Failure],
    stop: threading.Event,
) -> None:
    """Gather batches until there are no more, or until told to stop."""
    error: BaseException | None = None
    try:
        for index in indices:
            if stop.is_set():
                return
            ready.put(gather(index))
    except BaseException as caught:  # raised again where batches are asked for
        error = caught
    ready.put(Failure(error))


def _end(thread: threading.Thread, ready: queue.Queue[Batch | Failure], stop: threading.Event) -> None:
    """Tell the thread to stop, make room for the batch that it may be waiting to hand over, and see it end."""
    stop.set()
    while thread.is_alive():
        while not ready.empty():
            ready.get_nowait()
        if thread is threading.current_thread():  # the garbage collector may call from anywhere
            return
        thread.join(timeout=0.01)
