"""Filters: which of the constituents that a file holds are kept.

Shapes: n jets of a block, L slots of each.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from salt.data.derive import Rows

if TYPE_CHECKING:
    from ftag.cuts import Cut

_CUT = re.compile(r"\s*(\w+)\s*(%\d+\s*[=!<>]=|[=!<>]=|<|>|\b(?:not)?in\b)\s*(.+?)\s*")
_MEMBERS = {"in", "notin"}


class Filter(ABC):
    """Which constituents are kept; slots without one never are, whatever a filter says.

    Parameters
    ----------
    key : str
        YAML key that asks for it, for messages.
    """

    def __init__(self, key: str) -> None:
        self.key = key

    @abstractmethod
    def reads(self) -> list[str]:
        """Fields of the constituents that it needs."""

    @abstractmethod
    def kept(self, slots: Rows) -> np.ndarray:
        """(n, L) bool, from fields (n, L) that are there as `reads` names them."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """What the result depends on, as JSON: part of the store's key."""


class Selection(Filter):
    """Constituents that pass all of these cuts; no number passes a comparison with NaN, as in numpy.

    Parameters
    ----------
    cuts : Sequence[str]
        Cuts as atlas-ftag-tools writes them: a field, an operator (== != < > <= >= in notin, or %4== for a remainder)
        and a number, nan, inf or (for in and notin) a list: "d0 < 3.5", "numberOfPixelHits in [1, 2]", "pt != nan".
    key : str
        YAML key that they stand at, for messages.
    """

    def __init__(self, cuts: Sequence[str], key: str = "data.selections") -> None:
        super().__init__(key)
        if isinstance(cuts, str):
            raise ValueError(f"{key}: {cuts!r} must be a list of cuts: [{cuts!r}]")
        self.cuts = [parse_cut(cut, key) for cut in cuts]

    def reads(self) -> list[str]:
        """Fields that the cuts name."""
        return list(dict.fromkeys(cut.variable for cut in self.cuts))

    def kept(self, slots: Rows) -> np.ndarray:
        """(n, L) bool: which constituents pass all cuts."""
        return passed(self.cuts, slots)

    def describe(self) -> dict[str, Any]:
        """The cuts."""
        return {"kind": "selection", "cuts": [str(cut) for cut in self.cuts]}


def passed(cuts: Iterable[Cut], rows: Rows) -> np.ndarray:
    """Bool, in the shape of the fields: which rows pass all of these cuts (at least one)."""
    return np.logical_and.reduce([cut(rows) for cut in cuts])


def parse_cut(text: str, key: str) -> Cut:
    """One cut of a list, or an error that says how to write it.

    Parameters
    ----------
    text : str
        The cut: "d0 < 3.5".
    key : str
        YAML key that it stands at, for messages.
    """
    from ftag.cuts import OPERATORS, Cut  # takes a tenth of a second, which few commands need

    match = _CUT.fullmatch(str(text))
    if match is None:
        raise ValueError(f"{key}: cannot read the cut {text!r}; a cut is a field, an operator and a value: 'd0 < 3.5'")
    field, operator, value = match[1], match[2].replace(" ", ""), match[3]
    if operator not in OPERATORS:
        raise ValueError(f"{key}: no operator {operator!r} in the cut {text!r}; remainders are %2== to %100==")
    cut = Cut(field, operator, value)
    _check_value(cut, f"{key}: the cut {text!r}")
    return cut


def _check_value(cut: Cut, what: str) -> None:
    """Raise where the value of a cut is none that its operator compares with."""
    wanted = "a list of numbers" if cut.operator in _MEMBERS else "a number"
    try:
        value: Any = cut.value
    except (ValueError, SyntaxError) as error:
        raise ValueError(f"{what} must compare with {wanted}, not with {cut._value!r}") from error
    members = value if isinstance(value, list | tuple | set) else [value]
    if not all(isinstance(member, bool | int | float) for member in members):
        raise ValueError(f"{what} must compare with {wanted}, not with {cut._value!r}")
    if (members is value) != (cut.operator in _MEMBERS):
        raise ValueError(f"{what}: {cut.operator!r} takes {wanted}, not {cut._value!r}")
    if value != value and cut.operator not in {"==", "!="}:
        raise ValueError(f"{what}: nan is compared with == or != only")
