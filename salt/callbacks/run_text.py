"""Texts in a run's directory, here or on a server: YAML files that are there whole, or as they were before."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from salt.training.run_files import open_run_file, write_whole

LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's where it is: configs have hundreds of lines."""


def read(file: str | Path) -> str:
    """The text of a file; empty where there is none."""
    try:
        with open_run_file(file, "rb") as stream:
            return bytes(stream.read()).decode()
    except (FileNotFoundError, NotADirectoryError):
        return ""


def write(file: str | Path, text: str) -> None:
    """Write a file, whole."""
    write_whole(file, lambda stream: stream.write(text.encode()))


def write_yaml(file: str | Path, content: Mapping[str, Any], header: str = "") -> None:
    """Write a mapping in the order that it has, below a header of comments."""
    write(file, header + yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True, width=120))


def read_yaml(file: str | Path) -> dict[str, Any]:
    """The mapping in a file; empty where there is none, raises a ValueError where it is not YAML."""
    try:
        content = yaml.load(read(file), LOADER)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} is not YAML: {' '.join(str(error).split())}") from error
    return content if isinstance(content, dict) else {}
