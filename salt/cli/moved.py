"""Runs that were moved or copied: trained on a cluster, tested on a laptop. Their config names the old place."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from salt.cli.nested import value_at
from salt.training.run_files import CHECKPOINTS, is_url

info = logging.getLogger(__name__).info


def at_home(content: dict[str, Any], file: str | Path) -> dict[str, Any]:
    """What the config.yaml of a run says, its own files (dictionaries, checkpoints) named where they are now.

    Parameters
    ----------
    content : dict[str, Any]
        What is in the file; stays as it is.
    file : str | Path
        Where it is. Only a config.yaml beside checkpoints is that of a run.
    """
    here = Path(file).absolute().parent
    there = value_at(content, ["trainer", "default_root_dir"])
    if (
        is_url(file)
        or Path(file).name != "config.yaml"
        or not (here / CHECKPOINTS).is_dir()
        or not isinstance(there, str)
    ):
        return content
    if not Path(there).is_absolute() or os.path.realpath(there) == os.path.realpath(here):
        return content
    info("%s was made in %s: taking what lies beside it", file, there)
    moved = _moved(content, there, str(here))
    assert isinstance(moved, dict)
    return moved


def _moved(node: Any, there: str, here: str) -> Any:
    """The same with paths below one folder as paths below another."""
    if isinstance(node, Mapping):
        return {key: _moved(value, there, here) for key, value in node.items()}
    if isinstance(node, list):
        return [_moved(value, there, here) for value in node]
    if isinstance(node, str) and (node == there or node.startswith(f"{there}/")):
        return here + node[len(there) :]
    return node
