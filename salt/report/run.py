"""A run directory: the merged config, the facts beside it and the record of the losses."""

import csv
import difflib
import math
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

Series = tuple[np.ndarray, np.ndarray]
"""Epochs (P,) and values (P,) of one logged quantity."""


class InputError(ValueError):
    """What was asked for cannot be reported; the message says what there is and how to mend it."""


@dataclass(frozen=True, slots=True)
class Run:
    """One training on disk.

    Parameters
    ----------
    directory
        The run directory.
    config
        The merged ``config.yaml``.
    metadata
        ``metadata.yaml``; empty where there is none.
    record
        Logged name, e.g. ``val/loss``, to its epochs and values; empty where nothing was logged.
    """

    directory: Path
    config: dict[str, Any]
    metadata: dict[str, Any]
    record: dict[str, Series]

    @property
    def name(self) -> str:
        """Name of the model."""
        return str(self.config.get("name") or self.directory.resolve().name)

    def setting(self, key: str) -> Any:
        """Value of a dotted config key; None where it is not set."""
        value: Any = self.config
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        return value

    def file_of(self, key: str, option: str) -> Path:
        """Existing file that a config key names; ``option`` is the flag that overrides it."""
        value = self.setting(key)
        if not value:
            raise InputError(f"{self.directory / 'config.yaml'} has no {key}: name the file with {option} FILE")
        text = str(value[0] if isinstance(value, list) else value)
        found = next((path for base in self._bases() for path in _matches(base, text)), None)
        if found is None:
            raise InputError(
                f"{key} of {self.directory / 'config.yaml'} is {text}, which is not there "
                f"(looked from {Path.cwd()} and upwards from the run): name the file with {option} FILE"
            )
        return found

    def evaluation_file(self) -> Path:
        """Newest evaluation file among the checkpoints."""
        checkpoints = self.directory / "ckpts"
        files = sorted(checkpoints.glob("*__test_*.h5"), key=lambda file: (file.stat().st_mtime, file.name))
        if not files:
            raise InputError(
                f"no evaluation file matches {checkpoints}/*__test_*.h5: run `salt test {self.directory}` first, "
                "or name one with --eval FILE"
            )
        return files[-1]

    def dataset_name(self, stream: str) -> str:
        """Name that a stream has in the files."""
        return str((self.setting("data.input_map") or {}).get(stream, stream))

    def _bases(self) -> list[Path]:
        """Directories that a relative path of the config may start from."""
        return [Path(), *self.directory.resolve().parents]


def _matches(base: Path, text: str) -> list[Path]:
    """Files that a path, possibly with wildcards, names from ``base``."""
    if any(sign in text for sign in "*?["):
        path = Path(text)
        root, pattern = (Path(path.anchor), str(path.relative_to(path.anchor))) if path.is_absolute() else (base, text)
        return sorted(file for file in root.glob(pattern) if file.is_file())
    file = base / text
    return [file] if file.is_file() else []


def read_run(directory: Path) -> Run:
    """Read a run directory."""
    if not directory.is_dir():
        raise InputError(_no_directory(directory))
    config_file = directory / "config.yaml"
    if not config_file.is_file():
        there = ", ".join(sorted(entry.name for entry in directory.iterdir())[:8]) or "nothing"
        raise InputError(f"{directory} is not a run directory: it has no config.yaml, but {there}")
    return Run(directory, _read_yaml(config_file), _read_yaml(directory / "metadata.yaml"), _find_record(directory))


def _no_directory(directory: Path) -> str:
    """Message for a run that is not there, with what is nearest."""
    parent = directory.resolve().parent
    while not parent.is_dir():
        parent = parent.parent
    runs = [file.parent.name for file in sorted(parent.glob("*/config.yaml"))]
    near = difflib.get_close_matches(directory.name, runs, n=3, cutoff=0.0)
    there = f"nearest runs in {parent}: {', '.join(near)}" if near else f"{parent} holds no run directory"
    return f"no run directory {directory}; {there}"


def _read_yaml(file: Path) -> dict[str, Any]:
    """Mapping in a YAML file; empty where the file is not there."""
    if not file.is_file():
        return {}
    try:
        content = yaml.safe_load(file.read_text())
    except yaml.YAMLError as error:
        raise InputError(f"{file} is not YAML that can be read: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise InputError(f"{file} holds no mapping of keys to values")
    return content


def _find_record(directory: Path) -> dict[str, Series]:
    """Loss record of the run; the newest where a logger made several."""
    files = [directory / "metrics.csv", *directory.glob("**/metrics.csv")]
    files = [file for file in files if file.is_file()]
    return read_record(max(files, key=lambda file: file.stat().st_mtime)) if files else {}


def read_record(file: Path) -> dict[str, Series]:
    """Read the CSV of Lightning's logger: sparse rows, one column a quantity.

    Steps become fractional epochs, with the number of steps in an epoch taken from the last row that closes one.
    """
    with file.open(newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if row.get("step") not in (None, "")]
    closing = [row for row in rows if row.get("epoch") and any(v and k.startswith("val/") for k, v in row.items() if k)]
    per_epoch = 1.0
    if closing:
        per_epoch = (float(closing[-1]["step"]) + 1) / (float(closing[-1]["epoch"]) + 1)
    points: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    for row in rows:
        for name, text in row.items():
            if name in (None, "step", "epoch") or not isinstance(text, str) or not text.strip():
                continue
            value = float(text)
            if math.isfinite(value):
                points[name].append(((float(row["step"]) + 1) / per_epoch, value))
    return {name: (np.array(series)[:, 0], np.array(series)[:, 1]) for name, series in points.items()}
