"""`salt submit`: a verb of salt as a job on a cluster, looked at here before it waits in a queue there."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module, resources
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from salt.clusters.job import Job
from salt.clusters.options import parsed, parser
from salt.clusters.rules import check
from salt.clusters.site import defaults
from salt.data.names import unknown

info = logging.getLogger(__name__).info
warn = logging.getLogger(__name__).warning

SCRIPT = "submit_slurm.sh"

NOT_AS_JOBS = ("submit", "runs")

DESCRIPTION = f"""\
Run a verb of salt as a job: on a cluster with Slurm or HTCondor, or on this machine.

usage: salt submit slurm|condor|local [OPTIONS] [VERB] [ARGUMENTS OF THE VERB]
       salt submit script             write {SCRIPT} here, to change it, and to submit it with sbatch

VERB is fit where none is named. What is none of the options below is the verb's own:
  salt submit slurm --partition gpu --gpus 2 --time 4:00:00 --config gnn.yaml --data.batch_size 500
  salt submit slurm --gpus 1 --array 5 sweep space.yaml --config gnn.yaml
  salt submit slurm --dry-run test logs/GNN_20261122-101500

The job runs in this folder, and in the environment that salt submit runs in where no option names another one.
Slurm gives it the variables of your environment, keys of services too; none of them is written into a script.
HTCondor shows a job's variables to everybody, so keys stay behind there: export them in a --prelude.
"""

EPILOG = """
Defaults of a cluster: ~/.config/salt/site.yaml, over it --site, over that the command line; the keys are names of
options (partition: gpu). --gpus, --tasks and --nodes say how many ranks train: trainer.devices and trainer.num_nodes
follow; where only the config says how many, the job follows. Names of options may be written with - or with _.
"""


def _queue(backend: ModuleType, job: Job, wait: bool) -> int:
    """Hand a job to a scheduler; the number alone goes to stdout, for programs."""
    _make(job.log_dir)

    def tell(number: str) -> None:
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()
        info("submitted %s as job %s; logs: %s", job.name, number, job.log_dir)

    if wait:
        code: int = backend.submit_and_wait(job, tell)
        return code
    tell(backend.submit(job))
    return 0


def _run(backend: ModuleType, job: Job, wait: bool) -> int:
    """Run a job here."""
    code: int = backend.run(job)
    return code


class Backend(NamedTuple):
    """Where jobs go: its module, what has it run a job, and options that mean nothing to it."""

    module: str
    run: Callable[[ModuleType, Job, bool], int]
    ignores: tuple[str, ...] = ()


BACKENDS = {
    "slurm": Backend("salt.clusters.slurm", _queue),
    "condor": Backend("salt.clusters.condor", _queue, ("partition", "qos")),
    "local": Backend("salt.clusters.local", _run, (
        "partition", "account", "qos", "constraint", "memory", "time", "cpus", "extra", "gpu_request", "after",
        "signal_before", "max_restarts", "log_dir", "wait",
    )),
}  # fmt: skip


def main(arguments: Sequence[str]) -> int:
    """Submit a job, or print what would be submitted; returns the exit code."""
    if not arguments or {"-h", "--help"} & set(arguments):
        sys.stdout.write(f"{DESCRIPTION}\n{parser().format_help().partition(chr(10) * 2)[2]}{EPILOG}")
        return 0 if arguments else 2
    name, *rest = arguments
    if name == "script":
        return _write_script(rest)
    if name not in BACKENDS:
        raise ValueError(unknown("scheduler", name, [*BACKENDS, "script"], "salt submit"))
    backend = BACKENDS[name]
    asked, words = parsed(rest)
    for option in backend.ignores:
        if option in asked:
            warn("--%s means nothing to salt submit %s", option.replace("_", "-"), name)
    job = _job(asked, words)
    check(job, asked.get("site"))
    module = import_module(backend.module)
    if "dry_run" in asked:
        return _show(module.render(job))
    return backend.run(module, job, "wait" in asked)


def _job(asked: Mapping[str, object], words: Sequence[str]) -> Job:
    """The job, with keys of services taken from its words into the environment, which goes with it."""
    from salt.cli import request, secrets  # half a second, which --help does without

    verb, own = _verb(words)
    without_keys = secrets.options_without_keys(own)
    if without_keys != own:
        info("a key on the command line goes into the variable %s, and into no script", secrets.KEY)
    site = defaults(str(asked["site"]) if "site" in asked else None)
    return request.requested(verb, without_keys, asked, site)


def _verb(words: Sequence[str]) -> tuple[str, list[str]]:
    """The verb that is to be run, and its arguments."""
    if not words or words[0].startswith("-"):
        return "fit", list(words)
    if words[0] not in verbs():
        raise ValueError(f"{unknown('verb', words[0], verbs(), 'salt submit')}\n  mend: name one, or an option of fit")
    return words[0], list(words[1:])


def verbs() -> list[str]:
    """Verbs that can be run as jobs."""
    from salt.cli.main import VERBS  # which names this module

    return [name for name in VERBS if name not in NOT_AS_JOBS]


def _show(files: Mapping[str, str]) -> int:
    """Print the files that would be submitted."""
    for name, text in files.items():
        sys.stdout.write(text if len(files) == 1 else f"# {name}\n{text}\n")
    return 0


def _make(folder: Path) -> None:
    """Make the folder of the logs: a scheduler says nothing of one that it cannot write to, and the job is gone."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"--log-dir {folder}: {error.strerror or error}"
        raise OSError(f"{message}\n  mend: name a folder that you can write to") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        message = f"--log-dir {folder} cannot be written to"
        raise PermissionError(f"{message}\n  mend: name a folder that you can write to")


def _write_script(arguments: Sequence[str]) -> int:
    """Write the script that ships to this folder."""
    if arguments:
        raise ValueError(f"salt submit script takes no arguments, not {' '.join(arguments)}")
    target = Path(SCRIPT).absolute()
    text = (resources.files("salt") / "clusters" / SCRIPT).read_text()
    try:
        with target.open("x") as file:
            file.write(text)
    except FileExistsError as error:
        message = f"{target} is there already\n  mend: move it away, or do this in another folder"
        raise FileExistsError(message) from error
    target.chmod(0o755)
    info("wrote %s: look at its head, then: sbatch %s", target, SCRIPT)
    return 0
