"""Places in a config, and the classes that it names there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jsonargparse import Namespace
from jsonargparse._util import import_object

Path = tuple[str | int, ...]
"""Keys of a place, one inside the other; numbers are those of items of a list."""

OF_CLASS = frozenset({"class_path", "init_args", "dict_kwargs"})


def key_of(path: Path) -> str:
    """The dotted key of a place."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


def arguments(node: Any) -> Mapping[str, Any]:
    """The arguments that a config gives to a class; those without the word init_args, too."""
    if not isinstance(node, Mapping):
        return {}
    return {**(node.get("init_args") or {}), **{key: value for key, value in node.items() if key not in OF_CLASS}}


def spelled_out(node: Any, before: Any) -> Any:
    """What goes over a config, with the word init_args where arguments of a class of that config are given without."""
    if not isinstance(node, Mapping) or not isinstance(before, Mapping):
        return node
    is_short = "class_path" in before and not OF_CLASS & {*node}
    node = {"init_args": node} if is_short else node
    return {key: spelled_out(value, before.get(key)) for key, value in node.items()}


def class_of(node: Any, of: type) -> Any:
    """The class that a config names, in full or as the face of the models knows it; None: none of this kind."""
    path = node.get("class_path") if isinstance(node, Mapping) else node
    if not isinstance(path, str):
        return None
    try:
        found = import_object(path if "." in path else f"salt.models.{path}")
    except (ImportError, AttributeError, ValueError):
        return None  # the parser says so
    return found if isinstance(found, type) and issubclass(found, of) else None


def at(node: Any, path: Path) -> Any:
    """What stands in a place; None: nothing."""
    for key in path:
        if isinstance(node, Mapping):
            node = arguments(node) if key == "init_args" else node.get(str(key))
        elif isinstance(node, list) and isinstance(key, int) and key < len(node):
            node = node[key]
        else:
            return None
    return node


def put(node: Any, path: Path, value: Any, whole: Any) -> Any:
    """A copy in which a value stands in a place; classes that are not named on the way there are as `whole` has them.

    A list that is not as long as that of `whole` stays as it is: another takes its place.
    """
    if not path:
        return value
    key, rest = path[0], path[1:]
    if isinstance(key, int):
        if not isinstance(node, list) or len(node) != len(whole):
            return node
        return [put(each, rest, value, whole[key]) if place == key else each for place, each in enumerate(node)]
    node, whole = ({"class_path": each} if isinstance(each, str) else dict(each or {}) for each in (node, whole))
    if key == "init_args" and "class_path" in whole:
        node.setdefault("class_path", whole["class_path"])
    return {**node, key: put(node.get(key), rest, value, whole.get(key))}


def plain(node: Any) -> Any:
    """What is parsed, as mappings and lists."""
    if isinstance(node, Namespace):
        node = vars(node)
    if isinstance(node, Mapping):
        return {key: plain(value) for key, value in node.items()}
    return [plain(each) for each in node] if isinstance(node, list) else node
