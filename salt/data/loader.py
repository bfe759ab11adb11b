"""Loader: the batches of an epoch, gathered ahead by one thread, or by processes where they are asked for."""

from __future__ import annotations

import os
import queue
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from salt.data.death import die_with_parent
from salt.data.feeds import Feed, StoreFeed
from salt.types import Batch


class Failure(NamedTuple):
    """What went wrong in the thread, handed over to who asks for batches; None: nothing, the epoch has ended."""

    error: BaseException | None


class WaitMeter:
    """How long who asks for batches has waited for them, of all the time between the first batch and the last."""

    def __init__(self) -> None:
        self.waited = 0.0
        self.batches = 0
        self._began: float | None = None
        self._last = 0.0

    def next_of(self, batches: Iterator[Batch]) -> Batch:
        """The next batch, the time for which is counted; that for the first is the start of the epoch, not waiting."""
        asked = time.perf_counter()
        batch = next(batches)
        self._last = time.perf_counter()
        if self._began is None:
            self._began = self._last
        else:
            self.waited += self._last - asked
        self.batches += 1
        return batch

    @property
    def seconds(self) -> float:
        """Between the first batch and the last."""
        return 0.0 if self._began is None else self._last - self._began

    @property
    def share(self) -> float:
        """Part of that time spent waiting, 0 to 1."""
        return self.waited / self.seconds if self.seconds > 0 else 0.0


class Loader:
    """Batches of jets, epoch after epoch.

    Parameters
    ----------
    feed : Feed
        Where the batches come from.
    epoch : Callable[[], int]
        Number of the epoch, asked when the first batch of an iteration is.
    prefetch : int
        Batches that are gathered ahead; with processes, by each.
    pin_memory : bool
        Put batches into page-locked memory, from where they go to a GPU faster.
    """

    def __init__(self, feed: Feed, epoch: Callable[[], int], prefetch: int = 2, pin_memory: bool = False) -> None:
        self.feed = feed
        self.epoch = epoch
        self.prefetch = max(prefetch, 1)
        self.pin_memory = pin_memory
        self.meter = WaitMeter()
        self._start = (0, 0)

    num_workers = 0
    """Processes that gather batches."""

    def __len__(self) -> int:
        return len(self.feed)

    def seconds_alone(self) -> float:
        """Time that one batch takes, gathered here and now."""
        began, batches = time.perf_counter(), self.feed.batches(0)
        count = sum(1 for _ in islice(batches, 5))
        return (time.perf_counter() - began) / count

    def start_at(self, epoch: int, step: int) -> None:
        """Begin the next iteration at this step, if it is that of this epoch."""
        self._start = (epoch, step)

    def close(self) -> None:
        """End what stays from epoch to epoch."""

    def state_dict(self) -> dict[str, Any]:
        """Nothing: whoever trains counts the batches, and calls `start_at`; Lightning warns where this is missing."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Nothing."""

    def __iter__(self) -> Iterator[Batch]:
        return Metered(self._begin)

    def _begin(self) -> tuple[Iterator[Batch], WaitMeter, Callable[[], None]]:
        """Begin an iteration: its batches, what measures the waiting for them, and what ends it."""
        self.meter = WaitMeter()
        epoch, (start_epoch, start_step), self._start = self.epoch(), self._start, (0, 0)
        batches, end = self._batches(epoch, start_step if epoch == start_epoch else 0)
        return batches, self.meter, end

    def _batches(self, epoch: int, start_step: int) -> tuple[Iterator[Batch], Callable[[], None]]:
        """The batches of an epoch, some of them gathered before they are asked for, and what ends that."""
        batches = self.feed.batches(epoch, start_step)
        ahead = Prefetch(map(Batch.pin_memory, batches) if self.pin_memory else batches, self.prefetch)
        return ahead, ahead.close


class Metered(Iterator[Batch]):
    """Batches, for which the waiting is measured.

    They begin with the first that is asked for: a trainer makes its iterator before it has read where a resumed run
    goes on.

    Parameters
    ----------
    begin : Callable[[], tuple[Iterator[Batch], WaitMeter, Callable[[], None]]]
        Gives the batches, what measures, and what ends the gathering.
    """

    def __init__(self, begin: Callable[[], tuple[Iterator[Batch], WaitMeter, Callable[[], None]]]) -> None:
        self._begin = begin
        self._begun: tuple[Iterator[Batch], WaitMeter, Callable[[], None]] | None = None

    def __next__(self) -> Batch:
        if self._begun is None:
            self._begun = self._begin()
        batches, meter, _ = self._begun
        return meter.next_of(batches)

    def close(self) -> None:
        """There are no more batches: end what gathers them."""
        if self._begun is None:
            self._begun = iter(()), WaitMeter(), _nothing
        self._begun[2]()


