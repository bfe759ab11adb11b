"""Arguments that classes had once, written as today's.

PredictionWriter had `jet_variables` and `track_variables`, the fields to copy, and `jet_classes`, the names of the
classes of jets.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from salt.cli.nested import value_at, with_value

log = logging.getLogger(__name__)

CLASS = "PredictionWriter"
FIELDS = {"jet_variables": "jets", "track_variables": "tracks"}
"""Argument -> the stream whose fields it lists."""
CLASSES = "jet_classes"


def rewritten(content: dict[str, Any], source: str) -> dict[str, Any]:
    """A config without such arguments; the one that is given stays as it is.

    Parameters
    ----------
    content : dict[str, Any]
        What the config says.
    source : str
        Its name, for messages.
    """
    callbacks = value_at(content, ["trainer", "callbacks"])
    if not isinstance(callbacks, list):
        return content
    global_object = value_at(content, ["data", "global_object"]) or FIELDS["jet_variables"]
    streams = {**FIELDS, "jet_variables": global_object}
    new = [_renewed(callback, streams, source) for callback in callbacks]
    if new == callbacks:
        return content
    content = with_value(content, ["trainer", "callbacks"], new)
    given = [value_at(callback, ["init_args", CLASSES]) for callback in callbacks]
    names = next((classes for classes in given if classes), None)
    return content if names is None else _named(content, list(names), global_object, source)


def _renewed(callback: Any, streams: Mapping[str, str], source: str) -> Any:
    """A callback with `extra_vars` in place of what it had once."""
    arguments = value_at(callback, ["init_args"])
    if not isinstance(arguments, Mapping) or not str(callback.get("class_path")).endswith(CLASS):
        return callback
    copied = {stream: list(arguments[name] or []) for name, stream in streams.items() if name in arguments}
    kept = {name: value for name, value in arguments.items() if name not in {*streams, CLASSES}}
    if copied:
        kept["extra_vars"] = {**copied, **(kept.get("extra_vars") or {})}
        log.info("read %s of %s (%s) as extra_vars", " and ".join(sorted({*streams} & {*arguments})), CLASS, source)
    return {**callback, "init_args": kept}


def _named(content: dict[str, Any], names: list[str], global_object: str, source: str) -> dict[str, Any]:
    """A config whose classifiers of the global object have these names of classes, where they have none."""
    keys = ("model", "model", "init_args", "tasks", "init_args", "modules")
    modules, found = [], []
    for module in value_at(content, keys) or []:
        arguments = value_at(module, ["init_args"]) or {}
        is_of_jets = str(module.get("class_path")).endswith("ClassificationTask")
        if is_of_jets and arguments.get("input_name") == global_object and not arguments.get("class_names"):
            module = {**module, "init_args": {**arguments, "class_names": names}}
            found.append(str(arguments.get("name")))
        modules.append(module)
    if not found:
        log.warning("%s of %s (%s) says nothing here: no task of %s lacks names", CLASSES, CLASS, source, global_object)
        return content
    log.info("read %s of %s (%s) as class_names of %s", CLASSES, CLASS, source, ", ".join(found))
    return with_value(content, keys, modules)
