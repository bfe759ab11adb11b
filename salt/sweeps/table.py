"""The table of a sweep's trials, for a terminal."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from salt.sweeps.folder import Member, State, best
from salt.sweeps.plan import Plan

STATES: tuple[State, ...] = ("complete", "pruned", "running", "failed")
"""In the order of tables."""

WIDEST = 48
"""Characters of a cell."""


def text(plan: Plan, members: Sequence[Member]) -> str:
    """The trials, the best first; then those without a value."""
    keys = list(plan.parameters)
    head = ["TRIAL", "STATE", plan.objective, *short_names(keys), "TIME", ""]
    rows = [head, *(_row(member, keys) for member in ranked(members, plan.direction))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*lines, "", summary(plan, members), ""])


def summary(plan: Plan, members: Sequence[Member]) -> str:
    """How far a sweep is, in a sentence."""
    counts = Counter(member.state for member in members)
    states = ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])
    first = best(members, plan.direction)
    at_best = "" if first is None else f"; best {plan.objective} {shown(first.value)}: trial {first.number}"
    return f"{len(members)} of {plan.trials} trials{f': {states}' if states else ''}{at_best}"


def ranked(members: Sequence[Member], direction: str) -> list[Member]:
    """Complete ones by value, the best first; then pruned ones, running ones, failed ones."""
    sign = -1 if direction == "max" else 1

    def rank(member: Member) -> tuple[int, float, int]:
        value = 0.0 if member.value is None or member.state != "complete" else sign * member.value
        return STATES.index(member.state), value, member.number

    return sorted(members, key=rank)


def short_names(keys: Sequence[str]) -> list[str]:
    """The last two words of dotted keys, or as many as it takes to tell them apart; init_args says nothing."""
    words = [[word for word in key.split(".") if word != "init_args"] for key in keys]
    names = []
    for parts in words:
        enough = (n for n in range(2, len(parts)) if sum(other[-n:] == parts[-n:] for other in words) == 1)
        names.append(".".join(parts[-next(enough, len(parts)) :]))
    return names


def shown(value: Any) -> str:
    """A value in few characters."""
    if isinstance(value, list | dict):
        return json.dumps(value)
    return "" if value is None else f"{value:.5g}" if isinstance(value, float) else str(value)


def time(seconds: float | None) -> str:
    """A duration."""
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"


def _row(member: Member, keys: Sequence[str]) -> list[str]:
    values = [shown(member.parameters.get(key)) for key in keys]
    cells = [str(member.number), member.state, shown(member.value), *values, time(member.duration), member.reason]
    return [cell if len(cell) <= WIDEST else f"{cell[: WIDEST - 3]}..." for cell in cells]
