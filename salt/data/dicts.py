"""The dictionaries beside the training files: mean and width of each variable, weights of the classes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

NormDict = dict[str, dict[str, dict[str, float]]]
"""Dataset -> variable -> {mean, std}."""

ClassDict = dict[str, dict[str, list[float]]]
"""Dataset -> label -> weight of each class, by label value."""

UMAMI = {"shift", "scale"}
"""What umami's scale dict calls mean and std."""


def read_norm_dict(file: str | Path) -> NormDict:
    """Mean and width of each variable, from `norm_dict.yaml`, or from the `scale_dict.json` of umami."""
    return _without_scales(_read(file, "data.norm_dict"))


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
    content = _parse(path, key)
    if not isinstance(content, dict):
        raise ValueError(f"{path} ({key}) holds {type(content).__name__}, not a mapping of dataset names")
    return content


def _parse(path: Path, key: str) -> Any:
    """What a YAML or JSON file says."""
    language = "JSON" if path.suffix == ".json" else "YAML"
    try:
        text = path.read_text()
        return json.loads(text) if language == "JSON" else yaml.load(text, yaml.CSafeLoader)
    except (yaml.YAMLError, ValueError) as error:  # of the values: no JSON, or no text
        mark = getattr(error, "problem_mark", None)
        number = mark.line + 1 if mark else getattr(error, "lineno", None)
        line = "" if number is None else f", line {number}"
        problem = getattr(error, "problem", None) or getattr(error, "msg", None) or " ".join(str(error).split())
        raise ValueError(f"{path}{line} ({key}) is not {language}: {problem}") from error


def _without_scales(content: dict[str, Any]) -> NormDict:
    """The content of a dictionary; of umami's scale dict: shift as mean, scale as std, and its datasets only.

    Beside datasets, a scale dict has entries like `<tracks>_origin_weights`; shift and scale are null where a variable
    is not normalised, and `default` is what stands for a missing value.
    """
    datasets = {name: of for name, of in content.items() if isinstance(of, Mapping)}
    entries = [entry for of in datasets.values() for entry in of.values() if isinstance(entry, Mapping)]
    if not any(UMAMI & entry.keys() for entry in entries):
        return content
    return {
        name: {variable: _mean_and_std(entry) for variable, entry in of.items()}
        for name, of in datasets.items()
        if of and all(isinstance(entry, Mapping) for entry in of.values())
    }


def _mean_and_std(entry: Mapping[str, Any]) -> dict[str, float]:
    """An entry of a scale dict as one of a norm dict."""
    new = {name: value for name, value in entry.items() if name not in {*UMAMI, "default"}}
    for name, old, none in (("mean", "shift", 0.0), ("std", "scale", 1.0)):
        if old in entry:
            new[name] = none if entry[old] is None else entry[old]
    return new
