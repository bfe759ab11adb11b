"""Owners: which process has which trial, and whether that one can be proven, or must be believed, to have ended."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from salt.callbacks.processes import Process

BEATS = ".beats"
"""Folder of a sweep with a file a trial, touched by who works on it."""

PULSE = 15.0
"""Seconds between two touches."""

STALE = 150.0
"""Seconds without a touch after which a process of another machine counts as dead."""


@dataclass(frozen=True)
class Owner:
    """A worker of a sweep.

    Parameters
    ----------
    process : Process
        Its process.
    job : str
        The batch system's name of its job, the same after a requeue; empty: none.
    restarts : int
        How often that job has been requeued.
    """

    process: Process
    job: str = ""
    restarts: int = 0

    @classmethod
    def this(cls) -> Self:
        """The process that asks."""
        restarts = os.environ.get("SLURM_RESTART_COUNT", "0")
        return cls(Process.this(), job_name(), int(restarts) if restarts.isdigit() else 0)

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Self | None:
        """The owner that a trial's record names; None where it names none."""
        process = Process.of(record)
        return None if process is None else cls(process, str(record.get("job", "")), int(record.get("restarts", 0)))

    def record(self) -> dict[str, Any]:
        """For the study."""
        return {**asdict(self.process), "job": self.job, "restarts": self.restarts}

    def has_ended(self, folder: Path, number: int) -> bool:
        """Whether it no longer works on a trial: known on its own machine, else told by its job, or by its silence."""
        known = self.process.has_ended()
        if known is not None:
            return known
        here = Owner.this()
        if self.job and self.job == here.job and self.restarts < here.restarts:
            return True  # that was this job, before it was requeued
        return silence(folder, number) > STALE


def job_name() -> str:
    """What the batch system calls this job; empty: none does."""
    slurm = os.environ.get("SLURM_JOB_ID")
    return os.environ.get("SALT_JOB_ID") or (f"slurm-{slurm}" if slurm else "")


def shared_name() -> str:
    """What the jobs of an array, or of one submission, have in common; empty where this is no job."""
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    if array:
        return f"slurm-{array}"
    name = job_name()
    cluster, dot, process = name.rpartition(".")
    return cluster if dot and process.isdigit() else name  # condor-TOKEN-CLUSTER.PROCESS


def beat(folder: Path, number: int) -> None:
    """Say that this process is at work on a trial."""
    file = _file(folder, number)
    file.parent.mkdir(exist_ok=True)
    file.touch()


def end_beat(folder: Path, number: int) -> None:
    """Say that nobody is at work on a trial any more."""
    _file(folder, number).unlink(missing_ok=True)


def silence(folder: Path, number: int) -> float:
    """Seconds since somebody has worked on a trial, by the file system's clock; infinite where nobody ever has."""
    try:
        last = _file(folder, number).stat().st_mtime
    except OSError:
        return float("inf")
    now = folder / BEATS / f".{os.uname().nodename}-{os.getpid()}"
    now.touch()
    try:
        return now.stat().st_mtime - last
    finally:
        now.unlink()


def _file(folder: Path, number: int) -> Path:
    return folder / BEATS / f"{number:04d}"