class Prefetch(Iterator[Batch]):
    """One epoch's batches; its thread ends with the epoch, with an error, or with this object.

    Parameters
    ----------
    batches : Iterator[Batch]
        What gathers them; it runs in the thread.
    size : int
        Batches that may wait, gathered.
    """

    def __init__(self, batches: Iterator[Batch], size: int) -> None:
        self._ready: queue.Queue[Batch | Failure] = queue.Queue(size)
        stop = threading.Event()
        # The thread must not hold this object, or it would never be collected.
        thread = threading.Thread(target=_work, args=(batches, self._ready, stop), name="salt-prefetch", daemon=True)
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


def _work(batches: Iterator[Batch], ready: queue.Queue[Batch | Failure], stop: threading.Event) -> None:
    """Gather batches until there are no more, or until told to stop."""
    error: BaseException | None = None
    try:
        for batch in batches:
            if stop.is_set():
                return
            ready.put(batch)
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


class Work(NamedTuple):
    """What a process is to gather: the positions (B,) of a batch, in an epoch."""

    positions: Tensor
    epoch: int


class Batches(Dataset[Batch]):
    """What the processes have in common: each gathers the batch that it is told to.

    Parameters
    ----------
    feed : StoreFeed
        Where the jets are; processes share the memory of a mapped store.
    """

    def __init__(self, feed: StoreFeed) -> None:
        self.feed = feed

    def __getitem__(self, work: Work) -> Batch:
        return self.feed.batch(work.positions, work.epoch)


class Steps:
    """What the processes are told to gather, one epoch after the other.

    Parameters
    ----------
    feed : StoreFeed
        Whose order is followed.
    """

    def __init__(self, feed: StoreFeed) -> None:
        self.feed = feed
        self.epoch = 0
        self.start_step = 0

    def __len__(self) -> int:
        return len(self.feed)

    def __iter__(self) -> Iterator[Work]:
        epoch = self.epoch
        for positions in self.feed.order.batches(epoch, self.start_step):
            yield Work(positions, epoch)


class WorkerLoader(Loader):
    """Batches gathered by processes, which end with this one, however it ends.

    Parameters
    ----------
    feed, epoch, prefetch, pin_memory
        As those of `Loader`.
    num_workers : int
        How many processes.
    persistent : bool
        Keep them from epoch to epoch.
    context : str | None
        How they are started: fork, spawn or forkserver; None for the system's own way.
    """

    def __init__(
        self,
        feed: StoreFeed,
        epoch: Callable[[], int],
        prefetch: int,
        pin_memory: bool,
        num_workers: int,
        persistent: bool = True,
        context: str | None = None,
    ) -> None:
        super().__init__(feed, epoch, prefetch, pin_memory)
        self.num_workers = num_workers
        self._steps = Steps(feed)
        self._processes: DataLoader[Batch] = DataLoader(
            Batches(feed),
            batch_size=None,
            sampler=self._steps,
            num_workers=num_workers,
            collate_fn=_same,  # type: ignore[arg-type]
            pin_memory=pin_memory,
            prefetch_factor=self.prefetch,
            persistent_workers=persistent,
            multiprocessing_context=context,
            worker_init_fn=partial(_start, parent=os.getpid()),
            generator=torch.Generator(),  # or each epoch would draw from that of the model's dropout
        )

    def _batches(self, epoch: int, start_step: int) -> tuple[Iterator[Batch], Callable[[], None]]:
        self._steps.epoch, self._steps.start_step = epoch, start_step
        return iter(self._processes), _nothing

    def close(self) -> None:
        """End the processes; collected as garbage, their queues go first, and each is waited for in vain for 5 s."""
        self._processes._iterator = None


def _nothing() -> None:
    """The processes end with their DataLoader."""


def _same(batch: Batch) -> Batch:
    return batch


def _start(worker: int, parent: int) -> None:
    """First thing in a process."""
    die_with_parent(parent)
    torch.set_num_threads(1)
