"""HDF5 files of structured datasets: found, opened, described, and read in whole records.

Shapes: N jets of a file, L slots for constituents.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401 (registers LZ4 and other filters before any file is opened)
import numpy as np

from salt.data.names import by_nearness, unknown

BLOCK_BYTES = 32 * 2**20
"""Size of the blocks that files are read in: large enough to be sequential, small enough for any machine."""


def open_file(path: str | Path, key: str) -> h5py.File:
    """Open an HDF5 file for reading.

    Parameters
    ----------
    path : str | Path
        The file.
    key : str
        YAML key that names it, for messages.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(_missing(path, key))
    if not h5py.is_hdf5(path):
        raise ValueError(f"{path} ({key}) is not an HDF5 file, or it is cut short: make or copy it again")
    return h5py.File(path, "r")


def _missing(path: Path, key: str) -> str:
    """Message for a file that is not there."""
    folder = path.absolute().parent
    if path.is_dir():
        return f"{path} ({key}) is a folder; name a file in it: {_listing('', path)}"
    if folder.is_dir():
        return f"no file {path} ({key}); in {folder} there are: {_listing(path.name, folder)}"
    there = next(parent for parent in folder.parents if parent.is_dir())
    return f"no file {path} ({key}): there is no folder {folder}, only {there}"


def _listing(name: str, folder: Path) -> str:
    """The files of a folder that are nearest to a name."""
    return ", ".join(by_nearness(name, sorted(file.name for file in folder.iterdir()))[:5]) or "no files"


def find_dataset(file: h5py.File, name: str, key: str) -> h5py.Dataset:
    """The structured dataset of that name: (N,) of jets or (N, L) of constituents.

    Parameters
    ----------
    file : h5py.File
        An open file.
    name : str
        Name of the dataset.
    key : str
        YAML key that asks for it, for messages.
    """
    names = [each for each, item in file.items() if isinstance(item, h5py.Dataset)]
    if name not in names:
        where = f"{file.filename} ({key})"
        raise ValueError(unknown("dataset", name, names, where) + "; data.input_map gives a stream another dataset")
    dataset = file[name]
    if dataset.dtype.names is None or dataset.ndim not in {1, 2}:
        raise ValueError(
            f"dataset {name!r} of {file.filename} ({key}) is {dataset.dtype} with shape {dataset.shape}; "
            "it must have named fields, and the shape (jets,) or (jets, constituents)"
        )
    return dataset


def check_fields(dataset: h5py.Dataset, names: Iterable[str], kind: str, key: str) -> None:
    """Raise where the dataset has no field of one of these names, or one that is not a number.

    Parameters
    ----------
    dataset : h5py.Dataset
        The structured dataset.
    names : Iterable[str]
        Fields to be read.
    kind : str
        What they are, for messages: "variable" or "label".
    key : str
        YAML key that asks for them, for messages.
    """
    where = f"dataset {dataset.name.strip('/')!r} of {dataset.file.filename} ({key})"
    for name in names:
        check_type(dataset.dtype, name, kind, where)


def check_type(dtype: np.dtype, name: str, kind: str, where: str) -> None:
    """Raise where records of this type have no field of that name, or one that is not a number.

    Parameters
    ----------
    dtype : np.dtype
        Structured.
    name : str
        Field to be read.
    kind : str
        What it is, for messages: "variable" or "label".
    where : str
        Where the records are, for messages.
    """
    if name not in (dtype.names or ()):
        raise ValueError(unknown(kind, name, dtype.names or (), where))
    if dtype[name].kind not in "fiub":
        raise ValueError(f"{kind} {name!r} in {where} is of type {dtype[name]}; only numbers can be read")


def blocks(dataset: h5py.Dataset, num_jets: int) -> Iterator[tuple[int, np.ndarray]]:
    """Read the first jets in blocks of whole records, aligned to the file's chunks.

    Reading some fields of a compound is several times slower than reading all: HDF5 converts record by record.

    Parameters
    ----------
    dataset : h5py.Dataset
        (N,) or (N, L).
    num_jets : int
        How many jets to read.

    Yields
    ------
    tuple[int, np.ndarray]
        Number of the first jet, and the records; their memory is used again for the next block.
    """
    chunk = dataset.chunks[0] if dataset.chunks else 1
    jet_bytes = dataset.dtype.itemsize * int(np.prod(dataset.shape[1:]))
    step = min(max(BLOCK_BYTES // max(jet_bytes * chunk, 1), 1) * chunk, num_jets)
    buffer = np.empty((step, *dataset.shape[1:]), dataset.dtype)
    for first in range(0, num_jets, step):
        count = min(step, num_jets - first)
        dataset.read_direct(buffer, np.s_[first : first + count], np.s_[:count])
        yield first, buffer[:count]


def is_valid(records: np.ndarray) -> np.ndarray:
    """(n, L) bool: which slots of these (n, L) records hold a constituent; all where the file does not say."""
    if "valid" in (records.dtype.names or ()):
        return records["valid"].astype(bool)
    return np.ones(records.shape, bool)


def describe(path: str | Path, key: str = "file") -> dict[str, dict[str, np.dtype]]:
    """Structured datasets of a file, and the type of each of their fields.

    Parameters
    ----------
    path : str | Path
        The file.
    key : str
        YAML key that names it, for messages.
    """
    with open_file(path, key) as file:
        datasets = {name: item for name, item in file.items() if isinstance(item, h5py.Dataset)}
        return {
            name: {field: dataset.dtype[field] for field in dataset.dtype.names}
            for name, dataset in datasets.items()
            if dataset.dtype.names
        }


def class_names(path: str | Path, dataset: str, label: str, key: str = "data.train_file") -> list[str]:
    """Names of the classes of a label, which files keep as an attribute of the dataset.

    Parameters
    ----------
    path : str | Path
        The file.
    dataset : str
        Name of the dataset.
    label : str
        Name of the label: flavour_label.
    key : str
        YAML key that names the file, for messages.

    Returns
    -------
    list[str]
        Name of class 0, class 1, ...
    """
    with open_file(path, key) as file:
        attributes = find_dataset(file, dataset, key).attrs
        if label not in attributes:
            where = f"the attributes of dataset {dataset!r} of {path} ({key})"
            message = unknown("label", label, attributes, where)
            raise ValueError(f"{message}; name the classes in the task: class_names: [...]")
        names = np.atleast_1d(attributes[label]).tolist()
    return [name.decode() if isinstance(name, bytes) else str(name) for name in names]
