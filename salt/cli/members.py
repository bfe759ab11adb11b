"""Members: the trials of a sweep that make its ensemble, and what they must have in common."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from salt.cli import configs
from salt.cli.files import PACKAGED
from salt.cli.nested import value_at
from salt.sweeps import folder
from salt.sweeps.folder import Member

log = logging.getLogger(__name__)

OPTION = "--members"

ENSEMBLES = {"replicas", "folds"}
"""Methods whose trials make an ensemble, all of them, where the user names none."""


class Wanted(NamedTuple):
    """What the user wrote.

    Parameters
    ----------
    sweep : Path
        The folder of the sweep.
    files : list[str]
        The test file, or nothing for the members' own.
    members : str | None
        all or best:K; None: as the method of the sweep has it.
    options : list[str]
        For the test of each member.
    """

    sweep: Path
    files: list[str]
    members: str | None
    options: list[str]


def asked_for(arguments: Sequence[str]) -> Wanted:
    """`test SWEEP [FILE] [--members WHICH] [OPTIONS]`."""
    names: list[str] = []
    rest: list[str] = []
    which = None
    remaining = iter(arguments[1:])
    for argument in remaining:
        key, equals, value = argument.partition("=")
        if key == OPTION:
            which = value if equals else next(remaining, "")
        elif rest or argument.startswith("-"):
            rest.append(argument)
        else:
            names.append(argument)
    if len(names) > 2:
        raise ValueError(f"salt test takes a sweep and a file, not {len(names)} names: {' '.join(names)}")
    if any(argument.partition("=")[0] == "--ckpt_path" for argument in rest):
        raise ValueError(
            "--ckpt_path names one checkpoint, and a sweep has many: its members are tested with the best one of each\n"
            "  mend: leave it out, or test one member: salt test RUN --ckpt_path FILE"
        )
    return Wanted(Path(names[0]), names[1:], which, rest)


def chosen(asked: Wanted, method: str, direction: str) -> list[Member]:
    """The members of the ensemble: finished ones.

    Parameters
    ----------
    asked : Wanted
        What the user wrote.
    method, direction : str
        Of the sweep: replicas, folds, grid, ...; min or max.
    """
    found = folder.members(asked.sweep)
    complete = [member for member in found if member.state == "complete"]
    if not complete:
        states = ", ".join(f"trial {member.number} {member.state}" for member in found) or "no trial has begun"
        raise ValueError(
            f"no member of {asked.sweep} has finished ({states})\n"
            f"  mend: let it go on: salt sweep --study {asked.sweep}"
        )
    best = folder.best(complete, direction)
    if asked.members is None and method not in ENSEMBLES:
        raise ValueError(
            f"the trials of {asked.sweep} are no ensemble: they differ in what was searched ({method})\n"
            f"  mend: test the best trial: salt test {best.run if best else complete[0].run}; "
            f"or name how many make an ensemble: {OPTION} best:5"
        )
    kind, _, number = ("all" if asked.members is None else asked.members).partition(":")
    if kind == "all" and not number:
        those = complete
    elif kind == "best" and number.isdigit() and int(number) > 0 and method != "folds":
        those = _best(complete, direction, int(number))
    else:
        there = "all" if method == "folds" else "all, best:5"
        raise ValueError(f"{OPTION} {asked.members!r}: there is {there} for a sweep by {method}")
    log.info("%d of %d trials of %s make the ensemble", len(those), len(found), asked.sweep)
    return those


def _best(complete: Sequence[Member], direction: str, number: int) -> list[Member]:
    """The members with the best values, the best one first."""
    left = list(complete)
    chosen: list[Member] = []
    while len(chosen) < number and (best := folder.best(left, direction)) is not None:
        chosen.append(best)
        left.remove(best)
    return chosen


def config_of(member: Member, asked: Wanted) -> dict[str, Any]:
    """What a member's test is made with."""
    file = member.run / "config.yaml"
    if not file.is_file():
        raise FileNotFoundError(
            f"member {member.number} of {asked.sweep} is gone: there is no {file}\n"
            f"  mend: bring it back, or train another: salt sweep --study {asked.sweep}"
        )
    return configs.merged([configs.read(PACKAGED / "base.yaml"), configs.read(file), configs.options(asked.options)])


def setting(config: Mapping[str, Any], key: str) -> Any:
    """Value of a dotted key; None where it is not set."""
    return value_at(config, key.split("."))


def same(key: str, members: Sequence[Member], runs: Sequence[Mapping[str, Any]]) -> Any:
    """What all members have under a key."""
    found = {str(setting(run, key)): (member, setting(run, key)) for member, run in zip(members, runs, strict=True)}
    if len(found) > 1:
        there = "; ".join(f"{value} in {member.run}" for value, (member, _) in list(found.items())[:3])
        raise ValueError(f"the members of an ensemble must have the same {key}, and they have {there}")
    value = next(iter(found.values()))[1]
    if value is None:
        raise ValueError(f"{key} is not set in {members[0].run / 'config.yaml'}\n  mend: salt test SWEEP FILE")
    return value
