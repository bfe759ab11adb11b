"""Nested mappings, read and copied with a change; the one that is given stays as it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any


def value_at(node: Any, keys: Sequence[str], default: Any = None) -> Any:
    """What stands under these keys, one inside the other; the default where nothing does."""
    for key in keys:
        if not isinstance(node, Mapping) or key not in node:
            return default
        node = node[key]
    return node


def with_value(node: Any, keys: Sequence[str], value: Any) -> dict[str, Any]:
    """A copy in which this value stands there."""
    node = node if isinstance(node, Mapping) else {}
    first, *rest = keys
    return {**node, first: with_value(node.get(first), rest, value) if rest else value}


def without(node: Any, keys: Sequence[str]) -> Any:
    """A copy in which nothing stands there; what has nothing there is given as it is."""
    first, *rest = keys
    if not isinstance(node, Mapping) or first not in node:
        return node
    if rest:
        return {**node, first: without(node[first], rest)}
    return {key: value for key, value in node.items() if key != first}


def changed(node: Any, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    """A copy in which every mapping is changed, the inner ones first."""
    if isinstance(node, list):
        return [changed(item, change) for item in node]
    if isinstance(node, Mapping):
        return change({key: changed(value, change) for key, value in node.items()})
    return node
