"""What a command line of `salt sweep` asks for: a plan, completed and checked by `salt fit` itself."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from salt.callbacks.secrets import hidden_arguments
from salt.sweeps import owner, plan
from salt.sweeps.plan import Plan


class Counted(NamedTuple):
    """A sweep that only counts: the option of `fit`, its first value, and the least number of trials."""

    key: str
    first: int
    least: int


COUNTED = {"replicas": Counted("seed_everything", plan.FIRST_SEED, 1), "folds": Counted("data.fold.use", 0, 2)}
"""Options that are sweeps of their own."""


COPIES = "--data.move_files_temp"
"""Names a folder of this machine."""


class Asked(NamedTuple):
    """A plan, the folder of its sweep where the user names none, and options for the trials of this process alone."""

    plan: Plan
    folder: Path
    own: list[str]


def asked(space_file: str | None, options: argparse.Namespace, of_fit: Sequence[str]) -> Asked:
    """What a command line asks for.

    Parameters
    ----------
    space_file : str | None
        The file of the space; None: --replicas or --folds.
    options : argparse.Namespace
        The sweep's own.
    of_fit : Sequence[str]
        All others.
    """
    where = space_file or "the command line"
    given = _space(space_file, options)
    given |= {key: value for key in plan.KEYS if (value := getattr(options, key, None)) is not None}
    method = given.get("method", "tpe")
    content = {
        "method": method,
        "objective": "",
        "direction": "min",
        "trials": plan.NUM_TRIALS,
        "seed": plan.FIRST_SEED,
        "prune": "median" if method in {"tpe", "random"} else "off",
        **given,
    }
    plan.checked(content, where)
    arguments, suffix = _without(of_fit, {"-ls", "--log_suffix"})
    arguments, copies = _without(arguments, {COPIES})
    _refuse(arguments)
    more = [f"--data.fold.k={options.folds}"] if options.folds else []
    draft = Plan(name="", arguments=(*arguments, *more), directory=str(Path.cwd()), **content)
    combinations = draft.combinations()
    found = probed(draft, where)
    _check(found, options)
    changes = {
        "name": found["name"],
        "objective": found["objective"],
        "direction": given.get("direction", found["direction"]),
        "trials": draft.trials if combinations is None else min(given.get("trials", 10**9), len(combinations)),
        "arguments": tuple(_without(draft.arguments, {"--trainer.default_root_dir"})[0]),
    }
    suffix = suffix or owner.shared_name() or datetime.now().strftime("%Y%m%d-%H%M%S")
    return Asked(
        Plan(**{**vars(draft), **changes}),
        Path(found["logs"], f"{found['name']}_sweep_{suffix}").absolute(),
        [] if copies is None else [f"{COPIES}={copies}"],
    )


def probed(draft: Plan, where: str) -> dict[str, Any]:
    """What `fit` makes of the plan's arguments with a first value of each parameter; its own words where it refuses."""
    command = [sys.executable, "-m", "salt.cli.probe", draft.objective, *draft.arguments, *draft.first()]
    done = subprocess.run(command, capture_output=True, text=True, start_new_session=True, check=False)
    if done.returncode:
        said = done.stderr.rpartition("salt: error: ")[2].partition("\n(SALT_DEBUG")[0].strip()
        hint = f"\n  (parameters of {where} are given to salt fit as options on the command line)"
        raise ValueError(f"salt fit refuses what each trial would be: {said or done.stderr[-500:]}{hint}")
    found = json.loads(done.stdout.strip().rpartition("\n")[2])
    assert isinstance(found, dict)
    return found


def _space(space_file: str | None, options: argparse.Namespace) -> dict[str, Any]:
    """Parameters and more, from the file, or those of replicas and folds."""
    given = [name for name in COUNTED if getattr(options, name) is not None]
    if not given:
        if space_file is None:
            raise ValueError(
                "no space: nothing to search\n  mend: salt sweep SPACE.yaml ..., or --replicas N, or --folds K"
            )
        return plan.read_space(space_file)
    name, count = given[0], getattr(options, given[0])
    key, first, least = COUNTED[name]
    if space_file is not None or options.method is not None:
        raise ValueError(f"--{name} is a sweep of its own, and takes no space and no --method\n  mend: leave one out")
    if count < least:
        raise ValueError(f"--{name} is {count}; it must be at least {least}\n  mend: --{name} {max(4, least)}")
    return {"method": name, "parameters": {key: list(range(first, first + count))}}


def _check(found: dict[str, Any], options: argparse.Namespace) -> None:
    """Raise where a run is such that it cannot be a trial."""
    if found["num_nodes"] != 1:
        raise ValueError(
            f"trainer.num_nodes is {found['num_nodes']}: a trial is trained on one node\n"
            "  mend: trainer.num_nodes: 1; several nodes work on several trials (salt submit slurm --array N sweep ...)"
        )
    if options.folds and not (found["fold"] or {}).get("variable"):
        raise ValueError(
            f"--folds {options.folds} needs a column of the jets that tells folds: data.fold.variable is missing\n"
            "  mend: --data.fold.variable=jetFoldHash, or data: {fold: {variable: jetFoldHash}} in the config"
        )


def _refuse(arguments: Sequence[str]) -> None:
    """Raise for options of `fit` that make no sense for each trial, and for keys, which would be written down."""
    for argument in arguments:
        if argument.partition("=")[0] == "--resume":
            raise ValueError(
                "--resume goes on with one run, and a sweep has many\n"
                "  mend: salt sweep --study FOLDER goes on with a sweep; or leave it out"
            )
    if list(arguments) != hidden_arguments(arguments, set()):
        raise ValueError(
            "an option holds a key or a password, which sweep.yaml would keep\n"
            "  mend: give it in the environment, like PL_TRAINER__LOGGER__API_KEY"
        )


def _without(arguments: Sequence[str], names: set[str]) -> tuple[list[str], str | None]:
    """The arguments without these options, and the last value of one."""
    rest: list[str] = []
    value: str | None = None
    remaining = iter(arguments)
    for argument in remaining:
        key, equals, text = argument.partition("=")
        if key not in names:
            rest.append(argument)
        else:
            value = text if equals else next(remaining, None)
    return rest, value
