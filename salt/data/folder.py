"""StoreFolder: a store on disk, mapped into memory whole, or read in parts.

Shapes: N jets of the store, n jets of a part, r rows of a stream, k columns of a matrix.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from salt.data.columns import Columns, ConstituentColumns, JetColumns, make_columns
from salt.data.manifest import Manifest, StoredStream
from salt.data.rawfile import RawFile
from salt.data.store import Store

Ranges = Sequence[tuple[int, int]]
"""(first jet, how many), rising, without overlaps."""


class StoreFolder:
    """A folder of raw arrays and a manifest. It stays readable where another store takes its place.

    Parameters
    ----------
    path : Path
        The folder.
    manifest : Manifest
        What it holds.
    labels : Mapping[str, Sequence[str]]
        Stream -> the labels that batches have.

    Raises
    ------
    OSError
        Where a file is missing, or cannot be read.
    """

    def __init__(self, path: Path, manifest: Manifest, labels: Mapping[str, Sequence[str]]) -> None:
        self.path = path
        self.manifest = manifest
        self.labels = labels
        self.num_jets = manifest.num_jets
        self.inputs = [name for name, stream in manifest.streams.items() if stream.record.inputs]
        self._files = {name: RawFile(path / name) for name in manifest.sizes()}

    @property
    def num_bytes(self) -> int:
        """Size of all arrays."""
        return sum(self.manifest.sizes().values())

    @property
    def is_whole(self) -> bool:
        """Whether all files are as long as they should be."""
        return all(self._files[name].size == size for name, size in self.manifest.sizes().items())

    def map(self) -> Store:
        """All jets, mapped: processes of one machine share the memory."""
        columns = {name: self._mapped(stream) for name, stream in self.manifest.streams.items()}
        return Store(columns, self.inputs, self.labels)

    def read(self, ranges: Ranges) -> Store:
        """These jets, in memory of the process."""
        columns = {name: self._part(stream, ranges) for name, stream in self.manifest.streams.items()}
        numbers = np.concatenate([np.arange(first, first + count) for first, count in ranges])
        return Store(columns, self.inputs, self.labels, numbers)

    def warm(self) -> None:
        """Read all arrays once from end to end: a disk is a hundred times faster so than jet by jet."""
        for file in self._files.values():
            file.warm()

    def column(self, stream: str, name: str) -> NDArray:
        """(r,) a label or other column of a stream, mapped."""
        return self._mapped(self.manifest.streams[stream]).column(name)

    def _mapped(self, stream: StoredStream) -> Columns:
        rows = self._files[stream.file].map(stream.record.dtype.str, (stream.rows,))
        if stream.offsets is None:
            return JetColumns(rows, stream.record)
        return ConstituentColumns(rows, stream.record, self._files[stream.offsets].map("<i8", (self.num_jets + 1,)))

    def _part(self, stream: StoredStream, ranges: Ranges) -> Columns:
        """Columns of these jets."""
        if stream.offsets is None:
            return make_columns(self._rows(stream, ranges), stream.record, None)
        parts = [self._offsets(stream.offsets, first, count) for first, count in ranges]
        rows = [(int(part[0]), int(part[-1] - part[0])) for part in parts]
        return make_columns(self._rows(stream, rows), stream.record, np.concatenate([np.diff(part) for part in parts]))

    def _rows(self, stream: StoredStream, rows: Ranges) -> NDArray:
        """These rows of a stream."""
        values = np.empty(sum(count for _, count in rows), stream.record.dtype)
        start = 0
        for first, count in rows:
            self._files[stream.file].fill(values[start : start + count], first)
            start += count
        return values

    def _offsets(self, name: str, first: int, count: int) -> NDArray:
        """(count + 1,) the offsets of these jets, and of the one after them."""
        offsets = np.empty(count + 1, "<i8")
        self._files[name].fill(offsets, first)
        return offsets
