"""Columns: what a store holds of one stream, as rows in memory or mapped from disk, gathered by jet.

Shapes: N jets of the store, r rows of them all (jets, or constituents), F input variables, B jets of a batch, t their
rows.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from salt.data.record import Record
from salt.ragged import Ragged, Segments


class Gathered(NamedTuple):
    """What a batch has of one stream."""

    values: Tensor | Ragged
    """Input variables, float32: (B, F), or ragged."""
    labels: dict[str, Tensor]
    """Label -> (B,) or (t,), int64 or float32."""


class Columns(ABC):
    """The input variables and labels of one stream.

    Parameters
    ----------
    rows : NDArray
        (r,) rows, of the record's type.
    record : Record
        What is where in a row.
    """

    def __init__(self, rows: NDArray, record: Record) -> None:
        self.rows = rows
        self.record = record

    @property
    @abstractmethod
    def num_jets(self) -> int:
        """N."""

    @property
    @abstractmethod
    def num_constituents(self) -> int:
        """How many of them there are; 0 for a stream with one row a jet."""

    @property
    def num_bytes(self) -> int:
        """What the columns take."""
        return self.rows.nbytes

    @abstractmethod
    def lengths(self, jets: NDArray) -> NDArray:
        """(B,) number of constituents of these jets (B,); 0 for a stream with one row a jet."""

    @abstractmethod
    def places(self, jets: NDArray) -> NDArray:
        """(t,) where the rows of these jets (B,) are, one jet after the other."""

    @abstractmethod
    def segments(self, jets: NDArray) -> Segments | None:
        """Where each jet's rows lie among those of these jets (B,); None where each jet has one."""

    def gather(self, parts: Sequence[NDArray], labels: Sequence[str]) -> list[Gathered]:
        """What batches of these jets (B,) each have, in their order; all of it is copied at once.

        Parameters
        ----------
        parts : Sequence[NDArray]
            The jets of each batch.
        labels : Sequence[str]
            Which labels they have.
        """
        rows = self.rows.take(self.places(np.concatenate(parts)))
        segments = [self.segments(jets) for jets in parts]
        sizes = [len(jets) if of is None else of.num_tokens for jets, of in zip(parts, segments, strict=True)]
        values = self.record.values(rows).split(sizes)
        columns = {name: self.record.label(rows, name).split(sizes) for name in labels}
        return [
            Gathered(values[i] if of is None else Ragged(values[i], of), {name: c[i] for name, c in columns.items()})
            for i, of in enumerate(segments)
        ]

    def column(self, name: str) -> NDArray:
        """(r,) a label or other column, as it is stored."""
        return self.record.column(self.rows, name)


class JetColumns(Columns):
    """Columns of a stream with one row a jet."""

    @property
    def num_jets(self) -> int:
        """N."""
        return len(self.rows)

    @property
    def num_constituents(self) -> int:
        """0: a jet is not a constituent of itself."""
        return 0

    def lengths(self, jets: NDArray) -> NDArray:
        """(B,) zeros."""
        return np.zeros_like(jets)

    def places(self, jets: NDArray) -> NDArray:
        """The jets themselves."""
        return jets

    def segments(self, jets: NDArray) -> Segments | None:
        """None."""
        return None


class ConstituentColumns(Columns):
    """Columns of a stream with many rows a jet.

    Parameters
    ----------
    rows, record
        As in `Columns`.
    offsets : NDArray
        (N + 1,) int64: jet n owns the rows offsets[n] to offsets[n + 1].
    """

    def __init__(self, rows: NDArray, record: Record, offsets: NDArray) -> None:
        super().__init__(rows, record)
        self.offsets = offsets

    @property
    def num_jets(self) -> int:
        """N."""
        return len(self.offsets) - 1

    @property
    def num_constituents(self) -> int:
        """R."""
        return int(self.offsets[-1])

    @property
    def num_bytes(self) -> int:
        """What the columns take."""
        return super().num_bytes + self.offsets.nbytes

    def lengths(self, jets: NDArray) -> NDArray:
        """(B,) number of constituents of these jets."""
        return self.offsets[jets + 1] - self.offsets[jets]

    def places(self, jets: NDArray) -> NDArray:
        """(t,) where the rows of these jets are."""
        starts = self.offsets[jets]
        lengths = self.offsets[jets + 1] - starts
        return stretches(starts, lengths)

    def segments(self, jets: NDArray) -> Segments | None:
        """Where each jet's rows lie among those of these jets."""
        segments = Segments.from_lengths(torch.from_numpy(self.lengths(jets)))
        _ = segments.num_tokens, segments.runs, segments.run_sizes  # kept: integer work belongs to the loader
        return segments


def stretches(starts: NDArray, lengths: NDArray) -> NDArray:
    """(t,) the numbers from each of these starts (B,) on, as many as its length says, one stretch after the other."""
    places = np.repeat(starts - (np.cumsum(lengths) - lengths), lengths)  # from a place in the result to that there
    places += np.arange(len(places))
    return places


def make_columns(rows: NDArray, record: Record, lengths: NDArray | None) -> Columns:
    """Columns of jets with these numbers (N,) of rows; None for one row each."""
    if lengths is None:
        return JetColumns(rows, record)
    return ConstituentColumns(rows, record, np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]))
