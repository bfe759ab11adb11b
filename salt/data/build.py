"""StoreWriter: writes the columns of a sample as a store, block by block.

Shapes: N jets, r rows of a stream, k columns of a matrix.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from salt.data.manifest import StoredMatrix, StoredStream
from salt.data.reader import Plan, StreamBlock, StreamReader

PIECE_ROWS = 2**18
"""Rows of a matrix that are narrowed at once."""

INTEGERS = [np.dtype(name) for name in ("i1", "u1", "i2", "i4", "i8")]
"""Types that integers are narrowed to; torch knows all of them."""


class Bounds(NamedTuple):
    """Smallest and largest value of each column of a matrix of integers, (k,) each."""

    low: NDArray
    high: NDArray

    @classmethod
    def of(cls, values: NDArray) -> Bounds:
        """Those of a matrix (r, k), r at least 1."""
        return cls(values.min(axis=0), values.max(axis=0))

    def joined(self, other: Bounds) -> Bounds:
        """Those of both matrices together."""
        return Bounds(np.minimum(self.low, other.low), np.maximum(self.high, other.high))


class MatrixWriter:
    """Writes one matrix.

    Parameters
    ----------
    folder : Path
        Where.
    name : str
        Start of the file's name.
    plan : Plan
        Its columns, and the type in which they come.
    """

    def __init__(self, folder: Path, name: str, plan: Plan) -> None:
        self.folder = folder
        self.name = name
        self.plan = plan
        self.bounds: Bounds | None = None
        self.path = folder / f"{name}.{plan.dtype.str[1:]}"
        self._file: BinaryIO = self.path.open("wb")

    def append(self, values: NDArray) -> None:
        """Add rows (r, k)."""
        write(self._file, values)
        if self.plan.dtype.kind in "iu" and len(values):
            bounds = Bounds.of(values)
            self.bounds = self.bounds.joined(bounds) if self.bounds else bounds

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def ranges(self) -> dict[str, tuple[int, int]]:
        """Smallest and largest value of each column that is an integer."""
        if self.bounds is None:
            return {}
        low, high = (bound.tolist() for bound in self.bounds)
        return dict(zip(self.plan.names, zip(low, high, strict=True), strict=True))

    def finish(self) -> list[StoredMatrix]:
        """Close the file, and narrow integers as far as no value changes; what there is in the end."""
        self.close()
        groups = self._narrowed()
        if list(groups) == [self.plan.dtype]:
            return [StoredMatrix(self.path.name, self.plan.dtype.str, self.plan.names)]
        wide = self.path.rename(self.path.with_name(f"{self.path.name}.wide"))
        stored = [self._rewrite(wide, dtype, columns) for dtype, columns in groups.items()]
        wide.unlink()
        return stored

    def _narrowed(self) -> dict[np.dtype, list[int]]:
        """Type -> the columns that fit it best."""
        groups: dict[np.dtype, list[int]] = {}
        for column in range(len(self.plan.names)):
            dtype = self.plan.dtype
            if self.bounds is not None:
                low, high = int(self.bounds.low[column]), int(self.bounds.high[column])
                dtype = next((d for d in INTEGERS if np.iinfo(d).min <= low and high <= np.iinfo(d).max), dtype)
                dtype = min(self.plan.dtype, dtype, key=lambda d: d.itemsize)
            groups.setdefault(dtype, []).append(column)
        return groups

    def _rewrite(self, wide: Path, dtype: np.dtype, columns: Sequence[int]) -> StoredMatrix:
        """Write some columns as another type."""
        path = self.folder / f"{self.name}.{dtype.str[1:]}"
        with wide.open("rb") as source, path.open("wb") as target:
            for piece in _pieces(source, self.plan):
                write(target, piece[:, columns].astype(dtype))
        return StoredMatrix(path.name, dtype.str, tuple(self.plan.names[column] for column in columns))


def write(file: BinaryIO, values: NDArray) -> None:
    """Write an array; `ndarray.tofile` would not say why it could not."""
    file.write(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data)


def _pieces(file: BinaryIO, plan: Plan) -> Iterator[NDArray]:
    """Rows of a matrix on disk, some at a time."""
    while len(values := np.fromfile(file, plan.dtype, PIECE_ROWS * len(plan.names))):
        yield values.reshape(-1, len(plan.names))


class StreamWriter:
    """Writes the matrices and offsets of one stream.

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
        self.folder = folder
        self.name = name
        self.reader = reader
        self.inputs = [MatrixWriter(folder, f"{name}.inputs{i}", plan) for i, plan in enumerate(reader.inputs)]
        self.labels = [MatrixWriter(folder, f"{name}.labels{i}", plan) for i, plan in enumerate(reader.labels)]
        self.rows = 0
        self._lengths: list[NDArray] = []

    def append(self, block: StreamBlock) -> None:
        """Add the rows of a block."""
        for writers, matrices in ((self.inputs, block.inputs), (self.labels, block.labels)):
            for writer, values in zip(writers, matrices, strict=True):
                writer.append(values)
        self._lengths.append(block.lengths.astype(np.int32))
        self.rows += int(block.lengths.sum())

    def close(self) -> None:
        """Close all files."""
        for writer in (*self.inputs, *self.labels):
            writer.close()

    def finish(self) -> StoredStream:
        """Close all files; what there is in the end."""
        inputs = [matrix for writer in self.inputs for matrix in writer.finish()]
        labels = [matrix for writer in self.labels for matrix in writer.finish()]
        ranges = {name: bounds for writer in self.labels for name, bounds in writer.ranges.items()}
        offsets = self._write_offsets() if self.reader.is_ragged else None
        return StoredStream(
            tuple(self.reader.recipe.variables), self.rows, tuple(inputs), tuple(labels), offsets, ranges
        )

    def _write_offsets(self) -> str:
        path = self.folder / f"{self.name}.offsets"
        lengths = np.concatenate(self._lengths)
        with path.open("wb") as file:
            write(file, np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype("<i8"))
        return path.name


class StoreWriter:
    """Writes the arrays of a store into a folder that is there and empty.

    Parameters
    ----------
    folder : Path
        Where.
    streams : dict[str, StreamReader]
        Stream -> what will come.
    """

    def __init__(self, folder: Path, streams: dict[str, StreamReader]) -> None:
        self.streams = {
            name: StreamWriter(folder, f"{i}.{''.join(c if c.isalnum() else '_' for c in name)}", reader)
            for i, (name, reader) in enumerate(streams.items())
        }

    def append(self, blocks: dict[str, StreamBlock]) -> None:
        """Add the jets of a block."""
        for name, block in blocks.items():
            self.streams[name].append(block)

    def close(self) -> None:
        """Close all files, as they are."""
        for stream in self.streams.values():
            stream.close()

    def finish(self) -> dict[str, StoredStream]:
        """Close all files; what there is in the end."""
        return {name: stream.finish() for name, stream in self.streams.items()}
