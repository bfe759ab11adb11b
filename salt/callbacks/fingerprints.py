"""Fingerprints of data files: enough to see a year later whether a file is still the one that was trained with."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import h5py

from salt.data.remote import is_url
from salt.data.sources import SourceFile

WHOLE = 64 * 2**20
"""Bytes up to which a file is read whole."""

ENDS = 2**20
"""Bytes that are read of the beginning and of the end of a larger one."""

MOST_READ = 50
"""Files that are read; of more, sizes and times are kept."""


def fingerprints(files: Sequence[SourceFile]) -> list[dict[str, Any]]:
    """Path, size, time, jets, contents and shapes of each file of a sample.

    Parameters
    ----------
    files : Sequence[SourceFile]
        As they were when they were opened; of URLs nothing is read.
    """
    return [_fingerprint(file, number < MOST_READ and not is_url(file.path)) for number, file in enumerate(files)]


def _fingerprint(file: SourceFile, is_read: bool) -> dict[str, Any]:
    known = {"path": file.path, "size": file.size, "modified": _time(file.modified), "num_jets": file.num_jets}
    return {**known, **_contents(Path(file.path)), "shapes": _shapes(file.path)} if is_read else known


def _contents(path: Path) -> dict[str, str]:
    """A hash of the file, or of its ends."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if size <= WHOLE:
            return {"sha256": hashlib.file_digest(file, "sha256").hexdigest()}
        hashed = hashlib.sha256(file.read(ENDS))
        file.seek(size - ENDS)
        hashed.update(file.read(ENDS))
    return {"sha256_of_ends": hashed.hexdigest()}


def _shapes(path: str) -> dict[str, list[int]]:
    """Dataset -> its shape."""
    shapes: dict[str, list[int]] = {}

    def note(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            shapes[name] = list(item.shape or ())

    with h5py.File(path, "r") as file:
        file.visititems(note)
    return shapes


def _time(modified: str) -> str:
    """When a file was written; what a server says of it, as it is."""
    nanoseconds = modified.partition(";")[0]
    if not nanoseconds.isdigit():
        return modified
    return datetime.fromtimestamp(int(nanoseconds) / 1e9).astimezone().isoformat(timespec="microseconds")
