"""Virtual datasets: datasets whose records are in other files. HDF5 gives fill values for those that are not there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import h5py

from salt.data.handles import telling


def check(dataset: h5py.Dataset, where: str, key: str) -> None:
    """Raise where records of a dataset are in no file, or in one that is missing or too short.

    Sources of unlimited virtual datasets, whose names HDF5 makes of a pattern (%b), are not checked.

    Parameters
    ----------
    dataset : h5py.Dataset
        Any dataset; one that is not virtual has its records.
    where : str
        The dataset and its file, for messages.
    key : str
        YAML key that names the file, for messages.
    """
    if not dataset.is_virtual:
        return
    if dataset.file.driver == "fileobj":
        raise ValueError(f"{where} is virtual: its records are in other files, which only a local path can name")
    mapped = 0
    for source in dataset.virtual_sources():
        if "%b" in source.file_name + source.dset_name:
            return
        mapped += source.vspace.get_select_npoints()
        path = _existing(dataset, source, where)
        with telling(str(path), key), h5py.File(path, "r") as file:
            _check_source(file, source, f"{where}, which is virtual", key)
    if mapped < dataset.size:
        raise ValueError(
            f"{where} is virtual, and only {mapped} of its {dataset.size} records have a source; make it again"
        )


def sources(dataset: h5py.Dataset) -> list[Path]:
    """Files that hold the records of a virtual dataset, as far as they are there; none of one that is not virtual."""
    if not dataset.is_virtual or dataset.file.driver == "fileobj":
        return []
    names = dict.fromkeys(source.file_name for source in dataset.virtual_sources())
    found = (next(filter(Path.is_file, _candidates(dataset, name)), None) for name in names)
    return [path for path in found if path is not None]


def _check_source(file: h5py.File, source: h5py.h5d.VDSmap, where: str, key: str) -> None:
    """Raise where a file does not hold the records that a virtual dataset takes from it."""
    item = file.get(source.dset_name)
    if not isinstance(item, h5py.Dataset):
        raise ValueError(f"{where}, takes records of dataset {source.dset_name!r} of {file.filename}: there is none")
    check(item, f"dataset {source.dset_name!r} of {file.filename} ({key})", key)
    whole = source.src_space.get_select_type() == h5py.h5s.SEL_ALL
    if whole:
        enough = item.size >= source.vspace.get_select_npoints()
    else:
        last = source.src_space.get_select_bounds()[1]
        enough = len(last) == item.ndim and all(end < size for end, size in zip(last, item.shape, strict=True))
    if not enough:
        raise ValueError(
            f"{where}, takes more records of dataset {source.dset_name!r} of {file.filename} than the {item.shape} "
            "there are; that file has changed: make the virtual dataset again"
        )


def _existing(dataset: h5py.Dataset, source: h5py.h5d.VDSmap, where: str) -> Path:
    """The file of a source, or an error."""
    for path in _candidates(dataset, source.file_name):
        if path.is_file():
            return path
    tried = ", ".join(map(str, dict.fromkeys(_candidates(dataset, source.file_name))))
    raise FileNotFoundError(
        f"{where} is virtual, and a file that holds its records is missing: {source.file_name} (looked for {tried}); "
        "bring it back, or make the virtual dataset again"
    )


def _candidates(dataset: h5py.Dataset, name: str) -> Iterator[Path]:
    """Where HDF5 looks for a source file, in its order."""
    here = Path(dataset.file.filename)
    if name == ".":
        yield here
        return
    path = Path(name)
    if path.is_absolute():
        yield path
        path = Path(path.name)
    for prefix in filter(None, os.environ.get("HDF5_VDS_PREFIX", "").split(os.pathsep)):
        yield Path(prefix.replace("${ORIGIN}", str(here.parent))) / path
    yield here.parent / path
    yield path
