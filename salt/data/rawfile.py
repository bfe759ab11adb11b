"""RawFile: a file of raw numbers that stays readable, whatever becomes of its name."""

from __future__ import annotations

import os
import weakref
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

READ_BYTES = 8 * 2**20
"""Disks give their best from pieces of this size on."""


class RawFile:
    """A file that is open: another store may take the place of its own while it is read.

    Parameters
    ----------
    path : Path
        The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self._descriptor)

    @property
    def size(self) -> int:
        """Bytes."""
        return os.fstat(self._descriptor).st_size

    def map(self, dtype: str, shape: tuple[int, ...]) -> NDArray:
        """All of it as a read-only array; a plain one, whose `take` is faster than np.memmap's."""
        if 0 in shape:
            return np.empty(shape, dtype)
        with os.fdopen(os.dup(self._descriptor), "rb") as file:
            return np.asarray(np.memmap(file, dtype, "r", shape=shape))

    def fill(self, values: NDArray, first: int) -> None:
        """Read the whole array (r, ...), whose first row is number `first` of the file."""
        left = values.reshape(-1).view(np.uint8).data
        place = first * (values.nbytes // len(values) if len(values) else 0)
        while left:
            done = os.preadv(self._descriptor, [left[: 2**30]], place)
            if not done:
                raise ValueError(f"{self.path} is shorter than its manifest says: remove the store, it is built again")
            left, place = left[done:], place + done

    def warm(self) -> None:
        """Read it once from end to end, so that it is in memory as long as there is room."""
        buffer = bytearray(READ_BYTES)
        place = 0
        while done := os.preadv(self._descriptor, [buffer], place):
            place += done
