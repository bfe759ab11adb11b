"""Manifest: what a store on disk holds, as its `manifest.json` says."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from salt.data.sources import SourceFile

NAME = "manifest.json"


@dataclass(frozen=True)
class StoredMatrix:
    """A matrix (r, k) as a raw file in C order: its name in the folder, the type of its numbers, its columns."""

    file: str
    dtype: str
    names: tuple[str, ...]

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return np.dtype(self.dtype).itemsize * len(self.names)


@dataclass(frozen=True)
class StoredStream:
    """What is stored of one stream.

    Parameters
    ----------
    variables : tuple[str, ...]
        Input variables, in the order that a batch has.
    rows : int
        How many rows there are: jets, or constituents.
    inputs, labels : tuple[StoredMatrix, ...]
        The matrices.
    offsets : str | None
        File of the (N + 1,) int64 offsets of the jets' constituents; None for a stream with one row a jet.
    ranges : dict[str, tuple[int, int]]
        Smallest and largest value of each label that is an integer.
    """

    variables: tuple[str, ...]
    rows: int
    inputs: tuple[StoredMatrix, ...]
    labels: tuple[StoredMatrix, ...]
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
    """

    key: str
    recipe: dict[str, Any]
    sources: tuple[SourceFile, ...]
    num_jets: int
    streams: dict[str, StoredStream]

    @property
    def is_complete(self) -> bool:
        """Whether it holds all jets of its files."""
        return self.num_jets == sum(source.num_jets for source in self.sources)

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
            return cls(content["key"], content["recipe"], sources, content["num_jets"], streams)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None


def _stream(content: dict[str, Any]) -> StoredStream:
    matrices = {
        role: tuple(StoredMatrix(m["file"], np.dtype(m["dtype"]).str, tuple(m["names"])) for m in content[role])
        for role in ("inputs", "labels")
    }
    ranges = {name: (low, high) for name, (low, high) in content["ranges"].items()}
    return StoredStream(
        tuple(content["variables"]), content["rows"], **matrices, offsets=content["offsets"], ranges=ranges
    )
