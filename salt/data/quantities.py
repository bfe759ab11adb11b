"""Quantity: a column of the jets, or its absolute value; a Cut asks it for yes or no, an Axis for a bin.

Shapes: n jets.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from salt.data.names import unknown

NAME = re.compile(r"abs\((?P<inner>\w+)\)|\w+")
CUT = re.compile(r"\s*(abs\(\w+\)|\w+)\s*(%\d+[=!<>]=|[=!<>]=|[<>]|\bnotin\b|\bin\b)\s*(\S.*?)\s*")


@dataclass(frozen=True)
class Quantity:
    """A column of the global object: `eta`, or `abs(eta)`.

    Parameters
    ----------
    name : str
        As the user wrote it.
    key : str
        Where, for messages.
    """

    name: str
    key: str

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} ({self.key}) is neither a column nor abs(column)")

    @property
    def column(self) -> str:
        """Name of the column."""
        match = NAME.fullmatch(self.name)
        return (match and match["inner"]) or self.name

    def of(self, values: np.ndarray) -> np.ndarray:
        """(n,) from the values (n,) of the column."""
        return values if self.column == self.name else np.abs(values)


@dataclass(frozen=True)
class Cut:
    """A condition on a quantity, in the syntax of atlas-ftag-tools: `pt > 20_000`, `[eventNumber, "%10<=", 7]`.

    Parameters
    ----------
    quantity : Quantity
        What is asked.
    operator : str
        ==, !=, >=, <=, >, <, in, notin, or %n before ==, !=, <=, >= for the remainder of a division by n.
    value : Any
        What it is compared to.
    """

    quantity: Quantity
    operator: str
    value: Any

    @classmethod
    def read(cls, written: str | Sequence[Any], key: str) -> Cut:
        """The cut that a user wrote, as a text or as three words; `key` is where."""
        from ftag.cuts import OPERATORS
        from ftag.cuts import Cut as FtagCut

        match = CUT.fullmatch(written) if isinstance(written, str) else None
        parts = list(match.groups()) if match else list(written)
        if (isinstance(written, str) and not match) or len(parts) != 3:
            raise ValueError(f"the cut {written!r} ({key}) is not like 'pt > 20_000' or [pt, '>', 20_000]")
        name, operator, value = parts
        if operator not in OPERATORS:
            raise ValueError(unknown("operator", operator, [name for name in OPERATORS if "%" not in name], key))
        try:
            value = FtagCut(name, operator, value).value
        except (SyntaxError, ValueError) as error:
            raise ValueError(f"in the cut {written!r} ({key}), {value!r} is no number") from error
        return cls(Quantity(name, key), operator, value)

    def passed(self, values: np.ndarray) -> np.ndarray:
        """(n,) bool from the values (n,) of the column."""
        from ftag.cuts import Cut as FtagCut

        name = self.quantity.name
        return FtagCut(name, self.operator, self.value)({name: self.quantity.of(values)})


@dataclass(frozen=True)
class Axis:
    """The bins of a quantity.

    Parameters
    ----------
    quantity : Quantity
        What is binned.
    edges : np.ndarray
        (bins + 1,) ascending. A bin holds its lower edge; the last one both.
    """

    quantity: Quantity
    edges: np.ndarray

    @classmethod
    def read(cls, name: str, written: Any, key: str) -> Axis:
        """The axis of `{bins: [[first, last, number], ...]}`, as UPP writes it, or of a list of edges."""
        key = f"{key}.{name}"
        if isinstance(written, Mapping):
            for option in written:
                if option != "bins":
                    raise ValueError(unknown("option", option, ["bins"], key))
            written = written.get("bins")
        bins = list(written or [])
        regions = [region for region in bins if isinstance(region, Sequence)]
        if any(len(region) != 3 for region in regions) or len(regions) not in (0, len(bins)):
            raise ValueError(f"{key} is neither [[first, last, number], ...] nor a list of edges: {written}")
        for (_, last, _), (first, _, _) in pairwise(regions):
            if first != last:
                raise ValueError(f"{key}: one region of bins ends at {last}, and the next begins at {first}")
        parts = [
            np.linspace(first, last, int(number) + 1)[index > 0 :]
            for index, (first, last, number) in enumerate(regions)
        ]
        edges = np.concatenate(parts) if parts else np.asarray(bins, float)
        if len(edges) < 2 or not (np.diff(edges) > 0).all():
            raise ValueError(f"{key} needs edges that ascend, at least two: {written}")
        return cls(Quantity(name, key), edges)

    def __len__(self) -> int:
        return len(self.edges) - 1

    def bins(self, values: np.ndarray) -> np.ndarray:
        """(n,) numbers of the bins of the values (n,) of the column; -1 outside of all, and for NaN."""
        quantity = self.quantity.of(values).astype(float)
        numbers = np.searchsorted(self.edges, quantity, side="right") - 1
        numbers[quantity == self.edges[-1]] = len(self) - 1
        return np.where(numbers < len(self), numbers, -1)
