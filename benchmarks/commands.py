"""The half of the benchmark of configs that both sides share: run commands in this process, say how they ended.

Run by two interpreters, ours and the peer's, so it imports neither's `salt`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any

from worker import answer_requests

Main = Callable[[Sequence[str]], int | None]
"""Runs a command; its exit code, or None for 0."""

WORDS = ("error", "Error")


@contextlib.contextmanager
def alone(folder: str) -> Iterator[None]:
    """In a folder; handlers of logs are as they were before, afterwards."""
    logs = [logging.getLogger(name) for name in ("salt", None)]
    before = [(log.handlers[:], log.level) for log in logs]
    try:
        logs[0].handlers.clear()  # the program makes its own, for the stderr that it finds
        with contextlib.chdir(folder):
            yield
    finally:
        for log, (handlers, level) in zip(logs, before, strict=True):
            log.handlers[:] = handlers
            log.setLevel(level)


@contextlib.contextmanager
def heard(said: IO[str]) -> Iterator[None]:
    """What this process and its children say goes to a file."""
    before = [os.dup(place) for place in (1, 2)]
    try:
        for place in (1, 2):
            os.dup2(said.fileno(), place)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for place, was in enumerate(before, start=1):
            os.dup2(was, place)
            os.close(was)


def run(main: Main, arguments: Sequence[str]) -> str | None:
    """Run a command; the first line of what is wrong, None where nothing is."""
    code: Any = 0
    with tempfile.TemporaryFile("w+") as said:
        try:
            with heard(said):
                code = main(arguments)
        except SystemExit as leave:
            code = leave.code
        except BaseException as error:  # of a peer, whatever it is
            first = str(error).strip().splitlines() or [""]
            return f"{type(error).__name__}: {first[0]}"
        said.seek(0)
        return fault(said.read()) if code else None


def fault(text: str) -> str:
    """The first line that speaks of an error."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return next(
        (line for line in lines if any(word in line for word in WORDS)), lines[-1] if lines else "no word of it"
    )


def serve(main: Main, facts: dict[str, str]) -> None:
    """Run the commands of the parent's requests."""

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        with alone(request["folder"]):
            return {"fault": run(main, request["arguments"])}

    answer_requests(answer, facts)
