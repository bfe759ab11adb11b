"""Provenance: where a run was started, by which command, with which code and packages."""

from __future__ import annotations

import os
import platform
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from salt import __version__
from salt.callbacks.repository import Repository, is_tracked, repository_of
from salt.callbacks.secrets import hidden, hidden_arguments

PACKAGE = Path(__file__).resolve().parent.parent

VARIABLES = (
    "CUDA_VISIBLE_DEVICES",
    "OMP_NUM_THREADS",
    "SALT_STORE",
    "SLURM_ARRAY_JOB_ID",
    "SLURM_ARRAY_TASK_ID",
    "SLURM_JOB_ID",
    "SLURM_JOB_NODELIST",
    "SLURM_NTASKS",
    "SLURM_RESTART_COUNT",
    "TMPDIR",
)
"""Variables of the environment that are written down; no others are: they may hold keys."""


@dataclass(frozen=True)
class Provenance:
    """Where a run comes from.

    Parameters
    ----------
    command : list[str]
        The command line, without secrets.
    repository : Repository | None
        Of the folder that the user works in.
    salt : Repository | None
        Of this package, where it is one that is worked on.
    """

    command: list[str]
    repository: Repository | None
    salt: Repository | None

    @classmethod
    def here(cls, arguments: Sequence[str], secrets: set[str]) -> Provenance:
        """Of this process.

        Parameters
        ----------
        arguments : Sequence[str]
            What the user wrote after `salt`.
        secrets : set[str]
            What must not be written down.
        """
        own = repository_of(PACKAGE) if is_tracked(PACKAGE / "__init__.py") else None
        return cls(["salt", *hidden_arguments(arguments, secrets)], repository_of(Path.cwd()), own)

    def record(self) -> dict[str, Any]:
        """All of it as it is written down."""
        return {
            "salt_version": __version__,
            "command": shlex.join(self.command),
            "cwd": str(Path.cwd()),
            "environment": environment(),
            "salt_job_id": os.environ.get("SALT_JOB_ID"),
            "slurm_job_id": os.environ.get("SLURM_JOB_ID"),
            "git": self.repository.record() if self.repository else None,
            "salt_git": self.salt.record() if self.salt else None,
            "packages": packages(),
        }

    def dirty(self) -> list[Repository]:
        """The repositories that differ from their commits."""
        return list({each.directory: each for each in (self.repository, self.salt) if each and each.is_dirty}.values())

    def patch(self, secrets: set[str]) -> str:
        """What differs from the commits; empty where nothing does."""
        return hidden("\n".join(each.patch() for each in self.dirty()), secrets)


def environment() -> dict[str, Any]:
    """The Python, the machine and the batch job."""
    return {
        "python": platform.python_version(),
        "executable": sys.executable,
        "system": platform.platform(),
        "cpus": os.cpu_count(),
        **{name: os.environ[name] for name in VARIABLES if name in os.environ},
    }


def packages() -> dict[str, str]:
    """All that is installed: name -> version, as the folders say; to open each one's metadata takes a second."""
    folders = [folder.stem.rpartition("-") for path in sys.path for folder in Path(path).glob("*.dist-info")]
    return dict(sorted((re.sub(r"[-_.]+", "-", name).lower(), version) for name, _, version in folders))
