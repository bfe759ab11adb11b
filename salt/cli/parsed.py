"""What a parsed config says: its schema, its tasks, the columns that it makes; and how something is filled in."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from jsonargparse import Namespace

from salt.types import Schema, features_of_pairs

log = logging.getLogger(__name__)


def schema(config: Namespace) -> Schema:
    """The schema of a config."""
    data = config.data
    edges = features_of_pairs(data.get("edge_constructors"))
    return Schema(data.variables, data.global_object, data.input_map or {}, edges)


def tasks(config: Namespace) -> Iterator[tuple[str, Namespace]]:
    """The arguments of each task, with the key under which they stand."""
    model = config.model.model
    arguments = model.get("init_args", Namespace()) if model is not None else Namespace()
    modules = arguments.get("tasks.init_args.modules") or []
    for i, task in enumerate(modules):
        yield f"model.model.init_args.tasks.init_args.modules[{i}].init_args", task.get("init_args", Namespace())


def made(config: Namespace, stream: str) -> set[str]:
    """Columns of a stream that the file need not have: they are made of others."""
    data = config.data
    names = set((data.new_variables or {}).get(stream, {}))
    targets = [entry for entry in data.multi_target or [] if entry.get("input_name") == stream]
    names |= {entry["custom_target"] for entry in targets if entry.get("custom_target")}
    if data.labeller_config and data.labeller_config.use_labeller and stream == data.global_object:
        names.add("flavour_label")
    return names


def fill(node: Namespace, key: str, value: Any, prefix: str, source: str) -> None:
    """Put a value under a key, and say so: the key after what stands before it, and where the value is from."""
    node[key] = value
    shown = ", ".join(map(str, value)) if isinstance(value, list) else value
    log.info("filled %s%s = %s from %s", prefix, key, shown, source)
