"""Run files: the files of a run's directory, which may be a folder here or a URL that fsspec can open.

A file is written whole or not at all: here under a temporary name, which is renamed; on a server by one put.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import IO, Any, BinaryIO, NamedTuple

CHECKPOINTS = "ckpts"
"""Folder of a run, with its checkpoints."""

PART = ".part"
"""End of the name of a file that is being written."""


class Entry(NamedTuple):
    """A file of a run: its path or URL, and when it was written [s since 1970]."""

    path: str
    written: float

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]


def is_url(path: str | Path) -> bool:
    """Whether a path names something on a server."""
    return "://" in str(path)


def joined(run: str | Path, *names: str) -> str:
    """The path, or the URL, of something in a run."""
    return "/".join([str(run).rstrip("/"), *names]) if is_url(run) else str(Path(run, *names))


def absolute(path: str | Path) -> str:
    """The path from the root; a URL as it is, without a slash at its end."""
    return str(path).rstrip("/") if is_url(path) else str(Path(path).absolute())


def exists(path: str | Path) -> bool:
    """Whether there is such a file."""
    if not is_url(path):
        return Path(path).is_file()
    filesystem, place = _filesystem(path)
    filesystem.invalidate_cache()
    return bool(filesystem.isfile(place))


def open_run_file(path: str | Path, mode: str = "r") -> IO[Any]:
    """Open a file of a run for reading; one that is not there is a FileNotFoundError.

    Parameters
    ----------
    path : str | Path
        Path or URL.
    mode : str
        r or rb.
    """
    if not is_url(path):
        return Path(path).open(mode)
    filesystem, place = _filesystem(path)
    stream: IO[Any] = filesystem.open(place, mode)
    return stream


def write_whole(path: str | Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file of a run so that it is there whole, or as it was before, whatever happens meanwhile.

    Parameters
    ----------
    path : str | Path
        Path or URL; folders are made.
    write : Callable[[BinaryIO], object]
        Writes the contents into the file that it is given.
    """
    if is_url(path):
        buffer = BytesIO()
        write(buffer)
        filesystem, place = _filesystem(path)
        filesystem.pipe(place, buffer.getvalue())
        return
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}{PART}")
    try:
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())  # or after a power cut the name might be there, and the contents not
        temporary.rename(target)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and error.errno is not None and error.filename is None:  # a full disk has no name
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    _sync_folder(target.parent)


def listed(run: str | Path, folder: str, suffix: str) -> list[Entry]:
    """Files of a folder of a run, with this end of their names; none where there is no such folder."""
    if not is_url(run):
        paths = sorted(Path(run, folder).glob(f"*{suffix}"))
        return [Entry(str(path), path.stat().st_mtime) for path in paths if not path.name.startswith(".")]
    filesystem, place = _filesystem(joined(run, folder))
    filesystem.invalidate_cache()
    try:
        found = filesystem.ls(place, detail=True)
    except FileNotFoundError:
        return []
    files = [(filesystem.unstrip_protocol(facts["name"]), facts) for facts in found if facts["type"] == "file"]
    return sorted(Entry(url, _written(facts)) for url, facts in files if url.endswith(suffix))


def remove(path: str | Path) -> None:
    """Remove a file, if it is there."""
    if not is_url(path):
        Path(path).unlink(missing_ok=True)
        return
    filesystem, place = _filesystem(path)
    with suppress(FileNotFoundError):
        filesystem.rm_file(place)


def parts(run: str | Path) -> list[Path]:
    """Files of a run that are half written; on a server there are none."""
    return [] if is_url(run) else [*Path(run).glob(f".*{PART}"), *Path(run).glob(f"ckpts/.*{PART}")]


def remove_parts(run: str | Path) -> None:
    """Remove what killed runs have left half written; nobody else may be writing into this run now."""
    for path in parts(run):
        path.unlink(missing_ok=True)


def _written(facts: dict[str, Any]) -> float:
    """When a file on a server was written, as far as it tells."""
    time = next((facts[key] for key in ("LastModified", "last_modified", "mtime", "created") if facts.get(key)), 0.0)
    return time.timestamp() if isinstance(time, datetime) else float(time)


def _sync_folder(folder: Path) -> None:
    """Have the new name survive a power cut, too; some file systems cannot, and need not."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _filesystem(path: str | Path) -> tuple[Any, str]:
    """The filesystem of a URL, and the path in it."""
    import fsspec

    try:
        return fsspec.url_to_fs(str(path))
    except ImportError as error:
        mend = "pip install 'salt-hep[s3]'" if str(path).startswith("s3://") else f"pip install what it names: {error}"
        raise ImportError(f"{path} (trainer.default_root_dir) needs a library that is not installed: {mend}") from error
