"""The configs of a command line: base.yaml, each --config over it, then the options; mappings, merged in that order.

Mappings merge, everything else is replaced: lists too, and the arguments of a class where another takes its place.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from jsonargparse import get_loader

from salt.cli import class_paths, moved, retired, saved, upstream
from salt.cli.documents import document
from salt.training.run_files import open_run_file

COMMAND_LINE = "the command line"


class Source(NamedTuple):
    """Something that the user wrote: what to call it in a message, and what it says."""

    name: str
    content: dict[str, Any]


def split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The files of --config, and the arguments without them, in today's spelling."""
    files, rest, is_file = [], [], False
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if is_file:
            files.append(argument)
        elif key in {"-c", "--config"} and equals:
            files.append(value)
        elif key not in {"-c", "--config"}:
            rest.append(argument)
        is_file = not is_file and key in {"-c", "--config"} and not equals
    if is_file:
        raise ValueError("--config is the last argument: name a file after it")
    return files, class_paths.renewed(_renewed(rest))


def _renewed(arguments: Sequence[str]) -> list[str]:
    """The arguments, with new options in place of old ones, which come last."""
    old: list[str] = []
    rest: list[str] = []
    here, is_value = rest, False
    for argument in arguments:
        is_option = argument.startswith("--")
        if is_option or not is_value:
            here = old if is_option and upstream.is_old(argument[2:].partition("=")[0]) else rest
        is_value = is_option and "=" not in argument
        here.append(argument)
    if old:
        content = options([*rest, *old]).content
        new = upstream.rewrites(content, COMMAND_LINE)
        rest += [f"--{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in new.items()]
    return rest


def read(file: str | Path) -> Source:
    """The mapping in a YAML file, which may be on a server."""
    try:
        with open_run_file(file) as stream:
            content = document(stream.read())
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise ValueError(
            f"{file}{line} (--config) is not YAML: {getattr(error, 'problem', None) or error}\n"
            "  mend: look for a bracket or a quote that is not closed, or a wrong indentation, before that line"
        ) from error
    if not isinstance(content, dict):
        what = "is empty" if content is None else f"holds a {type(content).__name__}"
        raise ValueError(
            f"{file} (--config) {what}; a config is a mapping with keys such as name, model, data, trainer"
        )
    for rules in (saved, upstream, retired):
        content = rules.rewritten(content, str(file))
    known = class_paths.rewritten(content)
    return Source(str(file), moved.at_home(known, file))


def options(arguments: Sequence[str]) -> Source:
    """The options of a command line: --data.batch_size 3 is {data: {batch_size: 3}}; no options that add to lists."""
    content: dict[str, Any] = {}
    for argument, following in pairwise([*arguments, "--"]):
        if not argument.startswith("--") or argument == "--":
            continue
        key, equals, value = argument[2:].partition("=")
        if not key.endswith(("+", ".help")):
            _put(content, key.split("."), load(value if equals else "" if following.startswith("--") else following))
    return Source(COMMAND_LINE, content)


def _put(content: dict[str, Any], parts: Sequence[str], value: Any) -> None:
    *parents, last = parts
    for part in parents:
        below = content.get(part)
        if not isinstance(below, dict):  # --model.encoder Transformer, then --model.encoder.num_layers 2
            below = content[part] = {"class_path": below} if isinstance(below, str) else {}
        content = below
    content[last] = value


def load(text: str) -> Any:
    """The value that a text means in YAML; the text itself where it means none."""
    try:
        return get_loader("yaml")(text)
    except yaml.YAMLError:
        return text


def merge(before: Any, over: Any) -> Any:
    """What `over` leaves of `before`, with itself; neither is changed."""
    if isinstance(before, str) and isinstance(over, Mapping) and "init_args" in over:
        before = {"class_path": before}
    if not isinstance(before, Mapping) or not isinstance(over, Mapping):
        return over
    if "class_path" in over and over["class_path"] != before.get("class_path"):
        return over
    return {**before, **{key: merge(before.get(key), value) for key, value in over.items()}}


def merged(sources: Iterable[Source]) -> dict[str, Any]:
    """All of them, later over earlier."""
    content: dict[str, Any] = {}
    for source in sources:
        content = merge(content, source.content)
    return content


def source_of(key: str, sources: Sequence[Source]) -> str:
    """Name of the last one that says something of this key, or of what it is a part of; empty where none does."""
    for source in reversed(sources):
        node: Any = source.content
        for part in key.split("."):
            if not isinstance(node, Mapping) or part not in node:
                break
            node = node[part]
        else:
            return source.name
        if isinstance(node, list):
            return source.name
    return ""
