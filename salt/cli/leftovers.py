"""Leftovers of runs: what dead ones have left behind that nobody needs; what is not ours, or not dead, stays."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from salt.callbacks.processes import Process, is_held
from salt.callbacks.run_text import read_yaml
from salt.cli.summary import is_run
from salt.training.run_files import parts

RUN = re.compile(r".+_\d{8}-\d{6}$")
"""Names that salt gives to runs."""

CRUMBS = re.compile(r"metrics\.csv|hparams\.yaml|state\.yaml|\.lock|events\.out\.tfevents\..+|\..+\.part")
"""Files that a run makes before it has done anything: its loggers' files, its state."""

DAY = 86400
"""Seconds after which a folder that nobody holds is nobody's: file systems may know nothing of locks elsewhere."""


@dataclass(frozen=True)
class Leftover:
    """Something to remove, or to leave.

    Parameters
    ----------
    path : Path
        A file, or the folder of a run that never began.
    goes : bool
        Whether it may be removed.
    why : str
        The reason.
    """

    path: Path
    goes: bool
    why: str


def leftovers(folders: Sequence[Path]) -> Iterator[Leftover]:
    """What runs have left behind, in folders that are runs or hold some.

    Parameters
    ----------
    folders : Sequence[Path]
        They exist.
    """
    for folder in folders:
        inside = sorted(path for path in folder.iterdir() if path.is_dir() and not path.is_symlink())
        for run in [folder] if is_run(folder) else inside:
            yield from _of_run(run)


def _of_run(run: Path) -> Iterator[Leftover]:
    if not is_run(run) and not RUN.match(run.name) and not (run / "state.yaml").is_file():
        return
    unfinished = parts(run)
    never_began = not is_run(run) and _is_crumbs(run)
    if not unfinished and not never_began:
        return
    is_dead, why = _is_dead(run)
    if never_began:
        yield Leftover(run, is_dead, f"a run that never began; {why}")
    else:
        yield from (Leftover(part, is_dead, f"not written to its end; {why}") for part in unfinished)


def _is_crumbs(folder: Path) -> bool:
    """Whether there is nothing in a folder, whatever is below it, but what is made before a run begins."""
    return all(
        (path.is_dir() and not path.is_symlink()) or (CRUMBS.fullmatch(path.name) and not path.is_symlink())
        for path in folder.rglob("*")
    )


def _is_dead(run: Path) -> tuple[bool, str]:
    """Whether nobody works in a run's directory any more, and how that is known."""
    if is_held(run):
        return False, "a process is at work in it"
    state = read_yaml(run / "state.yaml")
    if state and state.get("state") != "running":
        return True, f"it is {state.get('state')}"
    process = Process.of(state)
    if process is not None:
        ended = process.has_ended()
        if ended is None:
            return False, f"process {process.pid} of {process.host} may still be at work: only {process.host} can tell"
        known = f"process {process.pid}"
        return ended, f"{known} has ended" if ended else f"{known} is at work"
    newest = max(path.lstat().st_mtime for path in (run, *run.rglob("*")))
    if time.time() - newest < DAY:
        return False, "nobody holds it, but it is younger than a day, and says nothing of its process"
    return True, "nobody holds it, and nothing has happened in it for a day"


def remove(leftover: Leftover) -> bool:
    """Remove it, unless it has come to life; whether it is gone."""
    run = leftover.path if leftover.path.is_dir() else leftover.path.parent
    if leftover.path.is_file():
        run = run.parent if run.name == "ckpts" else run
    if not _is_dead(run)[0]:
        return False
    if not leftover.path.is_dir():
        leftover.path.unlink(missing_ok=True)
        return True
    if is_run(run) or not _is_crumbs(run):
        return False
    for path in sorted(run.rglob("*"), reverse=True):  # what is inside comes first
        path.rmdir() if path.is_dir() else path.unlink(missing_ok=True)
    with suppress(FileNotFoundError):
        run.rmdir()
    return True
