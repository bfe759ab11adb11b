"""The half of the loading benchmark that both sides share: open loaders, run epochs, write down what they held.

Run by two interpreters, ours and the peer's, so it imports neither's `salt`.

Shapes: N jets of the file, B jets of a batch.
"""

from __future__ import annotations

import gc
import os
import resource
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor
from worker import answer_requests


class Padded(NamedTuple):
    """A batch as upstream's loader gives it.

    Constituents are (B, 40, ...). Slots without one have inputs of 0, and labels that are whatever the file has there.
    """

    inputs: dict[str, Tensor]
    masks: dict[str, Tensor]
    labels: dict[str, dict[str, Tensor]]

    def tensors(self) -> dict[str, Tensor]:
        """All of them, by a name that tells where they are."""
        labels = {f"labels.{stream}.{name}": x for stream, of in self.labels.items() for name, x in of.items()}
        inputs = {f"inputs.{stream}": x for stream, x in self.inputs.items()}
        return {**inputs, **{f"mask.{stream}": x for stream, x in self.masks.items()}, **labels}


class Opened(NamedTuple):
    """A loader, and how to use up its batches."""

    batches: Iterable[Any]
    consume: Callable[[Any], tuple[int, Iterable[Tensor]]]
    """Batch -> number of its jets, and its tensors."""


class Side(ABC):
    """One of the packages."""

    def __init__(self) -> None:
        self._opened: dict[str, Opened] = {}

    @abstractmethod
    def prepare(self) -> None:
        """What is done before the clock of a first epoch starts: importing, and what a trainer does."""

    @abstractmethod
    def open(self, setting: dict[str, Any]) -> Opened:
        """Make the training loader, from nothing."""

    @abstractmethod
    def padded(self, setting: dict[str, Any]) -> Iterable[tuple[np.ndarray, Padded]]:
        """Numbers (B,) in the file and padded batch of all jets, in any order."""

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do what is asked.

        `first` opens a loader under a name and runs its first epoch, `epoch` runs another, `close` forgets it; `arrays`
        writes all padded batches down.
        """
        if request["do"] == "first":
            return self._first(request["name"], request["setting"])
        if request["do"] == "epoch":
            opened = self._opened[request["name"]]
            return timed(lambda: opened)
        if request["do"] == "close":
            del self._opened[request["name"]]
            gc.collect()
            return {}
        return write_arrays(self.padded(request["setting"]), Path(request["folder"]), request["jets"])

    def _first(self, name: str, setting: dict[str, Any]) -> dict[str, Any]:
        self.prepare()

        def opened() -> Opened:
            self._opened[name] = self.open(setting)
            return self._opened[name]

        return timed(opened)


def serve(side: Side, facts: dict[str, str]) -> None:
    """Answer requests from standard input until it closes."""
    answer_requests(side.answer, facts)


def timed(opened: Callable[[], Opened]) -> dict[str, Any]:
    """One epoch's wall and CPU seconds, jets, and the number of tensors of a batch.

    Each tensor is looked at, so that nobody gains by handing over promises.
    """
    gc.collect()
    wall, cpu = time.perf_counter(), cpu_seconds()
    loader = opened()
    jets, seen, held = 0, 0.0, 0
    for batch in loader.batches:
        count, tensors = loader.consume(batch)
        jets += count
        held = 0
        for tensor in tensors:
            held += 1
            if tensor.numel():
                seen += tensor.reshape(-1)[-1].item()
    return {"wall": time.perf_counter() - wall, "cpu": cpu_seconds() - cpu, "jets": jets, "tensors": held, "seen": seen}


def cpu_seconds() -> float:
    """CPU seconds of this process and of its children, ended ones and living ones."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    ticks = 0
    for task in Path("/proc/self/task").iterdir():
        for child in (task / "children").read_text().split():
            try:
                # behind the name, which may hold spaces: state is the first, user and system time the 12th and 13th
                ticks += sum(map(int, Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[11:13]))
            except FileNotFoundError:  # it has ended since
                continue
    return time.process_time() + ended.ru_utime + ended.ru_stime + ticks / os.sysconf("SC_CLK_TCK")


def write_arrays(batches: Iterable[tuple[np.ndarray, Padded]], folder: Path, jets: int) -> dict[str, Any]:
    """Write the batches' jets into one array a tensor, each at its place in the file.

    Returns
    -------
    dict[str, Any]
        `arrays`: name -> path of the npy file (N, ...); `least` and `most`: how often a jet came.
    """
    arrays: dict[str, np.ndarray] = {}
    times = np.zeros(jets, np.int64)
    for index, batch in batches:
        np.add.at(times, index, 1)
        for name, tensor in batch.tensors().items():
            values = tensor.numpy()
            if name not in arrays:
                path = folder / f"{name}.npy"
                arrays[name] = np.lib.format.open_memmap(path, "w+", values.dtype, (jets, *values.shape[1:]))
            arrays[name][index] = values
    paths = {name: str(folder / f"{name}.npy") for name in arrays}
    return {"arrays": paths, "least": int(times.min()), "most": int(times.max())}
