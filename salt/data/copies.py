"""Copy: a file or a folder, as it was when it was looked at, and its verified copy elsewhere."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

BLOCK_BYTES = 8 * 2**20
"""Bytes that are copied, and compared, at once."""


@dataclass(frozen=True)
class Copy:
    """What there is to copy, and where its copy goes: into a folder of its own, so that equal names do not meet.

    Parameters
    ----------
    source : str
        Absolute path of the file or folder, without links.
    name : str
        The name that the copy has.
    files : dict[str, list[int]]
        Path from the copy's own folder on -> size [bytes] and time of change [ns] of the source.
    """

    source: str
    name: str
    files: dict[str, list[int]]

    @classmethod
    def of(cls, path: Path, key: str) -> Copy:
        """Look at a file or folder; `key` is the YAML key that asks for its copy, for messages."""
        if not path.exists():
            raise FileNotFoundError(f"{key}: {path} is to be copied, but does not exist")
        source, name = path.resolve(), path.absolute().name
        return cls(str(source), name, _facts(source, name, key))

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Copy:
        """That which was described."""
        return cls(**content)

    def describe(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return asdict(self)

    @property
    def folder(self) -> str:
        """Name of the copy's own folder: another one for each path, size and time of change."""
        facts = json.dumps(self.describe(), sort_keys=True)
        return f"salt-{hashlib.blake2b(facts.encode(), digest_size=8).hexdigest()}"

    @property
    def num_bytes(self) -> int:
        """Size of all files."""
        return sum(size for size, _ in self.files.values())

    def write(self, place: Path, key: str, copied: Callable[[int], object]) -> None:
        """Copy into a folder that is there; says each number of bytes, when it is copied."""
        for name, (size, _) in self.files.items():
            target = place / name
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _copy(Path(self.source, *Path(name).parts[1:]), target, size, copied)
        if _facts(Path(self.source), self.name, key) != self.files:
            raise OSError(f"{key}: {self.source} changed while it was copied: wait until it is whole, then start again")

    def is_in(self, place: Path) -> bool:
        """Whether all files are there, of the right size."""
        with suppress(FileNotFoundError):
            return all((place / name).stat().st_size == size for name, (size, _) in self.files.items())
        return False

    def remove_from(self, place: Path) -> None:
        """Remove from a folder the files that we wrote, and folders that are empty then; nothing else."""
        for name in self.files:
            (place / name).unlink(missing_ok=True)
        folders = {parent for name in self.files for parent in Path(name).parents} - {Path()}
        for folder in sorted(folders, reverse=True):  # the inner ones first
            with suppress(OSError):
                (place / folder).rmdir()


def _facts(source: Path, name: str, key: str) -> dict[str, list[int]]:
    """Each file below `source`, as it will be below `name` -> its size and time of change."""
    facts = {}
    for file in sorted(_files(source)):
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(f"{key}: {file} is to be copied, but is no plain file")
        facts[str(name / file.relative_to(source))] = [status.st_size, status.st_mtime_ns]
    return facts


def _files(source: Path) -> Iterator[Path]:
    """All files of a folder and its folders, or the one file."""
    if not source.is_dir():
        yield source
    for folder, _, names in os.walk(source):
        yield from (Path(folder, name) for name in names)


def _copy(source: Path, target: Path, size: int, copied: Callable[[int], object]) -> None:
    """Copy the first `size` bytes of a file in blocks, each compared with what is read back."""
    with source.open("rb", buffering=0) as original, target.open("xb+", buffering=0) as copy:
        done = 0
        while block := original.read(min(BLOCK_BYTES, size - done)):
            left = memoryview(block)
            while left:
                left = left[copy.write(left) :]
            copy.seek(done)
            if copy.read(len(block)) != block:
                raise OSError(f"{target} differs from {source}, of which it is a copy: is the device in order?")
            done += len(block)
            copied(len(block))
