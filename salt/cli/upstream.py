"""Old spellings of keys, rewritten before the parser sees them: one rule, one function.

A rule takes the value of an old key and gives the new keys with their values. Rules hold for each config by itself and
for the options of the command line. Keys are dotted.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial, reduce
from typing import Any

import yaml
from jsonargparse import get_loader

log = logging.getLogger(__name__)

Rule = Callable[[Any], dict[str, Any]]

COMMAND_LINE = "the command line"

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
}
"""Old key -> the rule for it."""


def in_content(content: dict[str, Any], source: str) -> dict[str, Any]:
    """A config with new keys in place of old ones; the one that is given stays as it is.

    Parameters
    ----------
    content : dict[str, Any]
        What the config says.
    source : str
        Its name, for messages.
    """
    for old in RULES:
        *parents, last = old.split(".")
        node = reduce(_below, parents, content)
        if last in node:
            content = _without(content, old.split("."))
            content = reduce(
                lambda of, entry: _with(of, entry[0].split("."), entry[1]),
                _rewritten(old, node[last], partial(_get, content), source).items(),
                content,
            )
    return content


def _rewritten(old: str, value: Any, look: Callable[[str], Any], source: str) -> dict[str, Any]:
    """The new keys for an old one; raises where the config says something else of them."""
    new = RULES[old](value)
    for key, wanted in new.items():
        given = look(key)
        if given is not None and given != wanted:
            raise ValueError(
                f"{source} has {old} {value}, which means {key} {wanted}, and {key} {given} besides\n"
                f"  mend: leave {old} out: {key} is the word for it now"
            )
    shown = ", ".join(f"{key} {wanted}" for key, wanted in new.items())
    log.info("read %s %s (%s) as %s", old, value, source, shown)
    return new


def _below(node: Any, key: str) -> Mapping[str, Any]:
    below = node.get(key)
    return below if isinstance(below, Mapping) else {}


def _get(content: Mapping[str, Any], key: str) -> Any:
    """What stands under a dotted key; None: nothing."""
    *parents, last = key.split(".")
    return reduce(_below, parents, content).get(last)


def _without(content: Mapping[str, Any], parts: Sequence[str]) -> dict[str, Any]:
    """A copy in which a key that is there is not."""
    first, *rest = parts
    if not rest:
        return {key: value for key, value in content.items() if key != first}
    return {**content, first: _without(content[first], rest)}


def _with(content: Mapping[str, Any], parts: Sequence[str], value: Any) -> dict[str, Any]:
    """A copy in which a key has this value."""
    first, *rest = parts
    return {**content, first: _with(_below(content, first), rest, value) if rest else value}


def in_options(arguments: Sequence[str]) -> list[str]:
    """The arguments of a command line with new options, at their end, in place of old ones."""
    rest, old = [], dict[str, Any]()
    given = {}
    remaining = iter(arguments)
    for argument in remaining:
        name, equals, text = argument.partition("=")
        key = name.removeprefix("--")
