"""Differences between two configs, or two records: which keys have other values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

LONGEST = 80
"""Characters of a value that a line shows."""


class Absent:
    """Stands for the value of a key that is not there."""

    def __repr__(self) -> str:
        return "nothing"


ABSENT = Absent()


class Difference(NamedTuple):
    """A dotted key, and its values before and after."""

    key: str
    before: Any
    after: Any

    def __str__(self) -> str:
        return f"{self.key}: {shown(self.before)} -> {shown(self.after)}"


def differences(before: Any, after: Any, is_left_out: Callable[[str], bool] | None = None) -> list[Difference]:
    """What differs between two nested mappings, in the order of their keys.

    Parameters
    ----------
    before, after : Any
        Mappings, as YAML files have them.
    is_left_out : Callable[[str], bool] | None
        Which dotted keys are not looked at; None: all are.
    """
    one, other = dict(flat(before)), dict(flat(after))
    keys = [key for key in {**one, **other} if is_left_out is None or not is_left_out(key)]
    found = (Difference(key, one.get(key, ABSENT), other.get(key, ABSENT)) for key in keys)
    return [each for each in found if not _is_alike(each.before, each.after)]


def flat(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and values of a nested mapping; lists of mappings are numbered, other lists are values."""
    if isinstance(node, Mapping) and node:
        for name, value in node.items():
            yield from flat(value, f"{key}.{name}" if key else str(name))
    elif isinstance(node, list) and any(isinstance(item, Mapping) for item in node):
        for number, item in enumerate(node):
            yield from flat(item, f"{key}[{number}]")
    elif key:
        yield key, node


def shown(value: Any) -> str:
    """A value in a line; of a long one the beginning."""
    text = " ".join(str(value).split()) if isinstance(value, str) and value else repr(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def _is_alike(one: Any, other: Any) -> bool:
    """Whether two values say the same: what is not given and null do, 1 and 1.0 do not."""
    if {type(one), type(other)} <= {Absent, type(None)}:
        return True
    return type(one) is type(other) and (one == other or (one != one and other != other))
