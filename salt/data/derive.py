"""Derivations: columns of a stream that are made of other columns while the store is built.

Shapes: r rows, of one block of jets or of the constituents that are kept of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np

Rows = Mapping[str, np.ndarray]
"""Field -> its values; "jets.pt" (the global object's name, a dot) -> the value of each row's jet.

Mostly (r,); (n, L) where a filter asks for a derived column of slots. What is computed has the same shape."""


class RowError(ValueError):
    """A row for which there is no value: whoever knows where the rows are from adds the place.

    Parameters
    ----------
    message : str
        What is wrong, and how to mend it.
    row : int
        The first such row of those that were given, counted through their shape.
    """

    def __init__(self, message: str, row: int) -> None:
        super().__init__(message)
        self.row = row


class Derivation(ABC):
    """A column made of others.

    Parameters
    ----------
    name : str
        Name of the column.
    key : str
        YAML key that asks for it, for messages.
    """

    def __init__(self, name: str, key: str) -> None:
        self.name = name
        self.key = key

    @abstractmethod
    def reads(self) -> list[str]:
        """Fields that it needs; of its own stream, or of the global object: "jets.pt"."""

    @abstractmethod
    def compute(self, rows: Rows) -> np.ndarray:
        """The column, in the shape of the fields, which are there as `reads` names them."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """What the result depends on, as JSON: part of the store's key."""
