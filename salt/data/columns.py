"""Columns: what a store holds of one stream, as arrays in memory or mapped from disk, gathered by jet.

Shapes: N jets of the store, r rows of them all (jets, or constituents), F input variables, B jets of a batch, t their
rows, k columns of one type of number.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from salt.ragged import Ragged, Segments


class Matrix(NamedTuple):
    """Neighbouring columns of one type of number."""

    names: tuple[str, ...]
    values: NDArray
    """(r, k), k as many as there are names."""


class Columns(ABC):
    """The input variables and labels of one stream.

    Parameters
    ----------
    inputs : Sequence[Matrix]
        The input variables, in any order.
    labels : Sequence[Matrix]
        Labels, and whatever else of the file is needed beside the inputs.
    variables : Sequence[str]
        The input variables, in the order that a batch has; empty for a stream that is no input.
    """

    def __init__(self, inputs: Sequence[Matrix], labels: Sequence[Matrix], variables: Sequence[str]) -> None:
        self.inputs = list(inputs)
        self.labels = list(labels)
        self.variables = list(variables)
        self._places = [_places(matrix.names, self.variables) for matrix in self.inputs]

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
        return sum(matrix.values.nbytes for matrix in (*self.inputs, *self.labels))

    @abstractmethod
    def lengths(self, jets: NDArray) -> NDArray:
        """(B,) number of constituents of these jets (B,); 0 for a stream with one row a jet."""

    @abstractmethod
    def rows(self, jets: NDArray) -> tuple[NDArray, Segments | None]:
        """(t,) the rows of these jets (B,), and where each jet's lie; None for a stream with one row a jet."""

    def gather(self, jets: NDArray, labels: Sequence[str]) -> tuple[Tensor | Ragged, dict[str, Tensor]]:
        """Input variables (float32), and these labels (int64 or float32), of these jets (B,), in that order."""
        rows, segments = self.rows(jets)
        values, found = self._select(rows, labels)
        return (values if segments is None else Ragged(values, segments)), found

    def column(self, name: str) -> NDArray:
        """(r,) a label or other column, as it is stored."""
        for matrix in self.labels:
            if name in matrix.names:
                return matrix.values[:, matrix.names.index(name)]
        raise KeyError(name)

    def _select(self, rows: NDArray, labels: Sequence[str]) -> tuple[Tensor, dict[str, Tensor]]:
        """Values (t, F) and labels (t,) of these rows."""
        found: dict[str, Tensor] = {}
        for matrix in self.labels:
            wanted = [name for name in matrix.names if name in labels]
            taken = matrix.values.take(rows, axis=0) if wanted else None
            for name in wanted:
                assert taken is not None
                found[name] = _label(taken[:, matrix.names.index(name)])
        return torch.from_numpy(self._values(rows)), {name: found[name] for name in labels}

    def _values(self, rows: NDArray) -> NDArray[np.float32]:
        """(t, F)."""
        if len(self.inputs) == 1 and self._places[0] == slice(0, len(self.variables)):
            return self.inputs[0].values.take(rows, axis=0).astype(np.float32, copy=False)
        values = np.empty((len(rows), len(self.variables)), np.float32)
        for matrix, places in zip(self.inputs, self._places, strict=True):
            values[:, places] = matrix.values.take(rows, axis=0)
        return values


def _places(names: Sequence[str], variables: Sequence[str]) -> slice | list[int]:
    """Where the columns of a matrix go in a batch: a slice where they are neighbours there too, which is faster."""
    places = [variables.index(name) for name in names]
    start = places[0] if places else 0
    return slice(start, start + len(places)) if places == list(range(start, start + len(places))) else places


def _label(column: NDArray) -> Tensor:
    """(t,) as losses want it: float32 or int64."""
    return torch.from_numpy(column.astype(np.float32 if column.dtype.kind == "f" else np.int64))


class JetColumns(Columns):
    """Columns of a stream with one row a jet.

    Parameters
    ----------
    inputs, labels, variables
        As in `Columns`.
    num_jets : int
        N.
    """

    def __init__(
        self, inputs: Sequence[Matrix], labels: Sequence[Matrix], variables: Sequence[str], num_jets: int
    ) -> None:
        super().__init__(inputs, labels, variables)
        self._num_jets = num_jets

    @property
    def num_jets(self) -> int:
        """N."""
        return self._num_jets

    @property
    def num_constituents(self) -> int:
        """0: a jet is not a constituent of itself."""
        return 0

    def lengths(self, jets: NDArray) -> NDArray:
        """(B,) zeros."""
        return np.zeros_like(jets)

    def rows(self, jets: NDArray) -> tuple[NDArray, Segments | None]:
        """The jets themselves."""
        return jets, None


class ConstituentColumns(Columns):
    """Columns of a stream with many rows a jet.

    Parameters
    ----------
    inputs, labels, variables
        As in `Columns`.
    offsets : NDArray
        (N + 1,) int64: jet n owns the rows offsets[n] to offsets[n + 1].
    """

    def __init__(
        self, inputs: Sequence[Matrix], labels: Sequence[Matrix], variables: Sequence[str], offsets: NDArray
    ) -> None:
        super().__init__(inputs, labels, variables)
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

    def rows(self, jets: NDArray) -> tuple[NDArray, Segments | None]:
        """(t,) rows of these jets, and where each jet's lie."""
        starts = self.offsets[jets]
        lengths = self.offsets[jets + 1] - starts
        segments = Segments.from_lengths(torch.from_numpy(lengths))
        shift = starts - segments.offsets[:-1].numpy()  # from a jet's place in the batch to that in the store
        rows = np.repeat(shift, lengths)
        rows += np.arange(len(rows))
        _ = segments.num_tokens, segments.runs, segments.run_sizes  # kept: integer work belongs to the loader
        return rows, segments


def make_columns(
    inputs: Sequence[Matrix], labels: Sequence[Matrix], variables: Sequence[str], lengths: NDArray, is_ragged: bool
) -> Columns:
    """Columns of jets with these numbers (N,) of rows: one each where the stream has one row a jet."""
    if not is_ragged:
        return JetColumns(inputs, labels, variables, len(lengths))
    offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    return ConstituentColumns(inputs, labels, variables, offsets)
