"""Ensemble: the evaluation files of several members made one file, with the scores that they have together.

Shapes: M members, N jets of the test file, n of a block, L slots for constituents.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from salt.data.evaluation import PREDICTED, TESTED
from salt.data.folds import Fold, in_fold
from salt.data.names import by_nearness
from salt.data.tables import Table

BLOCK_BYTES = 64 * 2**20
"""Memory for the rows of all members that are read together."""

DEVIATION = "_stddev"
"""End of the name of a Gaussian's width; the rest of it is the name of its mean."""


class Combination(ABC):
    """How the members' rows become those of the ensemble."""

    method: str
    """In a word, for the attributes of the file."""

    @abstractmethod
    def blocks(self, datasets: Sequence[h5py.Dataset]) -> Iterator[np.ndarray]:
        """Rows (n,) or (n, L) of the ensemble, block by block, from a dataset of each member's file."""

    @abstractmethod
    def of_first_member(self, dtype: np.dtype, predicted: Sequence[str]) -> list[str]:
        """Predicted columns that say what the first member says."""


class Mean(Combination):
    """All members score all jets: means of their probabilities and values.

    The widths of Gaussians are those of the mixture. What is no number but a name, the index of a vertex, means
    something within one member only, and is the first one's.
    """

    method = "mean"

    def blocks(self, datasets: Sequence[h5py.Dataset]) -> Iterator[np.ndarray]:
        """Means of rows with the same number."""
        predicted = list(datasets[0].attrs[PREDICTED])
        step = _step(datasets)
        for first in range(0, len(datasets[0]), step):
            members = [dataset[first : first + step] for dataset in datasets]
            for dataset, rows in zip(datasets[1:], members[1:], strict=True):
                _check_copies(datasets[0], members[0], dataset, rows, predicted)
            yield mean(members, predicted)

    def of_first_member(self, dtype: np.dtype, predicted: Sequence[str]) -> list[str]:
        """Whole numbers."""
        return [name for name in predicted if dtype[name].kind != "f"]


class OutOfFold(Combination):
    """Each jet has the row of the member that left it out of its training.

    Parameters
    ----------
    owner : np.ndarray
        (N,) number of that member for each jet of the test file, see `owners`; -1: none.
    """

    method = "out-of-fold"

    def __init__(self, owner: np.ndarray) -> None:
        self._owner = owner

    def blocks(self, datasets: Sequence[h5py.Dataset]) -> Iterator[np.ndarray]:
        """Rows of the members, in the order of the test file."""
        owner = self._scored(datasets)
        done = [0] * len(datasets)
        step = _step(datasets[:1])
        for first in range(0, len(owner), step):
            part = owner[first : first + step]
            rows = np.empty((len(part), *datasets[0].shape[1:]), datasets[0].dtype)
            for number, dataset in enumerate(datasets):
                mine = part == number
                count = int(mine.sum())
                rows[mine] = dataset[done[number] : done[number] + count]
                done[number] += count
            yield rows

    def of_first_member(self, dtype: np.dtype, predicted: Sequence[str]) -> list[str]:
        """None."""
        return []

    def _scored(self, datasets: Sequence[h5py.Dataset]) -> np.ndarray:
        """The owners of the jets that have one, as far as the members have tested the file."""
        stop = len(self._owner)
        for number, dataset in enumerate(datasets):
            jets = np.flatnonzero(self._owner == number)
            if len(jets) > len(dataset):
                stop = min(stop, int(jets[len(dataset)]))
        owner = self._owner[:stop]
        for number, dataset in enumerate(datasets):
            count = int((owner == number).sum())
            if count != len(dataset):
                raise ValueError(
                    f"{_where(dataset)} has {len(dataset)} jets, but {count} of the test file are in the fold that its "
                    "member left out: it was made from another file\n  mend: remove it, and test again"
                )
        return owner[owner >= 0]


