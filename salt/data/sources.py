"""Sources: the files of a sample, found by a path, a pattern, a list or a URL, and read as one.

Shapes: N jets of the sample, L slots for constituents.
"""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import h5py

from salt.data import remote, umami, virtual
from salt.data.handles import Handles, telling
from salt.data.names import NUM_NEAREST, by_nearness, unknown
from salt.data.tables import DatasetTable, JoinedTable, Table, is_table

Pattern = str | Path | Sequence[str | Path]
"""What a YAML key may say: a path, a glob (*, ?, [...], **), a URL, which may be a glob as well, or a list of these."""


class SourceFile(NamedTuple):
    """A file of a sample, as it was when it was opened: another size or time means other jets."""

    path: str
    """Absolute, or a URL."""
    size: int
    """Bytes."""
    modified: str
    """When it was written [ns], for URLs the ETag where the server has one; also of a virtual dataset's sources."""
    num_jets: int


class Sample:
    """The files of a sample, open for reading as one long file. A context manager.

    Holds open HDF5 files, few at a time: it belongs to one thread of one process.

    Parameters
    ----------
    paths : Sequence[str]
        Absolute paths or URLs of files that exist.
    key : str
        YAML key that names them, for messages.
    """

    def __init__(self, paths: Sequence[str], key: str) -> None:
        self.key = key
        self._handles = Handles(key)
        self._lengths: list[dict[str, int]] = []  # of each file: table -> number of jets
        try:
            self.files = [self._open(path) for path in paths]
        except BaseException:
            self.close()
            raise
        self.num_jets = sum(file.num_jets for file in self.files)

    def _open(self, path: str) -> SourceFile:
        size, modified = remote.facts(path, self.key) if remote.is_url(path) else _facts(path)
        with telling(path, self.key):
            items = dict(self._handles.file(path).items())
            read = {name: [item] for name, item in items.items() if is_table(item)}
            groups = {name: item for name, item in items.items() if umami.is_table(item)}
            read |= {name: list(umami.datasets(group).values()) for name, group in groups.items()}
            lengths = {name: len(groups[name]["inputs"] if name in groups else items[name]) for name in read}
            sources = {path for datasets in read.values() for item in datasets for path in virtual.sources(item)}
            modified = "; ".join([modified, *(f"{path} {_facts(path)}" for path in sorted(sources))])
        if not lengths:
            raise ValueError(
                f"{path} ({self.key}) has no structured dataset; it has {', '.join(items) or 'nothing'}; "
                "datasets must have named fields, and the shape (jets,) or (jets, constituents)"
            )
        self._lengths.append(lengths)
        return SourceFile(path, size, modified, _most_common(list(lengths.values())))

    def names(self) -> list[str]:
        """Names of the structured datasets that all files have, and of groups of umami's layout."""
        return [name for name in self._lengths[0] if all(name in lengths for lengths in self._lengths)]

    def attributes(self) -> list[dict[str, Any]]:
        """The attributes of each file itself."""
        with telling(self.files[0].path, self.key):
            return [dict(self._handles.file(file.path).attrs) for file in self.files]

    def table(self, name: str, key: str) -> Table:
        """A structured dataset, over all files.

        Parameters
        ----------
        name : str
            Name of the dataset, or of a group of umami's layout.
        key : str
            YAML key that asks for it, for messages.
        """
        parts = [self._table(number, name, key) for number in range(len(self.files))]
        return JoinedTable(parts) if parts[1:] else parts[0]

    def _table(self, number: int, name: str, key: str) -> Table:
        """A structured dataset of one file."""
        file, lengths = self.files[number], self._lengths[number]
        with telling(file.path, self.key):
            item = self._handles.file(file.path).get(name)
        if name not in lengths:
            raise ValueError(_no_table(name, item, list(lengths), f"{file.path} ({key})"))
        if lengths[name] != file.num_jets:
            raise ValueError(
                f"dataset {name!r} of {file.path} ({key}) has {lengths[name]} jets, but the file {file.num_jets}: "
                f"{', '.join(f'{other} {count}' for other, count in lengths.items())}; make the file again"
            )
        if isinstance(item, h5py.Group):
            return umami.UmamiTable(self._handles, file.path, name)
        return DatasetTable(self._handles, file.path, name)

    def close(self) -> None:
        """Close the files."""
        self._handles.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def open_sample(pattern: Pattern, key: str) -> Sample:
    """Open the files of a sample.

    Parameters
    ----------
    pattern : Pattern
        A path, a glob, a URL, or a list of these.
    key : str
        YAML key that holds it, for messages.
    """
    return Sample(find_sources(pattern, key), key)


