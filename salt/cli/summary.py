"""Summary of a run: what its directory says of it, read without torch."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from salt.callbacks.processes import Process
from salt.callbacks.run_text import read_yaml
from salt.data.names import by_nearness

LOSS = re.compile(r"epoch=(\d+)-(.+)=(-?\d+\.\d+)\.ckpt$")
"""Of a checkpoint's name: its epoch, the metric and its value."""

EPOCH = re.compile(r"epoch=(\d+)")

LOGS = Path("logs")


@dataclass(frozen=True)
class Summary:
    """What there is to say of a run in a line.

    Parameters
    ----------
    path : Path
        Its directory.
    state : str
        running, finished, interrupted, failed, killed, or what else can be known.
    reason : str | None
        Why it ended; None where it ended well, or nothing is known.
    epoch : int
        Epochs that are done.
    epochs : int | None
        Epochs that were asked for.
    best : dict[str, Any] | None
        Name and value of what checkpoints are compared by; None where nothing was validated.
    data : list[str]
        The training files, as the config names them.
    started : str | None
        When.
    """

    path: Path
    state: str
    reason: str | None
    epoch: int
    epochs: int | None
    best: dict[str, Any] | None
    data: list[str]
    started: str | None

    def as_json(self) -> dict[str, Any]:
        """As JSON has it."""
        return {**{name: getattr(self, name) for name in self.__dataclass_fields__}, "path": str(self.path)}


def is_run(folder: Path) -> bool:
    """Whether a folder is a run's directory."""
    return (folder / "config.yaml").is_file()


def runs_in(folders: Sequence[Path]) -> list[Path]:
    """The runs among folders, and in them; in logs, or here, where none are named."""
    found: list[Path] = []
    for folder in folders or [LOGS if LOGS.is_dir() else Path()]:
        if not folder.is_dir():
            raise FileNotFoundError(_no_folder(folder))
        found += [folder] if is_run(folder) else sorted(path.parent for path in folder.glob("*/config.yaml"))
    return list(dict.fromkeys(found))


def run_named(folder: Path) -> Path:
    """A run; raises a FileNotFoundError that names the nearest where it is none."""
    folder = folder.parent if folder.name == "config.yaml" else folder
    if is_run(folder):
        return folder
    beside = [str(path.parent) for path in folder.absolute().parent.glob("*/config.yaml")]
    there = by_nearness(str(folder), beside + [str(path.parent) for path in LOGS.glob("*/config.yaml")])[:5]
    raise FileNotFoundError(
        f"no run {folder} (a directory with config.yaml); there are: {', '.join(there) or 'none beside it, or in logs'}"
    )


def summary_of(run: Path) -> Summary:
    """What a run's directory says."""
    config, state = read_yaml(run / "config.yaml"), read_yaml(run / "state.yaml")
    metadata = read_yaml(run / "metadata.yaml")
    names = [path.name for path in (run / "ckpts").glob("*.ckpt")]
    epochs = [int(found[1]) + 1 for name in names if (found := EPOCH.search(name))]
    files = (config.get("data") or {}).get("train_file")
    return Summary(
        run,
        state_of(state),
        state.get("reason"),
        int(state.get("epoch") or max(epochs, default=0)),
        (config.get("trainer") or {}).get("max_epochs"),
        state.get("best") or _best_of(names),
        [str(file) for file in (files if isinstance(files, list) else [files]) if file is not None],
        state.get("started") or metadata.get("timestamp"),
    )


def state_of(state: dict[str, Any]) -> str:
    """What a state.yaml says, or would if its process could still write it."""
    said = str(state.get("state") or "not recorded")
    if said != "running":
        return said
    process = Process.of(state)
    ended = process.has_ended() if process else None
    return "killed" if ended else said if ended is False else f"running, or killed, on {state.get('host')}"


def _best_of(names: Sequence[str]) -> dict[str, Any] | None:
    """The lowest loss in names of checkpoints."""
    found = [match for name in names if (match := LOSS.search(name))]
    best = min(found, key=lambda match: (float(match[3]), -int(match[1])), default=None)
    return None if best is None else {"name": best[2], "value": float(best[3]), "epoch": int(best[1])}


def _no_folder(folder: Path) -> str:
    there = next(parent for parent in folder.absolute().parents if parent.is_dir())
    folders = by_nearness(folder.name, sorted(path.name for path in there.iterdir() if path.is_dir()))[:5]
    return f"no folder {folder}; in {there} there are: {', '.join(folders) or 'no folders'}"


def to_json(content: Any) -> str:
    """Text of JSON; what JSON has no word for as its name."""
    return json.dumps(content, indent=2, default=str) + "\n"
