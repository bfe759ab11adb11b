"""The same job on this machine, now, in the foreground: the tasks of an array one after the other."""

from __future__ import annotations

import logging
import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType

from salt.clusters.job import Job, command_line, stage_lines
from salt.data.death import told_by_death_of

info = logging.getLogger(__name__).info

FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""Signals that the training is to answer."""


def render(job: Job) -> dict[str, str]:
    """The script of one task, by the name of a file for it; SALT_TASK says which."""
    if job.resources.nodes > 1:
        raise ValueError(
            f"--nodes {job.resources.nodes}: there is one machine here\n"
            "  mend: --nodes 1, or salt submit slurm for several"
        )
    lines = [
        "#!/bin/bash",
        f"cd {shlex.quote(str(job.directory))} || exit 2",
        "export OMP_WAIT_POLICY=PASSIVE",
        "export SALT_TASK=${SALT_TASK:-0}",
        ': "${SALT_JOB_ID:=local-$$}"' if job.stage else "",  # not exported: nothing goes on by it
        *job.environment.lines(),
        *stage_lines(job),
        f"exec {command_line(job)}",  # signals come to salt itself
    ]
    return {f"{job.name}.sh": "\n".join(line for line in lines if line) + "\n"}


def run(job: Job) -> int:
    """Run the job to its end; returns the exit code of the first task that failed, 128 + its number for a signal."""
    (script,) = render(job).values()
    if job.environment.kind == "apptainer" and shutil.which("apptainer") is None:
        raise FileNotFoundError("there is no apptainer on the PATH here\n  mend: install it, or --venv PATH")
    for task in range(job.array or 1):
        if job.array:
            info("task %d of 0 to %d", task, job.array - 1)
        code = _run(script, task)
        if code:
            return code
    return 0


def _run(script: str, task: int) -> int:
    """Run one task, with the signals that come to this process."""
    environment = {**os.environ, "SALT_TASK": str(task)}
    early: list[int] = []
    told = partial(told_by_death_of, os.getpid())  # the training saves and ends where this process is killed
    with _handled(early.append):  # it may be at work before Popen returns
        # a group of its own: Ctrl-C in a terminal would come twice, from there and from here
        process = subprocess.Popen(["bash", "-c", script], env=environment, process_group=0, preexec_fn=told)
        with _handled(process.send_signal):
            for number in early:
                process.send_signal(number)
            code = process.wait()
    return 128 - code if code < 0 else code


@contextmanager
def _handled(answer: Callable[[int], None]) -> Iterator[None]:
    """Answer signals in this way inside the block."""

    def handle(number: int, frame: FrameType | None) -> None:
        answer(number)

    answered = [number for number in FORWARDED if signal.getsignal(number) is not signal.SIG_IGN]  # as after nohup
    before = {number: signal.signal(number, handle) for number in answered}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
