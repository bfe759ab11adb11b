"""StoreWriter: writes the rows of a sample as a store, block by block.

Shapes: N jets, r rows of a stream, k columns of a matrix.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from salt.data.manifest import StoredStream
from salt.data.reader import Plan, StreamBlock, StreamReader
from salt.data.record import Record

PIECE_ROWS = 2**16
"""Rows that are widened at once."""

INTEGERS = [np.dtype(name) for name in ("i1", "u1", "i2", "i4", "i8")]
"""Types that integers are narrowed to; torch knows all of them."""


class Bounds:
    """Smallest and largest value of each column of a stream's inputs, or labels, that holds integers.

    Parameters
    ----------
    plans : Sequence[Plan]
        The matrices that will be looked at.
    """

    def __init__(self, plans: Sequence[Plan]) -> None:
        self.plans = plans
        self.ranges: dict[str, tuple[int, int]] = {}

    def widen(self, matrices: Sequence[NDArray]) -> None:
        """Look at these matrices (r, k), too."""
        for plan, matrix in zip(self.plans, matrices, strict=True):
            if plan.dtype.kind in "iu" and len(matrix):
                for name, low, high in zip(plan.names, matrix.min(0).tolist(), matrix.max(0).tolist(), strict=True):
                    old = self.ranges.get(name, (low, high))
                    self.ranges[name] = (min(low, old[0]), max(high, old[1]))

    def types(self) -> dict[str, np.dtype]:
        """Column -> the type that it fits best: that which it has, or a narrower one."""
        return {name: self._type(name, plan.dtype) for plan in self.plans for name in plan.names}

    def _type(self, name: str, dtype: np.dtype) -> np.dtype:
        if name not in self.ranges:
            return dtype
        low, high = self.ranges[name]
        best = next((d for d in INTEGERS if np.iinfo(d).min <= low and high <= np.iinfo(d).max), dtype)
        return min(dtype, best, key=lambda each: each.itemsize)


class StreamWriter:
    """Writes the rows and offsets of one stream. Integers are as narrow as all that came allow.

    Parameters
    ----------
    folder : Path
        Where.
    name : str
        Start of the files' names.
    reader : StreamReader
        What will come.
    """

    def __init__(self, folder: Path, name: str, reader: StreamReader) -> None:
        self.path = folder / f"{name}.rows"
        self.offsets = folder / f"{name}.offsets"
        self.reader = reader
        self.rows = 0
        self.inputs, self.labels = Bounds(reader.inputs), Bounds(reader.labels)
        self.record = self._record()
        self._lengths: list[NDArray] = [np.empty(0, np.int32)]
        self._file: BinaryIO = self.path.open("wb")

    def append(self, block: StreamBlock) -> None:
        """Add the rows of a block."""
        self.inputs.widen(block.inputs)
        self.labels.widen(block.labels)
        record = self._record()
        if record != self.record:
            self._rewrite(record)
        write(self._file, self.reader.pack(block, record))
        self._lengths.append(block.lengths.astype(np.int32))
        self.rows += int(block.lengths.sum())

    def _record(self) -> Record:
        inputs, labels = self.inputs.types(), self.labels.types()
        return self.reader.record(inputs, labels)

    def _rewrite(self, record: Record) -> None:
        """Write what there is anew, as a wider record: values came that do not fit. A column widens 3 times at most."""
        old, self.record = self.record, record
        self._file.close()
        narrow = self.path.rename(self.path.with_name(f"{self.path.name}.narrow"))
        self._file = self.path.open("wb")
        with narrow.open("rb") as source:
            while len(rows := np.fromfile(source, old.dtype, PIECE_ROWS)):
                write(self._file, old.rows_as(record, rows))
        narrow.unlink()

    def close(self) -> None:
        """Close the file, as it is."""
        self._file.close()

    def finish(self) -> StoredStream:
        """Close the file; what there is in the end."""
        self._file.close()
        if self.reader.is_ragged:
            with self.offsets.open("wb") as file:
                write(file, np.concatenate([[0], np.cumsum(np.concatenate(self._lengths), dtype=np.int64)]))
        offsets = self.offsets.name if self.reader.is_ragged else None
        return StoredStream(self.path.name, self.rows, self.record, offsets, self.labels.ranges)


def write(file: BinaryIO, values: NDArray) -> None:
    """Write an array; `ndarray.tofile` would not say why it could not."""
    if values.size:
        file.write(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data)


class StoreWriter:
    """Writes the arrays of a store into a folder that is there and empty.

    Parameters
    ----------
    folder : Path
        Where.
    streams : Mapping[str, StreamReader]
        Stream -> what will come.
    """

    def __init__(self, folder: Path, streams: Mapping[str, StreamReader]) -> None:
        self.streams = {
            name: StreamWriter(folder, f"{i}.{''.join(c if c.isalnum() else '_' for c in name)}", reader)
            for i, (name, reader) in enumerate(streams.items())
        }

    def append(self, blocks: Mapping[str, StreamBlock]) -> None:
        """Add the jets of a block."""
        for name, block in blocks.items():
            self.streams[name].append(block)

    def close(self) -> None:
        """Close all files, as they are, also where some cannot write their rest on a full disk."""
        with ExitStack() as stack:
            for stream in self.streams.values():
                stack.callback(stream.close)

    def finish(self) -> dict[str, StoredStream]:
        """Close all files; what there is in the end."""
        return {name: stream.finish() for name, stream in self.streams.items()}
