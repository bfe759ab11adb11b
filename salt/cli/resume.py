"""Going on with a run: `--resume RUN`, a job that is begun again, and `--ckpt_path last|best`.

Written out as `--config RUN/config.yaml --ckpt_path FILE` before the parser sees it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Sequence
from glob import escape
from itertools import pairwise
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

NAME, SUFFIX = ("--name", "-n"), ("--log_suffix", "-ls")
"""Options that say what a run's directory is called."""

FOUND_BY_WORD = {"last": checkpoints.last, "best": checkpoints.best}
"""What --ckpt_path may say in the place of a file -> what finds it in a run."""


class BatchJob(NamedTuple):
    """The job of a batch system that this process belongs to, and may have belonged to before it was begun again.

    Parameters
    ----------
    key : str
        Under which key of metadata.yaml its runs have its name.
    name : str
        Its name, which stays when it is begun again.
    """

    key: str
    name: str


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
    """The command line of a `fit`, written out where it goes on with a run: by --resume, or as a job begun again."""
    rest, run = _without_resume(arguments)
    if run is None:
        run = _of_job(rest)
        if run is None:
            return Resumption(list(arguments), None, False)
        options = _without(lambda key: key.endswith("+"), configs.split(rest[1:])[1])  # the config has them already
        if checkpoints.newest(run) is not None:
            options = _without(lambda key: key == "--ckpt_path", options)  # the run's own came later
        rest = [rest[0], *options]
    elif any(argument.partition("=")[0] == "--ckpt_path" for argument in rest):
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


def _of_job(arguments: Sequence[str]) -> str | None:
    """The run that this job began before it was begun again; None where there is none."""
    job = _job()
    if job is None:
        return None
    files, options = configs.split(arguments[1:])
    wanted = _config(files, options)
    logs = absolute((wanted.get("trainer") or {}).get("default_root_dir") or "logs")
    name, suffix = (_text(options, names) or wanted.get(names[0][2:]) for names in (NAME, SUFFIX))
    pattern = f"{escape(str(name or 'salt'))}_{'*' if suffix is None else escape(str(suffix))}"
    found = [
        (metadata.stat().st_mtime, str(metadata.parent))
        for metadata in ([] if is_url(logs) else Path(logs).glob(f"{pattern}/metadata.yaml"))
        if _is_of(job, metadata) and (metadata.parent / "config.yaml").is_file()
    ]
    if not found:
        return None
    run = max(found)[1]
    log.info("job %s was begun again: going on in %s", job.name, run)
    return run


def _text(options: Sequence[str], names: Sequence[str]) -> str | None:
    """What the last option of any of these names says, as it is written: 0012 is not 10."""
    values = [
        value if equals else following
        for option, following in pairwise([*options, ""])
        for key, equals, value in [option.partition("=")]
        if key in names
    ]
    return values[-1] if values else None


def _job() -> BatchJob | None:
    """The job, where it can have been begun before; scripts of `salt submit` name it in SALT_JOB_ID."""
    if name := os.environ.get("SALT_JOB_ID"):
        return BatchJob("salt_job_id", name)
    name, restarts = os.environ.get("SLURM_JOB_ID"), os.environ.get("SLURM_RESTART_COUNT", "0")
    return BatchJob("slurm_job_id", name) if name and restarts.isdigit() and int(restarts) else None


def _is_of(job: BatchJob, metadata: Path) -> bool:
    """Whether a run's metadata tell of a job."""
    try:
        text = metadata.read_text()
        content = yaml.safe_load(text) if job.name in text else None  # there may be thousands of runs
    except (OSError, yaml.YAMLError):
        return False
    return isinstance(content, dict) and str(content.get(job.key)) == job.name


def _without(is_meant: Callable[[str], bool], options: Sequence[str]) -> list[str]:
    """Options without some, and their values."""
    rest: list[str] = []
    remaining = iter(options)
    for option in remaining:
        key, equals, _ = option.partition("=")
        if not is_meant(key):
            rest.append(option)
        elif not equals:
            next(remaining, None)
    return rest


def _is_finished(found: checkpoints.Facts, run: str, arguments: Sequence[str]) -> bool:
    """Whether a run has done all that it was to do, and says so."""
    files, options = configs.split(arguments)
    trainer = _config(files, options).get("trainer") or {}
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


def _config(files: Iterable[str], options: Sequence[str]) -> dict[str, Any]:
    """What base.yaml, these files and these options say together."""
    read = [configs.read(file) for file in (PACKAGED / "base.yaml", *map(packaged_config, files))]
    return configs.merged([*read, configs.options(options)])


def _state_of(run: str) -> dict[str, Any]:
    """What the record of a run says of its state; empty where it says nothing."""
    try:
        with open_run_file(joined(run, "state.yaml")) as file:
            content = yaml.safe_load(file)
    except (OSError, yaml.YAMLError):
        return {}
    return content if isinstance(content, dict) else {}
