"""Secrets: what is never written down: keys and passwords in arguments, configs and the environment."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

NAME = re.compile(r"(^|[._-])(api_?key|access_key(_id)?|secret\w*|token|passw(or)?d|credentials?)$", re.IGNORECASE)
"""Names of settings that hold secrets: api_key, COMET_API_KEY, PL_TRAINER__LOGGER__API_KEY, aws_secret_access_key."""

IN_URL = re.compile(r"(?<=://)[^/@\s:]+:[^/@\s]+(?=@)")
"""user:password of a URL."""

HIDDEN = "***"

SHORTEST = 6
"""Values shorter than this stand in too many other places to be looked for."""


def is_secret(name: str) -> bool:
    """Whether a setting of this name holds a secret."""
    return NAME.search(name) is not None


def without_secrets(node: Any) -> Any:
    """A copy in which what settings of such names hold is None, and URLs have no passwords."""
    if isinstance(node, Mapping):
        return {
            key: None if is_secret(str(key)) and isinstance(value, str) else without_secrets(value)
            for key, value in node.items()
        }
    if isinstance(node, list | tuple):
        return [without_secrets(item) for item in node]
    return IN_URL.sub(HIDDEN, node) if isinstance(node, str) else node


def secrets_in(node: Any) -> set[str]:
    """The secrets that a config holds."""
    if isinstance(node, Mapping):
        own = {value for key, value in node.items() if is_secret(str(key)) and isinstance(value, str)}
        return own.union(*map(secrets_in, node.values()))
    return set().union(*map(secrets_in, node)) if isinstance(node, list | tuple) else set()


def secrets_of_environment() -> set[str]:
    """The secrets that the environment holds."""
    return {value for name, value in os.environ.items() if is_secret(name)}


def hidden(text: str, secrets: set[str]) -> str:
    """A text in which these are not, nor passwords of URLs."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= SHORTEST:
            text = text.replace(secret, HIDDEN)
    return IN_URL.sub(HIDDEN, text)


def hidden_arguments(arguments: Sequence[str], secrets: set[str]) -> list[str]:
    """A command line in which what options of such names are given is not."""
    shown, is_value = [], False
    for argument in arguments:
        name, equals, _ = argument.partition("=")
        is_option = argument.startswith("-")
        if is_value and not is_option:
            shown.append(HIDDEN)
        elif is_option and equals and is_secret(name):
            shown.append(f"{name}={HIDDEN}")
        else:
            shown.append(hidden(argument, secrets))
        is_value = is_option and not equals and is_secret(name)
    return shown
