"""Options of `salt submit`, which a file of a site can set as well; what is none of them belongs to the verb."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any, NoReturn

from salt.clusters import amounts
from salt.clusters.environments import KINDS
from salt.data.names import by_nearness, unknown

DEPENDENCY = re.compile(r"(?P<jobs>\d+(?:_\d+)?(?:,\d+(?:_\d+)?)*)(?::(?P<kind>\w+))?$")
DEPENDENCIES = ("afterok", "afterany", "afternotok", "after", "aftercorr")
GPUS = re.compile(r"(?:(?P<type>[A-Za-z][\w.-]*):)?(?P<number>\d+)$")
NAME = re.compile(r"[\w.:/@+=,-]+$")

MAX_SIGNAL_MINUTES = 65535 // 60
"""Slurm keeps the seconds in 16 bits."""

IMPLIED = {"venv": "venv", "conda": "conda", "image": "apptainer"}
"""Option that names an environment -> the kind that it is of."""


ALIKE = 0.85
"""An option of the verb that is so much like one of ours is a slip: gpu, partiton."""

OF_SBATCH = {
    "mem": "--memory SIZE",
    "ntasks": "--tasks N (a node)",
    "ntasks-per-node": "--tasks N",
    "cpus-per-task": "--cpus N",
    "gpus-per-node": "--gpus N",
    "gres": "--gpus N --gpu-request gres",
    "job-name": "--name NAME, which is the run's as well",
    "output": "--log-dir DIR",
    "dependency": "--after JOB",
    "signal": "--signal-before MINUTES",
}
"""What sbatch calls things that have another name here."""


class Parser(argparse.ArgumentParser):
    """A parser whose errors are those of the whole program."""

    def error(self, message: str) -> NoReturn:
        """Raise, where argparse would write and exit."""
        mend = "" if "mend:" in message else "\n  mend: salt submit --help lists what can be given"
        raise ValueError(message.removeprefix("argument ") + mend)


def parser() -> Parser:
    """All options; none has a default, so that it is seen which were given."""
    made = Parser(prog="salt submit", add_help=False, allow_abbrev=False, formatter_class=_formatter)
    for title, options in GROUPS.items():
        group = made.add_argument_group(title)
        for name, settings in options.items():
            group.add_argument(f"--{name}", **settings)
    return made


def _formatter(prog: str) -> argparse.HelpFormatter:
    return argparse.HelpFormatter(prog, max_help_position=28, width=116)


def parsed(arguments: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """The options that are given, by name with `_`, and everything else, in its order."""
    before, behind = _at_dashes(arguments)
    found, rest = parser().parse_known_args([_with_dashes(argument) for argument in before])
    given = {name: value for name, value in vars(found).items() if value is not None}
    named = [option for option in IMPLIED if option in given]
    if "env" not in given and len(named) > 1:
        both = " and ".join(f"--{option}" for option in named)
        raise ValueError(f"{both} name two environments\n  mend: give one of them")
    if "env" not in given and named:
        given["env"] = IMPLIED[named[0]]
    for argument in rest:
        _check_stranger(argument.partition("=")[0])
    return given, [*rest, *behind]


def _check_stranger(name: str) -> None:
    """An option that is to go to the verb may be one of ours, misspelled, or one of sbatch's."""
    if not name.startswith("--") or "." in name:
        return
    word = name[2:].replace("_", "-")
    nearest = by_nearness(word, OPTIONS)[0]
    if word in OF_SBATCH:
        mend = f"{OF_SBATCH[word]}, or --extra={name}=... for what only sbatch knows"
        raise ValueError(f"{name} is an option of sbatch\n  mend: {mend}")
    if SequenceMatcher(None, word, nearest).ratio() > ALIKE:
        mend = f"--{nearest}, or put -- before what is for the verb in any case"
        raise ValueError(f"{unknown('option', word, OPTIONS, 'salt submit')}\n  mend: {mend}")


def _with_dashes(argument: str) -> str:
    """An argument with the name of our option as the parser has it: --dry_run is --dry-run."""
    name, equals, value = argument.partition("=")
    dashed = name.replace("_", "-")
    is_ours = name.startswith("--") and dashed[2:] in OPTIONS
    return f"{dashed}{equals}{value}" if is_ours else argument


