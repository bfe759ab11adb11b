"""Environments of a job: what makes `salt` there on the node as it is here."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

KINDS = ("venv", "conda", "apptainer", "none")


@dataclass(frozen=True)
class Environment:
    """How a job finds `salt`; pure data.

    Parameters
    ----------
    kind : str
        venv (a folder with bin/salt), conda, apptainer or none (salt is on the PATH of the node already).
    name : str
        Path of the venv, name or path of the conda environment, path or URL of the image; empty for none.
    binds : tuple[str, ...]
        Folders that the container sees, A or A:B; apptainer only.
    modules : tuple[str, ...]
        Names for `module load`, before everything else.
    prelude : str | None
        Shell file that is sourced after the modules and before the environment; None: there is none.
    activate : str
        conda only: path of the script `activate` of the installation.
    gpus : bool
        apptainer only: whether the container is to see the GPUs.
    """

    kind: str = "none"
    name: str = ""
    binds: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    prelude: str | None = None
    activate: str = ""
    gpus: bool = False

    def lines(self) -> list[str]:
        """Lines of bash that come before the command; quoted, each of them whole."""
        lines = [f"module load {shlex.quote(module)}" for module in self.modules]
        if self.prelude:
            lines.append(f"source {shlex.quote(self.prelude)}")
        if self.kind == "venv":
            lines.append(f"export VIRTUAL_ENV={shlex.quote(self.name)}")
            lines.append('export PATH="$VIRTUAL_ENV/bin:$PATH"')
        if self.kind == "conda":
            lines.append(f"source {shlex.quote(self.activate)} {shlex.quote(self.name)}")
        return lines

    def wrapped(self, command: Sequence[str]) -> list[str]:
        """The command as it is run, inside the container where there is one; words, not quoted."""
        if self.kind != "apptainer":
            return list(command)
        binds = [f"--bind={bind}" for bind in self.binds]
        return ["apptainer", "exec", *(["--nv"] if self.gpus else []), *binds, self.name, *command]
