"""The HDF5 files: structured datasets `jets` (N,), `tracks` (N, 40) and `truth_hadrons` (N, 5)."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np
from numpy.lib import recfunctions

from salt.simulate import columns
from salt.simulate.chunk import Chunk
from salt.simulate.events import Array
from salt.simulate.jets import FLAVOUR_NAMES

CHUNK_JETS = 500  # jets in a chunk of HDF5: 1.4 MB of tracks
LENGTHS = {"tracks": columns.MAX_TRACKS, "truth_hadrons": columns.MAX_HADRONS}


def tables(chunk: Chunk) -> dict[str, Array]:
    """The padded datasets of a chunk."""
    return {
        "jets": chunk.jets,
        "tracks": columns.pad(chunk.tracks, chunk.num_tracks, columns.MAX_TRACKS),
        "truth_hadrons": columns.pad(chunk.hadrons, chunk.num_hadrons, columns.MAX_HADRONS),
    }


def without_label(table: Array) -> Array:
    """The records without `flavour_label`."""
    kept = [field for field in table.dtype.names or () if field != "flavour_label"]
    return recfunctions.repack_fields(table[kept])


class JetFile:
    """An HDF5 file that grows.

    Parameters
    ----------
    path : Path
        Where to write.
    labelled : bool
        Whether jets carry `flavour_label`, as training files do and ntuples do not.
    """

    def __init__(self, path: Path, labelled: bool) -> None:
        self._file = h5py.File(path, "w")
        self._labelled = labelled
        self._waiting: dict[str, list[Array]] = {}
        self._counts = np.zeros(len(FLAVOUR_NAMES), np.int64)
        self.num_jets = 0

    def __enter__(self) -> JetFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def append(self, new: dict[str, Array]) -> None:
        """Add jets; whole chunks of HDF5 go to the disk."""
        self.num_jets += len(new["jets"])
        self._counts += np.bincount(new["jets"]["flavour_label"], minlength=len(FLAVOUR_NAMES))
        for name, table in new.items():
            self._waiting.setdefault(name, []).append(table if self._labelled else without_label(table))
            self._flush(name, CHUNK_JETS)

    def _flush(self, name: str, multiple: int) -> None:
        waiting = np.concatenate(self._waiting[name])
        whole = len(waiting) // multiple * multiple
        self._waiting[name] = [waiting[whole:]]
        if name not in self._file:
            self._create(name, waiting.dtype)
        dataset = self._file[name]
        begin = len(dataset)
        dataset.resize(begin + whole, axis=0)
        dataset[begin:] = waiting[:whole]

    def _create(self, name: str, dtype: np.dtype[Any]) -> None:
        tail = (LENGTHS[name],) if name in LENGTHS else ()
        self._file.create_dataset(
            name,
            shape=(0, *tail),
            maxshape=(None, *tail),
            chunks=(CHUNK_JETS, *tail),
            dtype=dtype,
            compression="lzf",
            shuffle=True,
        )

    def finish(self, attributes: dict[str, Any]) -> None:
        """Write what waits and the attributes.

        Parameters
        ----------
        attributes : dict[str, Any]
            Of the file, beside those that count its jets.
        """
        for name in self._waiting:
            self._flush(name, 1)
        counts = {flavour: int(count) for flavour, count in zip(FLAVOUR_NAMES, self._counts, strict=True)}
        self._file.attrs.update({"unique_jets": self.num_jets, "jet_counts": str(counts), **attributes})
        if self._labelled:
            self._file["jets"].attrs["flavour_label"] = list(FLAVOUR_NAMES)