def _at_dashes(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """What is before `--`, and what is behind it, which is the verb's in any case."""
    arguments = list(arguments)
    where = arguments.index("--") if "--" in arguments else len(arguments)
    return arguments[:where], arguments[where + 1 :]


def _whole(least: int, most: int | None = None) -> Callable[[str], int]:
    def read(text: str) -> int:
        number = int(text) if text.isdigit() else -1
        if number < least or (most is not None and number > most):
            upto = "" if most is None else f" and at most {most}"
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {least}{upto}")
        return number

    return read


def _amount(measured: Callable[[str], int]) -> Callable[[str], str]:
    def read(text: str) -> str:
        try:
            measured(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error
        return text.strip()

    return read


def _gpus(text: str) -> tuple[int, str | None]:
    match = GPUS.match(text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of GPUs\n  mend: write 2, or TYPE:2 as in a100:2")
    return int(match["number"]), match["type"]


def _word(text: str) -> str:
    if not NAME.match(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no name that a scheduler could know")
    return text


def _line(text: str) -> str:
    """A text on one line, without the marker that a user may have copied with it."""
    text = text.strip().removeprefix("#SBATCH").strip()
    if not text or "\n" in text:
        raise argparse.ArgumentTypeError(f"{text!r} is not one line of words for the scheduler")
    return text


def _folder(text: str) -> str:
    if text and text[0] not in "/$~":
        message = (
            f"{text!r} is no folder of the node\n  mend: write --stage=/scratch/x, or put --stage before another option"
        )
        raise argparse.ArgumentTypeError(message)
    return text


def _after(text: str) -> str:
    match = DEPENDENCY.match(text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is no job\n  mend: write 1234, 1234:afterany or 1234,1235:afterok")
    return f"{match['jobs']}:{_one_of(DEPENDENCIES, 'dependency', '--after')(match['kind'] or DEPENDENCIES[0])}"


def _one_of(names: Sequence[str], kind: str, option: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in names:
            raise argparse.ArgumentTypeError(unknown(kind, text, names, option))
        return text

    return read


def _flag(summary: str) -> dict[str, Any]:
    return {"action": "store_true", "default": None, "help": summary}


def _each(metavar: str, summary: str, **settings: Any) -> dict[str, Any]:
    return {"action": "append", "metavar": metavar, "help": f"{summary}; may be given several times", **settings}


GROUPS: dict[str, dict[str, dict[str, Any]]] = {
    "what the job needs": {
        "partition": {"metavar": "NAME", "type": _word, "help": "part of the cluster"},
        "account": {"metavar": "NAME", "type": _word, "help": "who pays"},
        "qos": {"metavar": "NAME", "type": _word, "help": "quality of service"},
        "constraint": {"metavar": "WORDS", "help": "features of the nodes"},
        "gpus": {"metavar": "[TYPE:]N", "type": _gpus, "help": "GPUs a node, one rank each; sets trainer.devices"},
        "tasks": {"metavar": "N", "type": _whole(1), "help": "ranks a node without GPUs; sets trainer.devices"},
        "nodes": {"metavar": "N", "type": _whole(1), "help": "number of nodes; sets trainer.num_nodes"},
        "cpus": {"metavar": "N", "type": _whole(1), "help": "CPU cores a rank; default 1, with a GPU 2"},
        "memory": {"metavar": "SIZE", "type": _amount(amounts.megabytes), "help": "memory a node: 16G"},
        "time": {"type": _amount(amounts.seconds), "help": "limit, hours:minutes:seconds; 30 alone is minutes"},
        "gpu-request": {
            "metavar": "HOW",
            "type": _one_of(("gpus-per-node", "gres"), "way to ask for GPUs", "--gpu-request"),
            "help": "gpus-per-node, or gres where the cluster knows only that",
        },
        "extra": _each("WORDS", "words for the scheduler, written with =: --extra=--exclusive", type=_line),
    },
    "where it finds salt": {
        "env": {
            "metavar": "KIND",
            "type": _one_of(KINDS, "kind of environment", "--env"),
            "help": f"{', '.join(KINDS)}; default: the venv that salt submit runs in",
        },
        "venv": {"metavar": "PATH", "help": "folder of a virtual environment with bin/salt"},
        "conda": {"metavar": "NAME", "help": "name or path of a conda environment"},
        "image": {"metavar": "FILE", "help": "image for apptainer, or its URL"},
        "bind": _each("A[:B]", "folder that the container sees"),
        "module": _each("NAME", "module load NAME"),
        "prelude": {"metavar": "FILE", "type": Path, "help": "shell file that is sourced before the environment"},
    },
    "how it runs": {
        "array": {"metavar": "N", "type": _whole(1), "help": "N tasks; {task} in an argument is its number, from 0"},
        "after": {"metavar": "JOB[:KIND]", "type": _after, "help": f"begin after a job; {', '.join(DEPENDENCIES)}"},
        "signal-before": {
            "metavar": "MINUTES",
            "type": _whole(0, MAX_SIGNAL_MINUTES),
            "help": "before the time is over, have it save and be queued again; default 0: not",
        },
        "max-restarts": {"metavar": "N", "type": _whole(0), "help": "times that a killed job begins again; default 3"},
        "stage": {
            "metavar": "DIR",
            "nargs": "?",
            "const": "",
            "type": _folder,
            "help": "copy the data to the node first: to its own scratch, or to DIR ($VARIABLES are the node's)",
        },
        "log-dir": {"metavar": "DIR", "type": Path, "help": "folder of the log files NAME_JOB.log; default logs/jobs"},
    },
    "salt submit itself": {
        "site": {"metavar": "NAME|FILE", "help": "defaults of a cluster, over ~/.config/salt/site.yaml"},
        "dry-run": _flag("print the script and submit nothing"),
        "wait": _flag("wait for the end, and exit with the job's exit code"),
    },
}
"""Title -> option -> what argparse is to know of it."""

OPTIONS = tuple(option for options in GROUPS.values() for option in options)
