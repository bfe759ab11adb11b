"""EvaluationFile: the fields of a test file and the predictions for them, written as batches come.

Shapes: N jets of the file, n of a batch, L slots for constituents, t constituents of a batch.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from salt.data.reader import Reader
from salt.data.sources import Sample
from salt.data.tables import Table
from salt.ragged import Segments

TESTED = "tested"
"""Attribute of a file: the fingerprint of what was tested."""

PREDICTED = "predicted"
"""Attribute of a dataset: its columns that are predictions; all others are copies."""

CHUNK_BYTES = 2**20
CACHE_BYTES = 32 * 2**20
JOINED_BYTES = 64 * 2**20
"""Of a part that another rank has written, so much is in memory at once."""


class Column(NamedTuple):
    """Predictions for the jets of a batch, in its order."""

    values: np.ndarray
    """(n,) for jets, (t,) for constituents."""
    padding: float
    """What slots without a constituent get."""


def unfinished(path: Path, part: str) -> Path:
    """Name that a file, or a part of it, has before it is whole."""
    return path.with_name(f".{path.name}.{part}.tmp")


class EvaluationFile:
    """HDF5 file that any HDF5 reads: gzip and shuffle are part of each. It has its name only once it is whole.

    Of several ranks each writes a part, and the first one joins them: it appends those of the others to its own.

    Parameters
    ----------
    path : Path
        The file to write; one that is there is replaced.
    reader : Reader
        Reads what was tested.
    part : str | None
        End of the name that the file has before it is whole, an own one for each rank; None for that of this process.
    """

    def __init__(self, path: Path, reader: Reader, part: str | None = None) -> None:
        self.path = path
        self.reader = reader
        self.num_jets = 0
        self._done: dict[str, int] = {}  # dataset -> the last jet that was written
        self._index = np.empty(0, np.int64)  # the jets of the latest batch
        self._records: dict[str, np.ndarray] = {}  # dataset of the source -> its records of these jets
        self._unfinished = unfinished(path, part or str(os.getpid()))
        self._file = h5py.File(self._unfinished, "w", rdcc_nbytes=CACHE_BYTES)
        self._file.attrs["writer_version"] = f"salt {version('salt-hep')}"

    def note_tested(self, num_jets: int) -> None:
        """Note what is tested: the first jets of the files, whether they are in a fold or not."""
        self._file.attrs[TESTED] = fingerprint(self.reader.sample, num_jets)

    def write(
        self,
        stream: str,
        fields: Sequence[str],
        columns: Mapping[str, Column],
        index: np.ndarray,
        segments: Segments | None = None,
        mask: bool = False,
    ) -> None:
        """Append the jets of a batch to a dataset.

        Parameters
        ----------
        stream : str
            Whose dataset it is.
        fields : Sequence[str]
            Fields of the source to copy.
        columns : Mapping[str, Column]
            Name -> predictions, in the order of the batch.
        index : np.ndarray
            (n,) numbers of the batch's jets, all beyond those that are written, in any order.
        segments : Segments | None
            Where each jet's constituents lie; None for a dataset of jets.
        mask : bool
            Add the field `mask`: True where a slot holds no constituent.
        """
        reader = self.reader.streams[stream]
        records = self.records(reader.table, index)
        dtype = [(field, records.dtype[field]) for field in fields]
        dtype += [(column, values.dtype) for column, (values, _) in columns.items()]
        dtype += [("mask", np.dtype(bool))] if mask else []
        rows = np.empty(records.shape, dtype)
        for field in fields:
            rows[field] = records[field]
        kept = self.kept(stream, index) if segments else None
        places = self._places(stream, file_order(index), kept, segments)
        for column, (values, padding) in columns.items():
            rows[column] = padding if segments is not None else 0
            rows[column][places] = values
        if mask:
            rows["mask"] = True
            if kept is not None:
                rows["mask"][:, : kept.shape[1]] = ~kept
        self.append(reader.table.name, reader.table.attrs, rows, list(columns), index)

    def records(self, table: Table, index: np.ndarray) -> np.ndarray:
        """Records (n,) or (n, L) of the jets of a batch, in the order of the file: read once, not to be written to."""
        if not np.array_equal(index, self._index):
            self._index, self._records = index.copy(), {}
        if table.name not in self._records:
            first, last = int(index.min()), int(index.max())
            self._records[table.name] = table.read(first, last - first + 1)[np.sort(index) - first]
        return self._records[table.name]

    def kept(self, stream: str, index: np.ndarray) -> np.ndarray:
        """(n, l) bool: which of the first slots of a batch's jets were read, in the order of the file."""
        reader = self.reader.streams[stream]
        return reader.kept(self.records(reader.table, index), self.records(self.reader.jets, index))

    def padded(
        self, stream: str, values: np.ndarray, padding: float, index: np.ndarray, segments: Segments
    ) -> np.ndarray:
        """Values (t, ...) of a batch's constituents in their slots (n, L, ...), in the order of the file."""
        places = self._places(stream, file_order(index), self.kept(stream, index), segments)
        slots = self.reader.streams[stream].table.shape[1]
        padded = np.full((len(index), slots, *values.shape[1:]), padding, values.dtype)
        padded[places] = values
        return padded

    def _places(
        self, stream: str, order: np.ndarray, kept: np.ndarray | None, segments: Segments | None
    ) -> tuple[np.ndarray, ...]:
        """Index into the records of each row of the batch: (jets,), or (jets, slots)."""
        if kept is None or segments is None:
            return (order,)
        jets, slots = np.nonzero(kept[order])  # jet by jet, as the batch has them
        if not np.array_equal(np.bincount(jets, minlength=len(order)), segments.lengths.cpu().numpy()):
            raise ValueError(f"the constituents of {stream!r} are not those that were tested")
        return order[jets], slots

    def append(
        self, name: str, attrs: Mapping[str, Any], rows: np.ndarray, predicted: list[str], index: np.ndarray
    ) -> None:
        """Write the jets of a batch at the end of a dataset.

        Parameters
        ----------
        name : str
            The dataset.
        attrs : Mapping[str, Any]
            Its attributes.
        rows : np.ndarray
            (n, ...) in the order of the file.
        predicted : list[str]
            Which of its columns are predictions.
        index : np.ndarray
            (n,) numbers of the jets.
        """
        first, last = int(index.min()), int(index.max())
        if name not in self._file:
            jet_bytes = rows.dtype.itemsize * int(np.prod(rows.shape[1:]))
            chunk = min(max(CHUNK_BYTES // max(jet_bytes, 1), 1), len(rows))
            dataset = self._file.create_dataset(
                name,
                shape=(0, *rows.shape[1:]),
                maxshape=(None, *rows.shape[1:]),
                dtype=rows.dtype,
                chunks=(chunk, *rows.shape[1:]),
                compression="gzip",
                compression_opts=1,
                shuffle=True,
            )
            dataset.attrs.update(attrs)
            dataset.attrs[PREDICTED] = predicted
            self._done[name] = -1
        dataset = self._file[name]
        done = len(dataset)
        if first <= self._done[name]:
            raise ValueError(
                f"{self.reader.jets.place(first)} was tested after jet {self._done[name]}; test in file order"
            )
        self._done[name] = last
        dataset.resize(done + len(rows), axis=0)
        dataset[done:] = rows
        self.num_jets = len(dataset)

    def close(self) -> Path:
        """Close a part, which has all its jets now; where it is."""
        self._file.close()
        return self._unfinished

    def join(self, part: Path) -> None:
        """Append the jets of the part that follows, and remove it."""
        with h5py.File(part) as file:
            for name in self._done:
                source, target = file[name], self._file[name]
                jet_bytes = source.dtype.itemsize * int(np.prod(source.shape[1:]))
                step, done = max(JOINED_BYTES // max(jet_bytes, 1), 1), len(target)
                target.resize(done + len(source), axis=0)
                for first in range(0, len(source), step):
                    rows = source[first : first + step]
                    target[done + first : done + first + len(rows)] = rows
                self.num_jets = len(target)
        part.unlink()

    def finish(self) -> None:
        """Close the file and give it its name."""
        self._file.close()
        self._unfinished.replace(self.path)

    def discard(self) -> None:
        """Close the file and remove it."""
        self._file.close()
        self._unfinished.unlink(missing_ok=True)


def file_order(index: np.ndarray) -> np.ndarray:
    """(n,) place that each jet of a batch has among them in the file."""
    return np.argsort(np.argsort(index))


def fingerprint(sample: Sample, num_jets: int) -> str:
    """Tells the first jets of these files, as they are now, from any others: by path, size and time, not by content."""
    facts = [num_jets, *(file[:3] for file in sample.files)]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()
