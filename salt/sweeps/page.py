"""The page of a sweep: one HTML file that needs nothing beside it, with the table and the parallel coordinates."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any, NamedTuple

from salt import __version__
from salt.sweeps import coordinates, table
from salt.sweeps.coordinates import Axis
from salt.sweeps.folder import Member, best
from salt.sweeps.plan import Plan

WIDTH, HEIGHT, TOP, LEFT = 1000, 380, 46, 70
"""Of the figure and its margins, in units of its own."""

SCALE = ("#00224e", "#123570", "#3b496c", "#575d6d", "#707173", "#8a8678", "#a59c74", "#c3b369", "#e1cc55", "#fee838")
"""cividis, from the best value to the worst: read alike by those who do not see all colours."""

PALE = 0.78
"""Share of the scale that is used: the palest yellow is not seen on white."""


class Line(NamedTuple):
    """A trial in the figure."""

    number: int
    state: str
    points: str
    colour: str
    title: str


def render(name: str, plan: Plan, members: Sequence[Member]) -> str:
    """HTML of the page.

    Parameters
    ----------
    name : str
        Of the sweep's folder.
    plan : Plan
        What is searched.
    members : Sequence[Member]
        Its trials.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("salt.sweeps", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    axes = coordinates.axes(plan, members)
    ranked = table.ranked(members, plan.direction)
    first = best(members, plan.direction)
    return environment.get_template(
        "page.html.jinja"
    ).render(
        name=name,
        plan=plan,
        first=first,
        summary=table.summary(plan, members),
        axes=[(across(number, len(axes)), axis, _ticks(axis)) for number, axis in enumerate(axes)],
        lines=[line(member, axes, plan, members) for member in reversed(ranked)],  # the best on top
        rows=[_row(member, plan, first) for member in ranked],
        keys=list(zip(plan.parameters, table.short_names(list(plan.parameters)), strict=True)),
        arguments=" ".join(plan.arguments),
        box=(WIDTH, HEIGHT + 2 * TOP, TOP, HEIGHT),
        scale=SCALE[: round(PALE * len(SCALE))],
        version=__version__,
    )


def line(member: Member, axes: Sequence[Axis], plan: Plan, members: Sequence[Member]) -> Line:
    """A trial's way through the axes; to the objective where it has a value."""
    values = [*(member.parameters.get(key) for key in plan.parameters), member.value]
    points = [
        f"{across(number, len(axes)):.1f},{TOP + HEIGHT * (1 - place):.1f}"
        for number, (axis, value) in enumerate(zip(axes, values, strict=True))
        if (place := axis.place(value)) is not None
    ]
    said = [f"trial {member.number}, {member.state}"]
    said += [f"{axis.name} {table.shown(value)}" for axis, value in zip(axes, values, strict=True) if value is not None]
    return Line(member.number, member.state, " ".join(points), colour(member, plan, members), "; ".join(said))


def colour(member: Member, plan: Plan, members: Sequence[Member]) -> str:
    """A complete trial's place among the others: by rank, so that one bad value does not make all others alike."""
    if member.state != "complete":
        return "currentColor"
    order = [each.number for each in table.ranked(members, plan.direction) if each.state == "complete"]
    share = order.index(member.number) / max(1, len(order) - 1)
    return SCALE[min(round(share * PALE * (len(SCALE) - 1)), len(SCALE) - 1)]


def across(number: int, count: int) -> float:
    """Where an axis is, from the left."""
    return LEFT + number * (WIDTH - 2 * LEFT) / max(1, count - 1)


def _ticks(axis: Axis) -> list[tuple[float, str]]:
    """Height of each tick, and what it says."""
    return [(TOP + HEIGHT * (1 - place), text if len(text) <= 22 else f"{text[:20]}…") for place, text in axis.ticks]


def _row(member: Member, plan: Plan, first: Member | None) -> dict[str, Any]:
    return {
        "number": member.number,
        "state": member.state,
        "value": table.shown(member.value),
        "cells": [table.shown(member.parameters.get(key)) for key in plan.parameters],
        "time": table.time(member.duration),
        "run": f"{member.run.parent.name}/{html.escape(member.run.name)}",
        "reason": member.reason,
        "is_best": first is not None and first.number == member.number,
    }
