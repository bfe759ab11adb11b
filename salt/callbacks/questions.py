"""Questions: what a trial of a sweep and the worker that has started it say to each other, in lines of JSON.

The trial gets one end of a socket, and its number in the environment. The worker knows the study, the trial does not.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from typing import Any

VARIABLE = "SALT_SWEEP"
"""Environment variable in JSON: the objective, and the number of the trial's end of the socket."""

LONGEST = 1 << 16
"""Bytes of a line."""

GO_ON, PRUNE, MISSING = "go on", "prune", "missing"
"""Answers; and what a trial says, and hears, where the objective is not logged."""


def introduced(objective: str, descriptor: int) -> dict[str, str]:
    """What a trial finds in its environment."""
    return {VARIABLE: json.dumps({"objective": objective, "descriptor": descriptor})}


def introduction() -> dict[str, Any] | None:
    """What this process was told; None where it is no trial of a sweep."""
    text = os.environ.get(VARIABLE)
    return json.loads(text) if text else None


def say(to: socket.socket, content: Mapping[str, Any]) -> None:
    """Send a line."""
    to.sendall(json.dumps(content).encode() + b"\n")


def heard(of: socket.socket) -> dict[str, Any] | None:
    """The next line; None where nobody is there any more."""
    line = b""
    while not line.endswith(b"\n"):
        part = of.recv(LONGEST)
        if not part:
            return None
        line += part
    content = json.loads(line)
    assert isinstance(content, dict)
    return content
