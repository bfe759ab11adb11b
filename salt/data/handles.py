"""Handles: the open HDF5 files of a sample."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

import h5py
import hdf5plugin  # noqa: F401 (registers LZ4 and other filters before any file is opened)

from salt.data import remote

MOST_OPEN = 4
"""Files of a sample that are open at the same time: thousands would run into the limit of the operating system."""


class Handle(NamedTuple):
    """An open file, the datasets that were asked for, and what has to be closed."""

    file: h5py.File
    datasets: dict[str, h5py.Dataset]
    stack: ExitStack


class Handles:
    """The open files of a sample: opened when they are asked for, the least recently used closed first.

    Belongs to one thread of one process: HDF5 does not survive a fork.

    Parameters
    ----------
    key : str
        YAML key that names the files, for messages.
    """

    def __init__(self, key: str) -> None:
        self.key = key
        self._handles: dict[str, Handle] = {}

    def file(self, path: str) -> h5py.File:
        """The open file of an absolute path or URL."""
        return self._handle(path).file

    def dataset(self, path: str, name: str) -> h5py.Dataset:
        """A dataset of a file, which must be there."""
        datasets = self._handle(path).datasets
        if name not in datasets:
            datasets[name] = self._handle(path).file[name]  # kept: its cached chunks live as long
        return datasets[name]

    def _handle(self, path: str) -> Handle:
        handle = self._handles.pop(path, None) or self._open(path)
        self._handles[path] = handle  # last: the most recently used
        while len(self._handles) > MOST_OPEN:
            self._handles.pop(next(iter(self._handles))).stack.close()
        return handle

    def _open(self, path: str) -> Handle:
        with telling(path, self.key), ExitStack() as stack:
            source = stack.enter_context(remote.open_url(path, self.key)) if remote.is_url(path) else path
            file = stack.enter_context(h5py.File(source, "r"))
            return Handle(file, {}, stack.pop_all())
        raise AssertionError  # for mypy: an ExitStack could swallow an error

    def close(self) -> None:
        """Close all files; one that is asked for later is opened again."""
        while self._handles:
            self._handles.popitem()[1].stack.close()


@contextmanager
def telling(path: str, key: str) -> Iterator[None]:
    """Turn what HDF5 and the operating system say of a file into one message that names it.

    Parameters
    ----------
    path : str
        The file.
    key : str
        YAML key that names it.
    """
    # h5py raises these two for damaged files; the libraries that speak to servers have errors of their own
    damage = (Exception,) if remote.is_url(path) else (OSError, RuntimeError)
    try:
        yield
    except PermissionError as error:
        raise PermissionError(f"no permission to read {path} ({key}); ask its owner for chmod +r") from error
    except BlockingIOError as error:
        raise ValueError(f"{path} ({key}) is locked: another process is writing it; wait for that to end") from error
    except (ValueError, FileNotFoundError):  # clear as they are
        raise
    except damage as error:
        reason = "the server does not answer, or it is" if remote.is_url(path) else "it is"
        raise ValueError(
            f"{path} ({key}) cannot be read: {reason} cut short, damaged, or not an HDF5 file; "
            f"make or copy it again. What was said: {error}"
        ) from error