def owners(jets: Table, folds: Sequence[Fold]) -> np.ndarray:
    """(N,) which member left out each jet of a file, as a number of `folds`; -1: none of them did.

    Parameters
    ----------
    jets : Table
        (N,) jets, with the variable of the folds.
    folds : Sequence[Fold]
        M, one of each member.
    """
    found = np.full(jets.num_jets, -1, np.int16)
    step = max(BLOCK_BYTES // jets.dtype.itemsize, 1)
    for first in range(0, jets.num_jets, step):
        records = jets.read(first, min(step, jets.num_jets - first))
        for number, fold in enumerate(folds):
            found[first : first + step][in_fold(records[fold.variable], fold.k, fold.use, "test")] = number
    return found


def mean(members: Sequence[np.ndarray], predicted: Sequence[str]) -> np.ndarray:
    """Rows (n,) or (n, L) of the first member, with the means over all members where there are predictions.

    Sums are of float64: the mean of equal members is each of them to the last bit.
    """
    rows = members[0].copy()
    for name in predicted:
        if rows.dtype[name].kind == "f":
            rows[name] = _stacked(members, name).mean(axis=0)
    for name in predicted:
        if name + DEVIATION in predicted:
            inner = np.square(_stacked(members, name + DEVIATION)).mean(axis=0)
            rows[name + DEVIATION] = np.sqrt(inner + _stacked(members, name).var(axis=0))
    return rows


def write_ensemble(path: Path, files: Sequence[Path], combination: Combination, attributes: Mapping[str, Any]) -> int:
    """Write the evaluation file of an ensemble, whole or not at all.

    Parameters
    ----------
    path : Path
        The file to write; one that is there is replaced.
    files : Sequence[Path]
        The evaluation files of the members, of the same test file.
    combination : Combination
        How their rows become those of the ensemble.
    attributes : Mapping[str, Any]
        Attributes of the file, besides the method and those of the first member's.

    Returns
    -------
    int
        How many jets it has.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with ExitStack() as stack:
        members = [stack.enter_context(h5py.File(file, "r")) for file in files]
        _check_alike(members)
        stack.callback(unfinished.unlink, missing_ok=True)
        with h5py.File(unfinished, "w") as output:
            output.attrs.update({**members[0].attrs, "ensemble": combination.method, **attributes})
            counts = [_write(output, [member[name] for member in members], combination) for name in members[0]]
        unfinished.replace(path)
    return max(counts)


def _write(output: h5py.File, datasets: Sequence[h5py.Dataset], combination: Combination) -> int:
    """Write one dataset; the number of its jets."""
    model = datasets[0]
    dataset = output.create_dataset(
        model.name, shape=(0, *model.shape[1:]), maxshape=(None, *model.shape[1:]), dtype=model.dtype,
        chunks=model.chunks or True, compression="gzip", compression_opts=1, shuffle=True,
    )  # fmt: skip
    dataset.attrs.update(model.attrs)
    if columns := combination.of_first_member(model.dtype, list(model.attrs[PREDICTED])):
        dataset.attrs["of_first_member"] = columns
    for rows in combination.blocks(datasets):
        done = len(dataset)
        dataset.resize(done + len(rows), axis=0)
        dataset[done:] = rows
    return len(dataset)


def _step(datasets: Sequence[h5py.Dataset]) -> int:
    """How many jets to read at once: whole chunks of the first file's."""
    row_bytes = datasets[0].dtype.itemsize * int(np.prod(datasets[0].shape[1:]))
    chunk = datasets[0].chunks[0] if datasets[0].chunks else 1
    return max(BLOCK_BYTES // (row_bytes * len(datasets) * chunk), 1) * chunk


def _stacked(members: Sequence[np.ndarray], name: str) -> np.ndarray:
    """(M, ...) a column of all members."""
    return np.stack([rows[name] for rows in members], dtype=np.float64)


def _check_alike(members: Sequence[h5py.File]) -> None:
    """Raise where the files are not of the same sort of model, or not of the same test file."""
    first = members[0]
    for other in members[1:]:
        if first.attrs.get(TESTED) != other.attrs.get(TESTED):
            raise ValueError(f"{other.filename} and {first.filename} were made from different test files: test again")
        if {*first} != {*other}:
            raise ValueError(f"{other.filename} has {', '.join(other)}, but {first.filename} {', '.join(first)}")
        for name in first:
            _check_columns(first[name], other[name])


def _check_columns(first: h5py.Dataset, other: h5py.Dataset) -> None:
    """Raise where two members have different columns: different classes, most likely."""
    for a, b in ((first, other), (other, first)):
        for column in b.dtype.names:
            if column not in a.dtype.names:
                raise ValueError(
                    f"{_where(a)} has no column {column}, which {_where(b)} has; nearest: "
                    f"{', '.join(by_nearness(column, a.dtype.names)[:5])}\n"
                    "  mend: only members with the same tasks and classes make an ensemble; name those with --members"
                )
            if a.dtype[column] != b.dtype[column]:
                types = f"{a.dtype[column]} in {_where(a)} and {b.dtype[column]} in {_where(b)}"
                raise ValueError(f"column {column} is {types}: test both with the same PredictionWriter")
    if first.shape[1:] != other.shape[1:]:
        raise ValueError(f"{_where(first)} has the shape {first.shape} and {_where(other)} {other.shape}")


def _check_copies(
    first: h5py.Dataset, a: np.ndarray, other: h5py.Dataset, b: np.ndarray, predicted: Sequence[str]
) -> None:
    """Raise where two members did not test the same jets, or not the same of their constituents."""
    for column in first.dtype.names if len(a) == len(b) else ():
        same = column in predicted or np.array_equal(a[column], b[column], equal_nan=a[column].dtype.kind == "f")
        if not same:
            raise ValueError(
                f"{column} differs between {_where(first)} and {_where(other)}: they were not made from the same jets, "
                "or from other constituents of them"
            )
    if len(first) != len(other):
        raise ValueError(f"{_where(first)} has {len(first)} jets and {_where(other)} {len(other)}: test both again")


def _where(dataset: h5py.Dataset) -> str:
    """A dataset and its file, for messages."""
    return f"{dataset.name.lstrip('/')} of {dataset.file.filename}"
