"""Environments of a job: what makes `salt` there on the node as it is here."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from salt.data.names import by_nearness

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
        lines = [f"module load {shlex.quote(module)} || exit 2" for module in self.modules]
        if self.prelude:
            lines.append(f"source {shlex.quote(self.prelude)} || exit 2")
        if self.kind == "venv":
            lines.append(f"export VIRTUAL_ENV={shlex.quote(self.name)}")
            lines.append('export PATH="$VIRTUAL_ENV/bin:$PATH"')
        if self.kind == "conda":
            lines.append(f"source {shlex.quote(self.activate)} {shlex.quote(self.name)} || exit 2")
        return lines

    def wrapped(self, command: Sequence[str]) -> list[str]:
        """The command as it is run, inside the container where there is one; words, not quoted."""
        if self.kind != "apptainer":
            return list(command)
        binds = [f"--bind={bind}" for bind in self.binds]
        return ["apptainer", "exec", *(["--nv"] if self.gpus else []), *binds, self.name, *command]

    def outside(self, path: Path) -> Path:
        """Where a path that the job names is on this machine: a container sees A as B where it is bound as A:B."""
        for bind in self.binds:
            here, _, there = bind.partition(":")
            inside = Path(there.partition(":")[0] or here)
            if path.is_relative_to(inside):
                return Path(here) / path.relative_to(inside)
        return path


def chosen(options: Mapping[str, Any], gpus: bool) -> Environment:
    """The environment that options of `salt submit` name, if it is there.

    Parameters
    ----------
    options : Mapping[str, Any]
        As `salt.clusters.options` reads them.
    gpus : bool
        Whether the job has GPUs.
    """
    kind = options.get("env", "venv")
    name, activate = FOUND[kind](options)
    binds = tuple(map(_bind, options.get("bind", ()))) if kind == "apptainer" else ()  # a site's may wait for one
    return Environment(kind, name, binds, tuple(options.get("module", ())), _prelude(options), activate, gpus)


def _prelude(options: Mapping[str, Any]) -> str | None:
    file = options.get("prelude")
    if file is None:
        return None
    if not Path(file).expanduser().is_file():
        raise FileNotFoundError(f"--prelude {file}: there is no such file\n  mend: name a shell file, or leave it out")
    return str(Path(file).expanduser().absolute())


def _bind(text: str) -> str:
    """A bind with its folder here from the root."""
    here, colon, there = text.partition(":")
    folder = Path(here).expanduser().absolute()
    if not folder.exists():
        raise FileNotFoundError(f"--bind {text}: there is no {folder} here\n  mend: name a folder that there is")
    return f"{folder}{colon}{there}"


def _nothing(options: Mapping[str, Any]) -> tuple[str, str]:
    return "", ""


def _venv(options: Mapping[str, Any]) -> tuple[str, str]:
    """The folder of a venv; that of this process where none is named."""
    folder = Path(options.get("venv", sys.prefix)).expanduser().absolute()
    if not (folder / "bin" / "salt").is_file():
        what = f"--venv {folder}" if "venv" in options else f"the environment that salt runs in, {folder},"
        raise FileNotFoundError(
            f"{what} has no bin/salt\n  mend: name an environment that salt is installed in: --venv, --conda or --image"
        )
    return str(folder), ""


def _conda(options: Mapping[str, Any]) -> tuple[str, str]:
    """A conda environment, by its path, and the script that activates it."""
    name = options.get("conda")
    if name is None:
        raise ValueError("--env conda names no environment\n  mend: --conda NAME")
    program = os.environ.get("CONDA_EXE") or shutil.which("conda")
    activate = Path(program).resolve().parent.parent / "bin" / "activate" if program else None
    if program is None or activate is None or not activate.is_file():
        raise FileNotFoundError(
            f"--conda {name}: no conda is found here, by CONDA_EXE or on the PATH, with its script bin/activate\n"
            "  mend: activate conda first, or name a --prelude that does, with --env none"
        )
    folders = _conda_folders(program)
    wanted = Path(name).expanduser().absolute() if "/" in name else None
    found = next((each for each in folders if each == wanted or each.name == name), wanted)
    if found is None or not (found / "bin" / "salt").is_file():
        reason = f"{found} has no bin/salt" if found else "there is no such environment"
        there = ", ".join(by_nearness(name, [each.name for each in folders])) or "none"
        raise FileNotFoundError(f"--conda {name}: {reason}; {program} knows: {there}\n  mend: name one with salt in it")
    return str(found), str(activate)


def _conda_folders(program: str) -> list[Path]:
    """Folders of all environments that a conda knows."""
    done = subprocess.run([program, "env", "list", "--json"], capture_output=True, text=True, check=False)
    try:
        return [Path(folder) for folder in json.loads(done.stdout)["envs"]]
    except (ValueError, KeyError) as error:
        raise ValueError(f"{program} env list --json says: {(done.stderr or done.stdout).strip()}") from error


def _image(options: Mapping[str, Any]) -> tuple[str, str]:
    """The image of a container: a file, a folder, or a URL as docker://..."""
    image = options.get("image")
    if image is None:
        raise ValueError("--env apptainer names no image\n  mend: --image FILE")
    if "://" in image:
        return image, ""
    file = Path(image).expanduser().absolute()
    if not file.exists():
        raise FileNotFoundError(
            f"--image {image}: there is no {file}{_beside(file)}\n  mend: name a file, or docker://..."
        )
    return str(file), ""


def _beside(file: Path) -> str:
    """What images there are in the same folder, in words."""
    there: Iterable[str] = (each.name for each in file.parent.glob(f"*{file.suffix or '.sif'}"))
    return f"; in {file.parent} there are: {', '.join(by_nearness(file.name, there)) or 'none'}"


FOUND = {"venv": _venv, "conda": _conda, "apptainer": _image, "none": _nothing}
"""Kind of environment -> what finds it: its name, and the script that activates it."""
