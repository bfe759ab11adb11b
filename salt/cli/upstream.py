"""Old spellings of keys, rewritten before the parser sees them: one rule, one function.

A rule takes the value of an old key and gives the new keys with their values. Rules hold for each config by itself and
for the options of the command line. Keys are dotted.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

log = logging.getLogger(__name__)

Rule = Callable[[Any], dict[str, Any]]

ABSENT = object()

JET = "jet"
"""What `data.inputs` calls the global object."""


def renamed(new: str, value: Any) -> dict[str, Any]:
    """The same value under another key."""
    return {new: value}


def inputs(value: Any) -> dict[str, Any]:
    """`{jet: jets, track: tracks_loose}`: the streams jets and tracks, and their datasets in the file.

    Which variables they have is for data.variables to say, or for files of umami's layout, which name them.
    """
    if not isinstance(value, Mapping) or JET not in value or not all(isinstance(of, str) for of in value.values()):
        raise ValueError(
            f"data.inputs is {value}; expected the datasets of jets and tracks in the file\n"
            "  mend: write data.inputs: {jet: jets, track: tracks_loose}, or data.global_object and data.input_map"
        )
    streams = {f"{name}s": dataset for name, dataset in value.items()}
    return {"data.global_object": f"{JET}s", "data.input_map": streams}


RULES: dict[str, Rule] = {
    "data.scale_dict": partial(renamed, "data.norm_dict"),
    "data.num_jets_train": partial(renamed, "data.num_train"),
    "data.num_jets_val": partial(renamed, "data.num_val"),
    "data.num_jets_test": partial(renamed, "data.num_test"),
    "data.inputs": inputs,
    "model.lrs_config.start": partial(renamed, "model.lrs_config.initial"),
}
"""Old key -> the rule for it."""


def is_old(key: str) -> bool:
    """Whether a key is an old one, or inside one."""
    parts = key.split(".")
    return any(".".join(parts[:number]) in RULES for number in range(1, len(parts) + 1))


def rewritten(content: dict[str, Any], source: str) -> dict[str, Any]:
    """A config with new keys in place of old ones; the one that is given stays as it is.

    Parameters
    ----------
    content : dict[str, Any]
        What the config says.
    source : str
        Its name, for messages.
    """
    for key, value in rewrites(content, source).items():
        content = _with(content, key.split("."), value)
    for old in RULES:
        content = _without(content, old.split("."))
    return content


def rewrites(content: dict[str, Any], source: str) -> dict[str, Any]:
    """New key -> its value, of all old keys in a config; raises where it says something else of a new key besides."""
    found: dict[str, Any] = {}
    for old, rule in RULES.items():
        value = _get(content, old, ABSENT)
        if value is ABSENT:
            continue
        new = rule(value)
        for key, wanted in new.items():
            given = _get(content, key)
            if _differ(given, wanted):
                raise ValueError(
                    f"{source} has {old} {value}, which means {key} {wanted}, but {key} {given} besides\n"
                    f"  mend: leave {old} out: {key} is the word for it now"
                )
            found[key] = {**given, **wanted} if isinstance(given, Mapping) else wanted
        shown = ", ".join(f"{key} {wanted}" for key, wanted in new.items())
        log.info("read %s %s (%s) as %s", old, value, source, shown)
    return found


def _differ(given: Any, wanted: Any) -> bool:
    """Whether two values of a key contradict each other; None says nothing."""
    if isinstance(given, Mapping) and isinstance(wanted, Mapping):
        return any(_differ(given.get(key), value) for key, value in wanted.items())
    return given is not None and given != wanted


def _get(content: Mapping[str, Any], key: str, default: Any = None) -> Any:
    """What stands under a dotted key."""
    node: Any = content
    for part in key.split("."):
        if not isinstance(node, Mapping) or part not in node:
            return default
        node = node[part]
    return node


def _with(content: Any, parts: Sequence[str], value: Any) -> dict[str, Any]:
    """A copy in which a key has this value."""
    content = content if isinstance(content, Mapping) else {}
    first, *rest = parts
    return {**content, first: _with(content.get(first), rest, value) if rest else value}


def _without(content: Any, parts: Sequence[str]) -> Any:
    """A copy in which a key is not; what does not have it is given as it is."""
    first, *rest = parts
    if not isinstance(content, Mapping) or first not in content:
        return content
    if rest:
        return {**content, first: _without(content[first], rest)}
    return {key: value for key, value in content.items() if key != first}
