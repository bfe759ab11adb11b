"""Splits: the jets to train, validate or test with, ready to be gathered.

Shapes: N jets of a split, r rows of a stream.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from salt.data.columns import Columns, make_columns
from salt.data.folder import Ranges, StoreFolder
from salt.data.reader import Reader, StreamBlock, StreamReader
from salt.data.store import Store

Labels = Mapping[str, Sequence[str]]
"""Stream -> the labels that batches have."""


class Split(ABC):
    """Jets of a sample, the first ones of it.

    Parameters
    ----------
    num_jets : int
        N.
    """

    is_random: bool = True
    """Whether any jet can be taken quickly."""

    def __init__(self, num_jets: int) -> None:
        self.num_jets = num_jets

    @property
    @abstractmethod
    def num_bytes(self) -> int:
        """Memory that all jets would take; for files of which it is not known, an estimate."""

    @abstractmethod
    def load(self) -> Store:
        """All jets, any of which can be taken."""

    @abstractmethod
    def read(self, ranges: Ranges) -> Store:
        """The jets of these (first, count), rising and without overlaps, in memory of the process."""

    @abstractmethod
    def column(self, stream: str, name: str) -> NDArray:
        """(r,) a label or other column of a stream."""

    @abstractmethod
    def ranges(self, stream: str) -> dict[str, tuple[int, int]]:
        """Smallest and largest value of each label of a stream that is an integer, where that is known."""

    def close(self) -> None:  # noqa: B027 (most have nothing to let go of)
        """Let go of files."""


class StoredSplit(Split):
    """Jets of a store on disk.

    Parameters
    ----------
    folder : StoreFolder
        The store.
    num_jets : int
        N, at most as many as the store has.
    """

    def __init__(self, folder: StoreFolder, num_jets: int) -> None:
        super().__init__(num_jets)
        self.folder = folder

    @property
    def num_bytes(self) -> int:
        """Size of the store, of which only a part may be used."""
        return self.folder.num_bytes * self.num_jets // self.folder.num_jets

    def load(self) -> Store:
        """All jets, mapped."""
        self.folder.warm()
        return self.folder.map()

    def read(self, ranges: Ranges) -> Store:
        """These jets, in memory of the process."""
        return self.folder.read(ranges)

    def column(self, stream: str, name: str) -> NDArray:
        """(r,) a label or other column of a stream, mapped."""
        return self.folder.column(stream, name)[: self.num_jets]

    def ranges(self, stream: str) -> dict[str, tuple[int, int]]:
        """As the store's manifest says."""
        return self.folder.manifest.streams[stream].ranges


class FileSplit(Split):
    """Jets of the files themselves, which stay open.

    Parameters
    ----------
    reader : Reader
        Reads them.
    num_jets : int
        N.
    labels : Labels
        Stream -> the labels that batches have.
    """

    is_random = False

    def __init__(self, reader: Reader, num_jets: int, labels: Labels) -> None:
        super().__init__(num_jets)
        self.reader = reader
        self.labels = labels
        self.inputs = [name for name, stream in reader.streams.items() if stream.recipe.variables]

    @property
    def num_bytes(self) -> int:
        """Judged by the first jets."""
        count = min(self.num_jets, 1000)
        return self.read([(0, count)]).num_bytes * self.num_jets // count

    def load(self) -> Store:
        """All jets, in memory."""
        store = self.read([(0, self.num_jets)])
        store.numbers = None
        return store

    def read(self, ranges: Ranges) -> Store:
        """These jets, in memory of the process."""
        blocks = [block for first, count in ranges for _, block in self.reader.blocks(first, count)]
        columns = {
            name: _columns(stream, [block.pop(name) for block in blocks])
            for name, stream in self.reader.streams.items()
        }
        numbers = np.concatenate([np.arange(first, first + count) for first, count in ranges])
        return Store(columns, self.inputs, self.labels, numbers)

    def column(self, stream: str, name: str) -> NDArray:
        """(r,) a label or other column of a stream."""
        of = self.reader.streams[stream]
        record = of.record()
        return np.concatenate(
            [record.column(of.pack(blocks[stream], record), name) for _, blocks in self.reader.blocks(0, self.num_jets)]
        )

    def ranges(self, stream: str) -> dict[str, tuple[int, int]]:
        """Nothing is known before the files are read."""
        return {}

    def close(self) -> None:
        """Close the files."""
        self.reader.sample.close()


class MemorySplit(Split):
    """Jets that were read into memory at once.

    Parameters
    ----------
    source : FileSplit
        Where they are read from; it may be closed afterwards.
    """

    def __init__(self, source: FileSplit) -> None:
        super().__init__(source.num_jets)
        self.store = source.load()

    @property
    def num_bytes(self) -> int:
        """Memory that all jets take."""
        return self.store.num_bytes

    def load(self) -> Store:
        """All jets."""
        return self.store

    def read(self, ranges: Ranges) -> Store:
        """All jets: they are in memory already."""
        return self.store

    def column(self, stream: str, name: str) -> NDArray:
        """(r,) a label or other column of a stream."""
        return self.store.columns[stream].column(name)

    def ranges(self, stream: str) -> dict[str, tuple[int, int]]:
        """Looked up."""
        columns = self.store.columns[stream]
        groups = [group for group in columns.record.labels if np.dtype(group.dtype).kind in "iu" and len(columns.rows)]
        found = {name: columns.column(name) for group in groups for name in group.names}
        return {name: (int(column.min()), int(column.max())) for name, column in found.items()}


def _columns(stream: StreamReader, blocks: Sequence[StreamBlock]) -> Columns:
    """Columns of all rows of these blocks."""
    record = stream.record()
    rows = np.concatenate([stream.pack(block, record) for block in blocks])
    return make_columns(rows, record, np.concatenate([b.lengths for b in blocks]) if stream.is_ragged else None)
