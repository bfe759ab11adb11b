"""Repositories: which commit of a git repository a folder is at, and what has been changed since."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

PATIENCE = 20.0
"""Seconds that git may take."""

MOST = 5_000_000
"""Characters of a difference that are kept: data that were added by mistake are not."""

MOST_UNTRACKED = 500
"""Names of untracked files that are kept."""


@dataclass(frozen=True)
class Repository:
    """The state of a git repository.

    Parameters
    ----------
    directory : str
        Its top.
    commit : str
        What HEAD is; empty before the first commit.
    branch : str
        Its branch; empty where HEAD is none.
    is_dirty : bool
        Whether tracked files differ from it.
    """

    directory: str
    commit: str
    branch: str
    is_dirty: bool

    def record(self) -> dict[str, str | bool | None]:
        """The state as it is written down."""
        return {
            "directory": self.directory,
            "commit": self.commit or None,
            "branch": self.branch or None,
            "dirty": self.is_dirty,
        }

    def patch(self) -> str:
        """What differs from the commit: for `git apply`, with the untracked files' names in front."""
        directory = Path(self.directory)
        untracked = (_git(directory, "ls-files", "--others", "--exclude-standard", "--directory") or "").splitlines()
        lines = [f"# {self.directory}: what differs from commit {self.commit}"]
        lines += [f"# untracked, not kept: {name}" for name in untracked[:MOST_UNTRACKED]]
        lines += [f"# and {len(untracked) - MOST_UNTRACKED} more"] * (len(untracked) > MOST_UNTRACKED)
        difference = _git(directory, "diff", "--no-ext-diff", "--no-color", "HEAD") or ""
        if len(difference) > MOST:
            lines.append(f"# the first {MOST} of {len(difference)} characters: this does not apply")
        return "\n".join([*lines, difference[:MOST], ""])

    def tag(self, name: str) -> None:
        """Give the commit a tag; raises a ValueError that says why that cannot be."""
        done = _run(Path(self.directory), "tag", name)
        if done is None or done.returncode:
            said = "git does not answer" if done is None else " ".join(done.stderr.split())
            raise ValueError(f"git cannot tag the commit of {self.directory} as {name}: {said}")


def repository_of(folder: Path) -> Repository | None:
    """The repository that a folder belongs to; None where there is none, or no git."""
    directory = _git(folder, "rev-parse", "--show-toplevel")
    if not directory:
        return None
    top = Path(directory)
    return Repository(
        directory,
        _git(top, "rev-parse", "--verify", "-q", "HEAD") or "",
        _git(top, "symbolic-ref", "-q", "--short", "HEAD") or "",
        bool(_git(top, "status", "--porcelain", "--untracked-files=no")),
    )


def is_tracked(file: Path) -> bool:
    """Whether a file is part of a repository, and does not only lie in its folder: an environment's packages do not."""
    return _git(file.parent, "ls-files", "--error-unmatch", file.name) is not None


def _git(folder: Path, *arguments: str) -> str | None:
    """What git says; None where it says no."""
    done = _run(folder, *arguments)
    return done.stdout.rstrip("\n") if done is not None and done.returncode == 0 else None


def _run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str] | None:
    """Run git; None where there is none, or it takes too long."""
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    try:
        return subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=PATIENCE,
            env=environment,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
