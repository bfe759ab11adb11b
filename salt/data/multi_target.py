"""Targets that are taken from one field or another, as each row's truth says.

Shapes: r rows, jets or constituents of one block.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from salt.data.derive import Derivation, Rows
from salt.data.names import unknown

_KEY = "data.multi_target"
_OPERATORS: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    "==": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_FIELDS = ("input_name", "sel_label", "opp", "value", "source", "target", "custom_target")


class Replacement(NamedTuple):
    """One entry of data.multi_target: rows where `sel_label` `opp` `value` take their target from `source`."""

    target: str
    is_new: bool
    """Whether the target begins as NaN; else as the field of its name."""
    sel_label: str
    opp: str
    value: float
    source: str


def read_entries(entries: Sequence[Mapping[str, Any]]) -> dict[str, list[Replacement]]:
    """The entries of data.multi_target, by stream, in their order.

    Parameters
    ----------
    entries : Sequence[Mapping[str, Any]]
        Each with input_name (its stream), sel_label, opp, value, source, and either target or custom_target.
    """
    streams: dict[str, list[Replacement]] = {}
    for number, entry in enumerate(entries):
        replacement = _read(entry, f"{_KEY}[{number}]")
        streams.setdefault(entry["input_name"], []).append(replacement)
    return streams


def _read(entry: Mapping[str, Any], key: str) -> Replacement:
    """One entry, or an error that says what it lacks."""
    for name in entry:
        if name not in _FIELDS:
            raise ValueError(unknown("key", name, _FIELDS, key))
    missing = [name for name in _FIELDS[:5] if name not in entry]
    if missing:
        raise ValueError(f"{key} lacks {', '.join(missing)}; it has {', '.join(entry)}")
    target, custom = entry.get("target"), entry.get("custom_target")
    if (target is None) == (custom is None):
        raise ValueError(f"{key} must name either target (a label to change) or custom_target (a new one)")
    if entry["opp"] not in _OPERATORS:
        raise ValueError(unknown("operator", str(entry["opp"]), _OPERATORS, f"{key}.opp"))
    if isinstance(entry["value"], bool) or not isinstance(entry["value"], int | float):
        raise ValueError(f"{key}.value must be a number, not {entry['value']!r}")
    name = str(custom if target is None else target)
    return Replacement(name, target is None, entry["sel_label"], entry["opp"], entry["value"], entry["source"])


class MultiTarget(Derivation):
    """One target of data.multi_target: the last entry that a row matches gives its value.

    Rows of a custom target that match no entry are NaN, which a regression's loss leaves out.

    Parameters
    ----------
    name : str
        The target.
    entries : Sequence[Replacement]
        All entries of the stream, in their order: an entry sees what those before it have changed.
    """

    def __init__(self, name: str, entries: Sequence[Replacement]) -> None:
        super().__init__(name, _KEY)
        self.entries = _needed(name, entries)
        self._new = {entry.target for entry in self.entries if entry.is_new}

    def reads(self) -> list[str]:
        """Fields that the entries compare, or take values from."""
        names = [name for entry in self.entries for name in (entry.target, entry.sel_label, entry.source)]
        return [name for name in dict.fromkeys(names) if name not in self._new]

    def compute(self, rows: Rows) -> np.ndarray:
        """(r,) the target."""
        values = {name: rows[name] for name in self.reads()}
        shape = next(iter(values.values())).shape
        # half precision takes on the width of whatever it meets
        values.update({name: np.full(shape, np.nan, np.float16) for name in self._new})
        for entry in self.entries:
            matched = _OPERATORS[entry.opp](values[entry.sel_label], entry.value)
            values[entry.target] = np.where(matched, values[entry.source], values[entry.target])
        return values[self.name]

    def describe(self) -> dict[str, Any]:
        """The entries."""
        return {"kind": "multi_target", "name": self.name, "entries": [entry._asdict() for entry in self.entries]}


def _needed(name: str, entries: Sequence[Replacement]) -> list[Replacement]:
    """The entries that this target's values depend on, in their order."""
    needed, names = [], {name}
    for entry in reversed(entries):
        if entry.target in names:
            needed.append(entry)
            names |= {entry.sel_label, entry.source}
    return needed[::-1]
