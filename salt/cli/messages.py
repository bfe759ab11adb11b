"""The parser's messages in short: one key, one reason, instead of everything that it tried."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import NamedTuple

from salt.cli.configs import Source, source_of
from salt.data.names import NUM_NEAREST, by_nearness, unknown

KEY = re.compile(r'Parser key "(.+)":$')
CLASS = re.compile(r"Problem with given class_path '(.+)':$")
NO_ATTRIBUTE = re.compile(r"module '(.+)' has no attribute '(.+)'$")
NO_MODULE = re.compile(r"No module named '(.+)'$")
NO_PATH = re.compile(r"Expected a dot import path string: (.+)$")
WRONG_TYPE = re.compile(r"Expected an? (.+)\. Got value: (.*)$")
REQUIRED = re.compile(r"the following arguments are required: (?:fit\.|validate\.|test\.)?(.+)$")
NO_ARGUMENT = re.compile(r"(\w+)\.__init__\(\) missing \d+ required positional arguments?: (.+)$")
NO_OPTION = re.compile(r"unrecognized arguments: (.+)$")

NOISE = (
    "Does not validate against any of the Union subtypes",
    "Subtypes:",
    "Errors:",
    "Expected a <class 'NoneType'>",
    "Given value",
    "Not a valid subclass of",
    "Subclass types expect one of",
    "a class path (str)",
    "a dict with",
    "Expected a path but",
)
"""Beginnings of lines that say what else was tried."""

WORDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "a text", "dict": "a mapping"}
"""Types as users call them."""

FACES = ("salt.models", "salt.callbacks")
"""Where the classes are that configs name."""


PLAIN = ("LRSConfig", "InitFrom")
"""Ends of class paths of what stands under its key without init_args."""


class Reason(NamedTuple):
    """Why the parser refuses a config: the key, the class that stands there (empty: none), and the reason."""

    key: str
    class_path: str
    text: str


def in_short(message: str, sources: Sequence[Source]) -> str:
    """The first reason of a message of the parser, where it is, and how to mend it; other messages as they are."""
    reasons = list(_reasons(message))
    if not reasons or (len(reasons) > 1 and not any(reason.key or reason.class_path for reason in reasons)):
        return message.strip()
    reason = reasons[0]
    source = source_of(reason.key, sources) if reason.key else ""
    return _say(reason, f"{reason.key}{f' ({source})' if source else ''}")


def _reasons(message: str) -> Iterator[Reason]:
    """The lines that say why, with the key that the lines above them, less indented, spell."""
    above: list[tuple[int, str, str]] = []  # indentation, part of the key, class
    for line in message.splitlines():
        text = line.lstrip(" -")
        indent = len(line) - len(text)
        if not text or text.startswith(NOISE):
            continue
        above = [entry for entry in above if entry[0] < indent]
        if found := KEY.match(text):
            above.append((indent, found[1], ""))
        elif found := CLASS.match(text):
            above.append((indent, "", found[1]))
        else:
            yield Reason(_dotted(above), above[-1][2] if above else "", text)


def _dotted(above: Sequence[tuple[int, str, str]]) -> str:
    """The parts of a key; a class between two of them holds its arguments in init_args."""
    parts: list[str] = []
    for i, (_, key, class_path) in enumerate(above):
        is_last = i == len(above) - 1
        parts += [key] if key else [] if is_last or class_path.endswith(PLAIN) else ["init_args"]
    return ".".join(parts)


def _say(reason: Reason, where: str) -> str:
    """Reason and mend, in our words where we know it."""
    at = f"{where}: " if where else ""
    if found := NO_ATTRIBUTE.match(reason.text):
        names = [name for name in dir(import_module(found[1])) if name[0].isupper()]
        return f"{_unknown_class(found[2], names, f'{found[1]}, named by {where}')}\n  mend: correct the class_path"
    if (found := NO_MODULE.match(reason.text)) and reason.class_path:
        nearest = ", ".join(_known_classes(reason.class_path))
        return (
            f"no module {found[1]!r} for the class {reason.class_path}, named by {where}; nearest classes: {nearest}\n"
            "  mend: correct the class_path, or install the package that has it"
        )
    if found := NO_PATH.match(reason.text):
        nearest = ", ".join(_known_classes(found[1]))
        return f"unknown class {found[1]!r}, named by {where}; nearest: {nearest}\n  mend: correct the class_path"
    if found := WRONG_TYPE.match(reason.text):
        return f"{at}expected {_type(found[1])}, got {found[2]!r}\n  mend: give {reason.key} such a value"
    if found := REQUIRED.match(reason.text):
        if found[1] == "model.model":
            return "no model: model.model is not given\n  mend: name a config that has one: --config gnn.yaml"
        of = f" of {reason.class_path}" if reason.class_path else ""
        return f"{at}{found[1]}{of} is not given\n  mend: add {found[1]}{' to its init_args' if of else ''}"
    if found := NO_ARGUMENT.match(reason.text):
        return f"{at}a {found[1]} needs {found[2]}\n  mend: add it to the mapping of its arguments"
    if found := NO_OPTION.match(reason.text):
        return f"no option: {found[1]}\n  mend: files are named by options (--config FILE), and so is all else (--help)"
    return f"{at}{reason.text}"


def _unknown_class(name: str, names: Sequence[str], where: str) -> str:
    """Message for a class that is not there, with the nearest names only: torch.nn has hundreds."""
    return unknown("class", name, names, where).partition("; there are")[0]


def _known_classes(name: str) -> list[str]:
    """The classes that configs name, in full, those with the nearest last name first."""
    faces = {each: face for face in FACES for each in import_module(face).__all__}
    return [f"{faces[each]}.{each}" for each in by_nearness(name.rpartition(".")[2], faces)[:NUM_NEAREST]]


def _type(text: str) -> str:
    """The type as a user would write it."""
    text = re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", text)
    if found := re.match(r"typing\.Literal\[(.+)\]$", text):
        return f"one of {found[1]}"
    return WORDS.get(text, text)
