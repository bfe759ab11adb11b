"""Columns: what a store holds of one stream, as arrays in memory, gathered by jet.

Shapes: N jets of the store, T constituents of them all, F input variables, B jets of a batch, t their constituents.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import torch
from torch import Tensor

from salt.ragged import Ragged, Segments


class Columns(ABC):
    """The input variables and labels of one stream.

    Parameters
    ----------
    values : Tensor
        (rows, F) float32 input variables, in column order.
    labels : dict[str, Tensor]
        Label -> (rows,) int64 or float32.
    """

    def __init__(self, values: Tensor, labels: dict[str, Tensor]) -> None:
        self.values = values
        self.labels = labels

    @property
    @abstractmethod
    def num_jets(self) -> int:
        """N."""

    @property
    @abstractmethod
    def num_constituents(self) -> int:
        """T; 0 for a stream with one row a jet."""

    @property
    def num_bytes(self) -> int:
        """Memory that the columns take."""
        return sum(x.numel() * x.element_size() for x in (self.values, *self.labels.values()))

    @abstractmethod
    def lengths(self, index: Tensor) -> Tensor:
        """(B,) number of constituents of these jets."""

    @abstractmethod
    def gather(self, index: Tensor) -> tuple[Tensor | Ragged, dict[str, Tensor]]:
        """Input variables and labels of these jets (B,), in that order."""

    def _select(self, rows: np.ndarray) -> tuple[Tensor, dict[str, Tensor]]:
        return _take(self.values, rows), {label: _take(column, rows) for label, column in self.labels.items()}


def _take(column: Tensor, rows: np.ndarray) -> Tensor:
    """`column[rows]`, by numpy: torch would start threads that fight with those of the training step."""
    return torch.from_numpy(column.numpy().take(rows, axis=0))


class JetColumns(Columns):
    """Columns of a stream with one row a jet: values (N, F)."""

    @property
    def num_jets(self) -> int:
        """N."""
        return self.values.shape[0]

    @property
    def num_constituents(self) -> int:
        """0: a jet is not a constituent of itself."""
        return 0

    def lengths(self, index: Tensor) -> Tensor:
        """(B,) zeros."""
        return torch.zeros_like(index)

    def gather(self, index: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Values (B, F) and labels (B,) of these jets."""
        return self._select(index.numpy())


class ConstituentColumns(Columns):
    """Columns of a stream with many rows a jet: values (T, F).

    Parameters
    ----------
    values : Tensor
        (T, F) float32 input variables, in column order.
    labels : dict[str, Tensor]
        Label -> (T,) int64 or float32.
    offsets : Tensor
        (N + 1,) int64: jet n owns the rows offsets[n] to offsets[n + 1].
    """

    def __init__(self, values: Tensor, labels: dict[str, Tensor], offsets: Tensor) -> None:
        super().__init__(values, labels)
        self.offsets = offsets

    @property
    def num_jets(self) -> int:
        """N."""
        return self.offsets.shape[0] - 1

    @property
    def num_constituents(self) -> int:
        """T."""
        return self.values.shape[0]

    @property
    def num_bytes(self) -> int:
        """Memory that the columns take."""
        return super().num_bytes + self.offsets.numel() * self.offsets.element_size()

    def lengths(self, index: Tensor) -> Tensor:
        """(B,) number of constituents of these jets."""
        return self.offsets[index + 1] - self.offsets[index]

    def gather(self, index: Tensor) -> tuple[Ragged, dict[str, Tensor]]:
        """Values (t, F), ragged, and labels (t,) of these jets."""
        lengths = self.lengths(index)
        segments = Segments.from_lengths(lengths)
        shift = self.offsets[index] - segments.offsets[:-1]  # from a jet's place in the batch to that in the store
        rows = np.repeat(shift.numpy(), lengths.numpy())
        rows += np.arange(segments.num_tokens)
        values, labels = self._select(rows)
        _ = segments.runs, segments.run_sizes  # kept: integer work belongs to the loader's thread
        return Ragged(values, segments), labels
