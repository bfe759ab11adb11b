"""Files that a job reads, looked for before it is submitted: hours in a queue are long for a wrong path."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from salt.cli.configs import Source, merged, source_of
from salt.cli.files import packaged_path
from salt.clusters.environments import Environment
from salt.data.names import NUM_NEAREST, by_nearness
from salt.training.run_files import is_url

WILDCARDS = frozenset("*?[")

READ_BY = {
    "fit": ("train_file", "val_file", "norm_dict", "class_dict"),
    "sweep": ("train_file", "val_file", "norm_dict", "class_dict"),
    "validate": ("val_file",),
    "test": ("test_file",),
    "predict": ("test_file",),
}
"""Verb -> keys of `data` whose files it reads."""


def missing(verb: str, said: Sequence[Source], environment: Environment) -> list[str]:
    """What is not there of the files that configs and options name, in words; relative ones from this folder."""
    data = merged(said).get("data") or {}
    return [
        f"data.{key} = {name}, which {source_of(f'data.{key}', said)} says: {reason}"
        for key in READ_BY.get(verb, ())
        for name in _names(data.get(key))
        for reason in _reasons(name, environment)
    ]


def _names(value: Any) -> Iterator[str]:
    for each in value if isinstance(value, list) else [value]:
        if isinstance(each, str) and not is_url(each):
            yield each


def _reasons(name: str, environment: Environment) -> Iterator[str]:
    """Why a file cannot be read from here, if it cannot."""
    path = environment.outside(Path(packaged_path(name)).expanduser().absolute())
    if WILDCARDS & set(str(path)):
        root = Path(path.anchor)
        if next(root.glob(str(path.relative_to(root))), None) is None:
            yield "no file of that pattern"
    elif not path.exists():
        yield f"there is no such file{_beside(path)}"


def _beside(path: Path) -> str:
    """What there is instead."""
    folder = path.parent
    if not folder.is_dir():
        return f", and no folder {folder}"
    there = [each.name for each in folder.iterdir() if each.suffix == path.suffix]
    return f"; in {folder} there are: {', '.join(by_nearness(path.name, there)[:NUM_NEAREST]) or f'no {path.suffix}'}"
