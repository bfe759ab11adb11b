"""Tables: the structured datasets of a sample, read in whole records, over all of its files.

Shapes: N jets of the sample, L slots for constituents.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import h5py
import numpy as np

from salt.data import virtual
from salt.data.handles import Handles, telling

TableShape = tuple[int, ...]


class Table(ABC):
    """One structured dataset of a sample.

    Parameters
    ----------
    name : str
        Name of the dataset.
    where : str
        The dataset, its file and the YAML key that asks for it, for messages.
    dtype : np.dtype
        Type of a record: named fields.
    shape : tuple[int, ...]
        (N,) of jets or (N, L) of constituents.
    chunk : int
        Reads that start at multiples of this many jets are cheap.
    attrs : Mapping[str, Any]
        Attributes of the dataset.
    """

    def __init__(
        self, name: str, where: str, dtype: np.dtype, shape: TableShape, chunk: int, attrs: Mapping[str, Any]
    ) -> None:
        self.name = name
        self.where = where
        self.dtype = dtype
        self.shape = shape
        self.chunk = chunk
        self.attrs = attrs

    @property
    def num_jets(self) -> int:
        """N."""
        return self.shape[0]

    def read(self, first: int, count: int, out: np.ndarray | None = None) -> np.ndarray:
        """Records of the jets from number `first` on: (count,) or (count, L).

        Parameters
        ----------
        first : int
            Number of the first jet.
        count : int
            How many jets.
        out : np.ndarray | None
            Memory of that shape and of this table's dtype to read into, C-contiguous; None takes new memory.
        """
        assert 0 <= first <= first + count <= self.num_jets
        shape = (count, *self.shape[1:])
        if out is None:
            out = np.empty(shape, self.dtype)
        assert out.shape == shape
        assert out.dtype == self.dtype
        if out.size:
            self._fill(first, out)
        return out

    @abstractmethod
    def _fill(self, first: int, out: np.ndarray) -> None:
        """Read the jets from number `first` on into `out`, which is not empty."""

    @abstractmethod
    def place(self, jet: int) -> str:
        """Which jet of which file that is, for messages: jet 17 of /d/part_2.h5."""


class DatasetTable(Table):
    """A structured dataset of one file.

    Parameters
    ----------
    handles : Handles
        The sample's open files.
    path : str
        The file.
    name : str
        Name of the dataset, which is in the file.
    """

    def __init__(self, handles: Handles, path: str, name: str) -> None:
        self.path = path
        self._handles = handles
        where = f"dataset {name!r} of {path} ({handles.key})"
        with telling(path, handles.key):
            dataset = handles.dataset(path, name)
            chunk = dataset.chunks[0] if dataset.chunks else 1
            super().__init__(name, where, dataset.dtype, dataset.shape, chunk, dict(dataset.attrs))
        virtual.check(dataset, where, handles.key)

    def _fill(self, first: int, out: np.ndarray) -> None:
        with telling(self.path, self._handles.key):
            dataset = self._handles.dataset(self.path, self.name)
            dataset.read_direct(out, np.s_[first : first + len(out)])

    def place(self, jet: int) -> str:
        """Which jet of which file that is, for messages: jet 17 of /d/part_2.h5."""
        return f"jet {jet} of {self.path}"


class JoinedTable(Table):
    """The tables of several files as one, with the first one's attributes and order of fields.

    Parameters
    ----------
    parts : Sequence[Table]
        The dataset in each file. Fields, their types and L must be equal, and so must the class names of labels.
    """

    def __init__(self, parts: Sequence[Table]) -> None:
        self.parts = parts
        head = parts[0]
        for part in parts[1:]:
            _check_equal(head, part)
        lengths = [part.num_jets for part in parts]
        self._starts = [0, *accumulate(lengths)]
        where = f"{head.where}, the first of {len(parts)} files"
        shape = (sum(lengths), *head.shape[1:])
        super().__init__(head.name, where, head.dtype, shape, max(part.chunk for part in parts), head.attrs)

    def _fill(self, first: int, out: np.ndarray) -> None:
        done = 0
        while done < len(out):
            number, start = self._find(first + done)
            part = self.parts[number]
            count = min(len(out) - done, part.num_jets - start)
            target = out[done : done + count]
            if part.dtype == self.dtype:
                part.read(start, count, target)
            else:  # other order of the fields
                records = part.read(start, count)
                for field in self.dtype.names or ():
                    target[field] = records[field]
            done += count

    def _find(self, jet: int) -> tuple[int, int]:
        """The part that holds a jet, and the jet's number in it."""
        number = bisect_right(self._starts, jet) - 1
        return number, jet - self._starts[number]

    def place(self, jet: int) -> str:
        """Which jet of which file that is, for messages: jet 17 of /d/part_2.h5."""
        number, jet = self._find(jet)
        return self.parts[number].place(jet)


def _check_equal(head: Table, part: Table) -> None:
    """Raise where a file's table cannot follow that of the first file."""
    here, there = dict(head.dtype.fields or {}), dict(part.dtype.fields or {})
    faults = [f"field {name!r} is missing in the second" for name in here if name not in there]
    faults += [f"field {name!r} is missing in the first" for name in there if name not in here]
    for name in here:
        if name in there and head.dtype[name] != part.dtype[name]:
            faults.append(f"field {name!r} is {head.dtype[name]} in the first, {part.dtype[name]} in the second")
    if head.shape[1:] != part.shape[1:]:
        faults.append(f"the shapes are {head.shape} and {part.shape}: all but the number of jets must be equal")
    faults += [
        f"the class names of {name!r} are {names} in the first, {_class_names(part, name)} in the second"
        for name in here
        if (names := _class_names(head, name)) and (names != (_class_names(part, name) or names))
    ]
    if faults:
        raise ValueError(
            f"{head.where} and {part.where} cannot be read as one sample: {'; '.join(faults)}; "
            "leave one of them out, or make the files again with the same settings"
        )


def _class_names(table: Table, label: str) -> list[str]:
    """Names of a label's classes, which are an attribute of that name; none where the file does not say."""
    names = np.atleast_1d(table.attrs.get(label, np.array([]))).tolist()
    return [name.decode() if isinstance(name, bytes) else str(name) for name in names]


def is_table(item: Any) -> bool:
    """Whether something in a file is a structured dataset of jets or constituents."""
    return isinstance(item, h5py.Dataset) and item.dtype.names is not None and item.ndim in {1, 2}
