"""Manifest: what a store on disk holds, as its `manifest.json` says."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from salt.data.record import Group, Record
from salt.data.sources import SourceFile

NAME = "manifest.json"


@dataclass(frozen=True)
class StoredStream:
    """What is stored of one stream.

    Parameters
    ----------
    file : str
        File of the rows, one after the other.
    rows : int
        How many rows there are: jets, or constituents.
    record : Record
        What is where in a row.
    offsets : str | None
        File of the (N + 1,) int64 offsets of the jets' constituents; None for a stream with one row a jet.
    ranges : dict[str, tuple[int, int]]
        Smallest and largest value of each label that is an integer.
    """

    file: str
    rows: int
    record: Record
    offsets: str | None
    ranges: dict[str, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Manifest:
    """What a store holds, and of which files it was made.

    Parameters
    ----------
    key : str
        Key of the recipe.
    recipe : dict[str, Any]
        Its description.
    sources : tuple[SourceFile, ...]
        The files, as they were.
    num_jets : int
        Jets of the store, the first of the sample.
    streams : dict[str, StoredStream]
        Stream -> what is stored of it.
    is_mixed : bool
        Whether the jets are in a random order; else they are in that of the files.
    """

    key: str
    recipe: dict[str, Any]
    sources: tuple[SourceFile, ...]
    num_jets: int
    streams: dict[str, StoredStream]
    is_mixed: bool = False

    @property
    def is_complete(self) -> bool:
        """Whether it holds all jets of its files."""
        return self.num_jets == sum(source.num_jets for source in self.sources)

    def sizes(self) -> dict[str, int]:
        """File -> its size [bytes]."""
        sizes = {stream.file: stream.rows * stream.record.dtype.itemsize for stream in self.streams.values()}
        return sizes | {of.offsets: 8 * (self.num_jets + 1) for of in self.streams.values() if of.offsets is not None}

    def changed(self, sources: Sequence[SourceFile]) -> str | None:
        """In words, what is another in these files than in those that the store was made of; None where nothing is."""
        for old, new in zip(self.sources, sources, strict=True):
            if (old.size, old.modified) != (new.size, new.modified):
                return f"{new.path} has changed since (it had {old.size} bytes, now {new.size})"
        return None

    def write(self, folder: Path) -> None:
        """Write it into a folder."""
        content = asdict(self) | {"sources": [source._asdict() for source in self.sources]}
        (folder / NAME).write_text(json.dumps(content, indent=1) + "\n")

    @classmethod
    def read(cls, folder: Path) -> Manifest | None:
        """That of a folder; None where there is none, or one that cannot be read, damaged or of another version."""
        try:
            content = json.loads((folder / NAME).read_text())
            streams = {name: _stream(stream) for name, stream in content["streams"].items()}
            sources = tuple(SourceFile(**source) for source in content["sources"])
            return cls(content["key"], content["recipe"], sources, content["num_jets"], streams, content["is_mixed"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None


def _stream(content: dict[str, Any]) -> StoredStream:
    groups = {
        role: tuple(Group(tuple(g["names"]), np.dtype(g["dtype"]).str, g["start"]) for g in content["record"][role])
        for role in ("inputs", "labels")
    }
    ranges = {name: (low, high) for name, (low, high) in content["ranges"].items()}
    return StoredStream(content["file"], content["rows"], Record(**groups), content["offsets"], ranges)
