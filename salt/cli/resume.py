"""Going on with a run: `--resume RUN`, a requeued job, and `--ckpt_path last|best`.

Written out as `--config RUN/config.yaml --ckpt_path FILE` before the parser sees it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from lightning.pytorch.loggers import CSVLogger, Logger
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from salt.cli import configs
from salt.cli.files import PACKAGED, packaged_config
from salt.cli.runs import run_config
from salt.training import checkpoints
from salt.training.curve import continue_curve
from salt.training.run_files import absolute, is_url, joined, listed, open_run_file

log = logging.getLogger(__name__)

OPTION = "--resume"

FOUND_BY_WORD = {"last": checkpoints.last, "best": checkpoints.best}
"""What --ckpt_path may say in the place of a file -> what finds it in a run."""


class Resumption(NamedTuple):
    """A command line that goes on with a run, or not.

    Parameters
    ----------
    arguments : list[str]
        As the parser may see them.
    run : str | None
        Directory of the run that goes on; None: a new run.
    finished : bool
        Whether there is nothing left to do.
    """

    arguments: list[str]
    run: str | None
    finished: bool


def resumed(arguments: Sequence[str]) -> Resumption:
    """The command line of a `fit`, written out where it goes on with a run: by --resume, or as a requeued job."""
    rest, run = _without_resume(arguments)
    if run is None:
        run = _requeued(rest)
        if run is None:
            return Resumption(list(arguments), None, False)
        log.info("job %s was requeued: going on in %s", os.environ["SLURM_JOB_ID"], run)
        rest = [rest[0], *configs.split(rest[1:])[1]]
    if any(argument.partition("=")[0] == "--ckpt_path" for argument in rest):
        raise ValueError(
            f"{OPTION} goes on from the newest checkpoint of {run}, and --ckpt_path names another\n"
            f"  mend: leave one of them out; --config {run}/config.yaml --ckpt_path FILE begins a run of its own"
        )
    config = run_config(run)
    run = absolute(str(config).rpartition("/")[0])
    rest = [rest[0], f"--config={config}", *rest[1:]]
    found = checkpoints.newest(run)
    if found is None:
        log.info("no checkpoint in %s: training from the start", run)
        return Resumption(rest, run, False)
    finished = _is_finished(found, run, rest[1:])
    if not finished:
        log.info("going on in %s from %s (step %d)", run, found.path.rpartition("/")[2], found.step)
    return Resumption([*rest, f"--ckpt_path={found.path}"], run, finished)


def found_by_word(word: str, files: Iterable[str | Path], key: str = "--ckpt_path") -> str:
    """The checkpoint that `last` or `best` names, in the run whose config was given.

    Parameters
    ----------
    word : str
        last or best.
    files : Iterable[str | Path]
        The files of --config.
    key : str
        What said so, for the message.
    """
    runs = [str(file).rpartition("/")[0] or "." for file in files]
    run = next((run for run in reversed(runs) if listed(run, checkpoints.FOLDER, ".ckpt")), None)
    if run is None:
        raise ValueError(
            f"{key} {word} means a checkpoint of the run whose config is given, and no --config is that of a run\n"
            f"  mend: give --config RUN/config.yaml, or {key} FILE"
        )
    found = FOUND_BY_WORD[word](run)
    log.info("%s checkpoint of %s: %s", word, run, found.path)
    return found.path


def continue_curves(loggers: Iterable[Logger], checkpoint: str | None) -> None:
    """Have metrics.csv go on where a checkpoint of its own run stands; None: begin anew."""
    found = None if checkpoint is None else checkpoints.facts(checkpoint)
    for logger in loggers:
        if isinstance(logger, CSVLogger) and getattr(rank_zero_only, "rank", 0) == 0:
            continue_curve(logger, 0 if found is None else found.batches)


def _without_resume(arguments: Sequence[str]) -> tuple[list[str], str | None]:
    """The arguments without --resume RUN, and that run."""
    rest: list[str] = []
    run: str | None = None
    remaining = iter(arguments)
    for argument in remaining:
        key, equals, value = argument.partition("=")
        if key != OPTION:
            rest.append(argument)
            continue
        run = value if equals else next(remaining, "")
        if not run or run.startswith("-"):
            raise ValueError(f"{OPTION} names no run\n  mend: {OPTION} RUN, the directory of a run")
    return rest, run


def _requeued(arguments: Sequence[str]) -> str | None:
    """The run that this job began before it was requeued; None where there is none, or the user names a checkpoint."""
    job, restarts = os.environ.get("SLURM_JOB_ID"), os.environ.get("SLURM_RESTART_COUNT", "0")
    if not job or not restarts.isdigit() or int(restarts) == 0:
        return None
    files, options = configs.split(arguments[1:])
    wanted = configs.merged([*_sources(files), configs.options(options)])
    if wanted.get("ckpt_path"):
        return None
    logs = absolute((wanted.get("trainer") or {}).get("default_root_dir") or "logs")
    name = str(wanted.get("name", "salt"))
    found = [
        (metadata.stat().st_mtime, str(metadata.parent))
        for metadata in ([] if is_url(logs) else Path(logs).glob(f"{name}_*/metadata.yaml"))
        if _job_of(metadata) == job and (metadata.parent / "config.yaml").is_file()
    ]
    return max(found)[1] if found else None


def _job_of(metadata: Path) -> str:
    """The Slurm job that a run's metadata tell of."""
    try:
        content = yaml.safe_load(metadata.read_text())
    except (OSError, yaml.YAMLError):
        return ""
    return str(content.get("slurm_job_id", "")) if isinstance(content, dict) else ""


def _is_finished(found: checkpoints.Facts, run: str, arguments: Sequence[str]) -> bool:
    """Whether a run has done all that it was to do, and says so."""
    files, options = configs.split(arguments)
    trainer: dict[str, Any] = configs.merged([*_sources(files), configs.options(options)]).get("trainer") or {}
    epochs, steps = trainer.get("max_epochs"), trainer.get("max_steps")
    state = _state_of(run)
    # its last checkpoint may be damaged, or gone
    stopped_early = not options and state.get("state") == "finished" and (found.epochs or 0) >= state.get("epoch", 0)
    all_epochs = isinstance(epochs, int) and epochs >= 0 and found.epochs is not None and found.epochs >= epochs
    all_steps = isinstance(steps, int) and steps >= 0 and found.step >= steps
    if not (stopped_early or all_epochs or all_steps):
        return False
    how_far = f"epoch {found.epochs} of {epochs}, step {found.step}"
    log.info("%s is finished (%s): nothing to do; --trainer.max_epochs N trains longer", run, how_far)
    return True


def _sources(files: Iterable[str]) -> list[configs.Source]:
    return [configs.read(file) for file in (PACKAGED / "base.yaml", *map(packaged_config, files))]


def _state_of(run: str) -> dict[str, Any]:
    """What the record of a run says of its state; empty where it says nothing."""
    try:
        with open_run_file(joined(run, "state.yaml")) as file:
            content = yaml.safe_load(file)
    except (OSError, yaml.YAMLError):
        return {}
    return content if isinstance(content, dict) else {}
