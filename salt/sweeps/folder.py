"""A sweep's folder: sweep.yaml says what is searched, trials.csv what was found; readers need no Optuna."""

from __future__ import annotations

import csv
import math
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any, Literal

import yaml

State = Literal["complete", "pruned", "failed", "running"]

PLAN, TABLE, PAGE, JOURNAL, TRIALS = "sweep.yaml", "trials.csv", "index.html", "study.journal", "trials"

FORMAT = 1
"""Of sweep.yaml and trials.csv: the program reads no greater one."""

COLUMNS = ("number", "state", "value", "run", "duration")
"""What trials.csv begins with; then the parameters, and the reason of a state that has one."""

REASON = "reason"


class NumbersLoader(yaml.SafeLoader):
    """YAML in which 1e-4 is a number, as in that of `salt fit`."""


NumbersLoader.yaml_implicit_resolvers = {
    first: [pair for pair in resolvers if pair[0] != "tag:yaml.org,2002:float"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
NumbersLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(?:[0-9]+\.[0-9]*|\.?[0-9]+)(?:[eE][-+]?[0-9]+)?$|[-+]?\.(?:inf|Inf|INF)$|\.(?:nan|NaN|NAN)$"),
    list("-+0123456789."),
)


@dataclass(frozen=True)
class Member:
    """One training of a sweep.

    Parameters
    ----------
    number : int
        Which trial, from 0.
    state : State
        How it goes, or ended.
    value : float | None
        Its objective: the best of its validations; of a pruned one the last. None: it has none (yet).
    run : Path
        The directory of its run, which is not there where it failed early.
    parameters : dict[str, Any]
        Dotted key -> what was tried.
    duration : float | None
        How long it has trained [s]; None: not known.
    reason : str
        Why it failed, or what else its state says; may be empty.
    """

    number: int
    state: State
    value: float | None
    run: Path
    parameters: dict[str, Any] = field(default_factory=dict)
    duration: float | None = None
    reason: str = ""


def is_sweep(path: str | Path) -> bool:
    """Whether there is a sweep's folder."""
    return Path(path, PLAN).is_file()


def read_plan(path: str | Path) -> dict[str, Any]:
    """What sweep.yaml says.

    Raises
    ------
    FileNotFoundError
        There is no sweep here.
    ValueError
        It is damaged, or of a later version of the program.
    """
    file = Path(path, PLAN)
    try:
        content = parsed(file.read_text())
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(
            f"no sweep in {path}: it has no {PLAN}\n  mend: name a folder that salt sweep has made"
        ) from None
    except yaml.YAMLError as error:
        raise ValueError(f"{file} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict) or not isinstance(content.get("format"), int):
        raise ValueError(f"{file} is no record of a sweep: it has no format\n  mend: name another folder")
    if content["format"] > FORMAT:
        raise ValueError(
            f"{file} is of format {content['format']}, and this version of salt reads up to {FORMAT}\n"
            "  mend: use the version that has made it, or a newer one"
        )
    return content


def write_plan(path: str | Path, content: Mapping[str, Any]) -> None:
    """Write sweep.yaml, whole."""
    text = yaml.safe_dump({"format": FORMAT, **content}, sort_keys=False, allow_unicode=True, width=120)
    write_whole(Path(path, PLAN), text)


def members(path: str | Path) -> list[Member]:
    """The trainings of a sweep, as trials.csv tells them, by number; none before the first has begun."""
    folder = Path(path)
    keys = list(read_plan(folder).get("parameters") or {})
    try:
        lines = (folder / TABLE).read_text()
    except FileNotFoundError:
        return []
    found = []
    for row in csv.DictReader(StringIO(lines)):
        missing = [name for name in (*COLUMNS, *keys) if row.get(name) is None]
        if missing:
            raise ValueError(f"{folder / TABLE} has a line without {', '.join(missing)}: it is damaged")
        parameters = {key: parsed(row[key]) for key in keys if row[key]}
        number, value, duration = int(row["number"]), _number(row["value"]), _number(row["duration"])
        state: Any = row["state"]
        found.append(Member(number, state, value, folder / row["run"], parameters, duration, row.get(REASON) or ""))
    return sorted(found, key=lambda member: member.number)


def write_members(path: str | Path, found: Sequence[Member]) -> None:
    """Write trials.csv, whole."""
    folder = Path(path)
    keys = list(read_plan(folder).get("parameters") or {})
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*COLUMNS, *keys, REASON])
    for member in sorted(found, key=lambda member: member.number):
        values = [member.number, member.state, _text(member.value), os.path.relpath(member.run, folder)]
        duration = "" if member.duration is None else f"{member.duration:.1f}"
        writer.writerow([*values, duration, *(_text(member.parameters.get(key)) for key in keys), member.reason])
    write_whole(folder / TABLE, text.getvalue())


def best(found: Sequence[Member], direction: str) -> Member | None:
    """The complete training with the best value; None where there is none."""
    complete = [member for member in found if member.state == "complete" and member.value is not None]
    sign = -1 if direction == "max" else 1
    return min(complete, key=lambda member: sign * (member.value or 0.0), default=None)


def parsed(text: str) -> Any:
    """The value of a text in YAML."""
    return yaml.load(text, NumbersLoader)


def write_whole(file: Path, text: str) -> None:
    """Write a file so that others see all of it, or that of before."""
    draft = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        draft.write_text(text)
        draft.replace(file)
    finally:
        with suppress(OSError):
            draft.unlink()


def _number(text: str) -> float | None:
    value = float(text) if text else math.nan
    return value if math.isfinite(value) else None


def _text(value: Any) -> str:
    """A value so that `parsed` gives it again; empty for None."""
    if value is None:
        return ""
    if isinstance(value, float):
        return repr(value)
    return yaml.safe_dump(value, default_flow_style=True, width=1_000_000).removesuffix("...\n").strip()