def find_sources(pattern: Pattern, key: str) -> list[str]:
    """Absolute paths or URLs of the files of a sample, sorted; they exist, and are not opened.

    Parameters
    ----------
    pattern : Pattern
        A path, a glob, a URL, or a list of these.
    key : str
        YAML key that holds it, for messages.
    """
    patterns = [pattern] if isinstance(pattern, str | Path) else list(pattern)
    if not patterns:
        raise ValueError(f"{key} is an empty list; name at least one file")
    found = [path for each in patterns for path in _find(str(each).removeprefix("file://"), key)]
    twice = [path for path, count in Counter(found).items() if count > 1]
    if twice:
        raise ValueError(f"{key} names {', '.join(twice)} more than once; name each file once, or its jets count twice")
    return sorted(found)


def _find(pattern: str, key: str) -> list[str]:
    """Files of one pattern."""
    if remote.is_url(pattern):
        return remote.find(pattern, key)
    path = Path(pattern).expanduser()
    try:
        if path.is_file():
            return [str(path.absolute())]
        if path.is_dir() or not glob.has_magic(pattern):
            raise FileNotFoundError(_missing(path, key))
        found = [match for match in map(Path, glob.glob(str(path), recursive=True)) if match.is_file()]  # noqa: PTH207
    except PermissionError as error:
        raise PermissionError(f"no permission to look at {error.filename} ({key}); ask its owner for it") from error
    if not found:
        raise FileNotFoundError(f"no file matches {_missing(path, key).removeprefix('no file ')}")
    return [str(match.absolute()) for match in found]


def _missing(path: Path, key: str) -> str:
    """Message for a file that is not there."""
    folder = path.absolute().parent
    if path.is_dir():
        return f"{path} ({key}) is a folder; name a file in it: {_listing('', path)}"
    if folder.is_dir():
        return f"no file {path} ({key}); in {folder} there are: {_listing(path.name, folder)}"
    there = next(parent for parent in folder.parents if parent.is_dir())
    return f"no file {path} ({key}): there is no folder {folder}, only {there}: {_listing(path.name, there)}"


def _listing(name: str, folder: Path) -> str:
    """The files of a folder that are nearest to a name."""
    return ", ".join(by_nearness(name, sorted(file.name for file in folder.iterdir()))[:NUM_NEAREST]) or "no files"


def _facts(path: str | Path) -> tuple[int, str]:
    """Size of a file, and when it was written [ns]."""
    status = Path(path).stat()
    return status.st_size, str(status.st_mtime_ns)


def _most_common(lengths: list[int]) -> int:
    """The number of jets of a file: what most of its tables have, of several the largest."""
    counts = Counter(lengths)
    return max(counts, key=lambda length: (counts[length], length))


def _no_table(name: str, item: h5py.HLObject | None, names: list[str], where: str) -> str:
    """Message for a name behind which there is no table."""
    if isinstance(item, h5py.Dataset):
        return (
            f"dataset {name!r} of {where} is {item.dtype} with shape {item.shape}; "
            "it must have named fields, and the shape (jets,) or (jets, constituents)"
        )
    if isinstance(item, h5py.Group):
        return umami.no_table(name, item, where)
    return unknown("dataset", name, names, where) + "; data.input_map gives a stream another dataset"
