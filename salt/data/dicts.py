"""The dictionaries beside the training files: mean and width of each variable, weights of the classes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

NormDict = dict[str, dict[str, dict[str, float]]]
"""Dataset -> variable -> {mean, std}."""

ClassDict = dict[str, dict[str, list[float]]]
"""Dataset -> label -> weight of each class, by label value."""


def read_norm_dict(file: str | Path) -> NormDict:
    """Mean and width of each variable, from `norm_dict.yaml`."""
    return _read(file, "data.norm_dict")


def read_class_dict(file: str | Path) -> ClassDict:
    """Class weights, from `class_dict.yaml`."""
    return _read(file, "data.class_dict")


def _read(file: str | Path, key: str) -> Any:
    path = Path(file)
    if not path.is_file():
        there = sorted(p.name for p in path.parent.glob("*") if p.suffix in {".yaml", ".yml", ".json"})
        raise FileNotFoundError(
            f"no file {path} ({key}); in that folder there are: {', '.join(there) or 'no YAML or JSON files'}"
        )
    with path.open() as stream:
        content = json.load(stream) if path.suffix == ".json" else yaml.load(stream, yaml.CSafeLoader)
    if not isinstance(content, dict):
        raise ValueError(f"{path} ({key}) holds {type(content).__name__}, not a mapping of dataset names")
    return content
