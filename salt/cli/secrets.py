"""Keys of services: used, and never written down. They go where the service's client looks, the environment."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from salt.cli.configs import Source

NAMES = frozenset({"api_key", "rest_api_key"})
"""Arguments of loggers that are secret."""

OPTION = re.compile(r"--(?:\w+\.)*logger\.(?:init_args\.)?(?:api_key|rest_api_key)$")
IN_JSON = re.compile(r"(?P<name>[\"']?\b(?:api_key|rest_api_key)[\"']?\s*:\s*)(?P<value>\"[^\"]*\"|'[^']*'|[^,}\s]+)")

KEY, WORKSPACE = "COMET_API_KEY", "COMET_WORKSPACE"
"""What Comet's client reads."""

SPELLINGS = {
    KEY: ("LOGGER__API_KEY", "LOGGER__INIT_ARGS__API_KEY", "LOGGER_API_KEY"),
    WORKSPACE: ("LOGGER__WORKSPACE", "LOGGER__INIT_ARGS__WORKSPACE", "LOGGER_WORKSPACE"),
}
"""What comes behind PL_TRAINER__ or PL_FIT__TRAINER__, the first that is there counts; the single underscore is old."""


def variables(target: str) -> Iterator[str]:
    """Names of the variables that stand for one of Comet's, the one that counts most first."""
    for spelling in SPELLINGS[target]:
        yield f"PL_FIT__TRAINER__{spelling}"
        yield f"PL_TRAINER__{spelling}"


VARIABLES = frozenset(name for target in SPELLINGS for name in variables(target))
"""All of them."""


@contextmanager
def handed_on() -> Iterator[None]:
    """Give Comet's client what our own variables say; all is as it was at the end, the process's arguments too."""
    before = {name: os.environ.get(name) for name in (KEY, WORKSPACE)}
    arguments = sys.argv[:]
    for target in SPELLINGS:
        found = next((os.environ[name] for name in variables(target) if os.environ.get(name)), None)
        if found is not None:
            os.environ[target] = found
    try:
        yield
    finally:
        sys.argv[:] = arguments
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def without_keys(source: Source) -> Source:
    """A config without keys; the last that is found goes into the environment."""
    found: list[str] = []
    content = _without(source.content, found)
    _keep(found)
    return Source(source.name, content)


def options_without_keys(options: Sequence[str]) -> list[str]:
    """Options without keys, likewise; they leave the process's own arguments too, which are recorded."""
    found: list[str] = []
    rest = _split(options, found)
    _keep(found)
    sys.argv[:] = _split(sys.argv, [])
    return rest


def _keep(found: Sequence[str]) -> None:
    if found:
        os.environ[KEY] = found[-1]


def _split(options: Sequence[str], found: list[str]) -> list[str]:
    rest: list[str] = []
    is_value = False
    for option in options:
        name, equals, value = option.partition("=")
        if is_value:
            found.append(option)
            is_value = False
        elif OPTION.match(name):
            found += [value] if equals else []
            is_value = not equals
        else:
            found += [match["value"].strip("\"'") for match in IN_JSON.finditer(option)]
            rest.append(IN_JSON.sub(r"\g<name>null", option))
    return rest


def _without(node: Any, found: list[str]) -> Any:
    if isinstance(node, list):
        return [_without(item, found) for item in node]
    if not isinstance(node, Mapping):
        return node
    found += [str(node[name]) for name in NAMES & node.keys() if node[name] is not None]
    return {name: _without(value, found) for name, value in node.items() if name not in NAMES}
