"""The process of a trial: a `salt fit` of its own, which ends with its worker, and asks it after each validation."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from salt.callbacks import questions
from salt.data.death import told_by_death_of
from salt.sweeps import owner
from salt.sweeps.folder import TRIALS
from salt.sweeps.plan import Plan
from salt.sweeps.space import option
from salt.sweeps.study import Trial

PAUSE = 0.5
"""Seconds between two looks whether it has ended."""

CONFIGS = "configs"
"""Folder of a sweep with copies of the files of --config: all trials have the same, whatever becomes of these."""

OF_JOB = frozenset({"SLURM_RESTART_COUNT", "SLURM_NTASKS", "SLURM_NTASKS_PER_NODE", "SLURM_NPROCS",
                    "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID"})  # fmt: skip
"""Variables that a trial does not see: it would go on with another trial's run after a requeue, and take the tasks of
the worker's step for ranks of its own, and itself for one that leaves all writing to the first."""


class Process:
    """A running trial.

    Parameters
    ----------
    arguments : Sequence[str]
        Of salt, the verb first.
    directory : str
        Where relative paths begin.
    log_file : Path
        Where it speaks; what is there stays.
    objective : str
        The metric that it reports.
    job : str
        Name of its job; empty: none.
    """

    def __init__(self, arguments: Sequence[str], directory: str, log_file: Path, objective: str, job: str) -> None:
        self._ear, its_end = socket.socketpair()
        environment = {name: text for name, text in os.environ.items() if name not in OF_JOB}
        environment |= questions.introduced(objective, its_end.fileno())
        if job:
            environment["SALT_JOB_ID"] = job
        log_file.parent.mkdir(parents=True, exist_ok=True)
        with its_end, log_file.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "salt", *arguments],
                cwd=directory if Path(directory).is_dir() else None,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[its_end.fileno()],
                start_new_session=True,  # Ctrl-C comes to the worker, which hands it on
                preexec_fn=_ended_with(os.getpid()),
            )
        self._is_heard = True

    def send(self, number: int) -> None:
        """Hand a signal on."""
        self._process.send_signal(number)

    def wait(self, answer: Callable[[Mapping[str, Any]], str], pulse: Callable[[], None]) -> int:
        """Answer its questions until it ends; the exit code, negative where a signal has ended it.

        Parameters
        ----------
        answer : Callable[[Mapping[str, Any]], str]
            What to answer to a question.
        pulse : Callable[[], None]
            Called twice a second.
        """
        with self._ear:
            while (code := self._process.poll()) is None:
                pulse()
                ears = [self._ear] if self._is_heard else []
                if select.select(ears, [], [], PAUSE)[0]:
                    self._hear(answer)
        return code

    def _hear(self, answer: Callable[[Mapping[str, Any]], str]) -> None:
        try:
            question = questions.heard(self._ear)
            if question is not None:
                questions.say(self._ear, {"answer": answer(question)})
        except ConnectionError:
            question = None
        self._is_heard = question is not None


def started(plan: Plan, trial: Trial, folder: Path, own: Sequence[str]) -> Process:
    """The process of a trial: a new run, or one that goes on in its directory; `own` are options of this worker."""
    if (trial.run / "config.yaml").is_file():
        arguments = ["fit", "--resume", str(trial.run), *own]
    else:
        options = [option(key, value) for key, value in trial.parameters.items()]
        place = [f"--trainer.default_root_dir={folder / TRIALS}", f"--log_suffix={trial.number:04d}"]
        arguments = ["fit", *with_copies(plan.arguments, folder), *options, *place, *own]
    job = owner.job_name()
    its_job = f"{job}-trial-{trial.number:04d}" if job else ""
    return Process(arguments, plan.directory, log_file(trial), plan.objective, its_job)


def log_file(trial: Trial) -> Path:
    """Where a trial speaks."""
    return trial.run.with_name(f"{trial.run.name}.log")


def with_copies(arguments: Sequence[str], folder: Path) -> list[str]:
    """The arguments, with the sweep's copies in place of files of --config that it has copied."""
    copies = iter(range(len(arguments)))
    return [
        f"--config={copy if (copy := folder / CONFIGS / f'{next(copies)}-{Path(name).name}').is_file() else name}"
        if is_config
        else name
        for name, is_config in configs_in(arguments)
    ]


def configs_in(arguments: Sequence[str]) -> list[tuple[str, bool]]:
    """Each argument, or the name of a file of --config in the place of two, and whether it is one."""
    found: list[tuple[str, bool]] = []
    rest = iter(arguments)
    for argument in rest:
        key, equals, value = argument.partition("=")
        is_config = key in {"-c", "--config"}
        found.append((value if equals else next(rest, ""), True) if is_config else (argument, False))
    return found


def _ended_with(worker: int) -> Callable[[], None]:
    """What a trial does first: it wants a SIGTERM, upon which it saves, when its worker ends without a word."""

    def ask() -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, signal.SIG_DFL)  # what the worker answers
        told_by_death_of(worker)

    return ask
