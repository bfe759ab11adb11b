"""Old spellings of keys, rewritten before the parser sees them: one rule, one function.

A rule takes the value of an old key and gives the new keys with their values. Rules hold for each config by itself and
for the options of the command line. Keys are dotted.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from salt.cli.nested import value_at, with_value, without

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
        content = with_value(content, key.split("."), value)
    for old in RULES:
        content = without(content, old.split("."))
    return content


def rewrites(content: dict[str, Any], source: str) -> dict[str, Any]:
    """New key -> its value, of all old keys in a config; raises where it says something else of a new key besides."""
    found: dict[str, Any] = {}
    for old, rule in RULES.items():
        value = value_at(content, old.split("."), ABSENT)
        if value is ABSENT:
            continue
        new = rule(value)
        for key, wanted in new.items():
            given = value_at(content, key.split("."))
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
