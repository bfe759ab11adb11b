"""Resumption: what of a config and of its data has changed since the run that is gone on with."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from salt.callbacks.differences import Difference, differences
from salt.callbacks.run_text import read, read_yaml

OF_THE_RUN = frozenset(
    {"ckpt_path", "force", "log_suffix", "overwrite_config", "tag", "trainer.default_root_dir", "weights_only"}
)
"""Keys that say where and how a run is written, not what it does."""

PLACES = ("save_dir", "dirpath", "dir", "root_dir", "offline_directory")
"""Arguments of loggers and callbacks that name folders."""

COPIES = ("norm_dict", "class_dict")
"""Keys of `data` that name files of which a run keeps a copy: their contents count."""


def changed_keys(before: str | Path, content: Mapping[str, Any]) -> list[Difference]:
    """What differs between the config in a file and another, but for where things are written.

    Parameters
    ----------
    before : str | Path
        A config.yaml.
    content : Mapping[str, Any]
        The other.
    """
    return config_differences(read_yaml(before), content)


def config_differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Difference]:
    """What differs between two configs, but for where things are written."""
    return differences(_with_contents(before), _with_contents(after), _is_of_the_run)


def changed_data(before: str | Path, metadata: Mapping[str, Any]) -> list[str]:
    """What has become of the data files since a metadata.yaml was written, in words."""
    return changed_files(read_yaml(before).get("files") or {}, metadata["files"])


def _is_of_the_run(key: str) -> bool:
    return key in OF_THE_RUN or (key.startswith("trainer.") and key.rpartition(".")[2] in PLACES)


def _with_contents(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config that says what is in the small files that it names."""
    data = dict(config.get("data") or {})
    for key in COPIES:
        if data.get(key) is not None:
            data[key] = _named(data[key])
    return {**config, "data": data}


def _named(file: str | Path) -> str:
    """The name of a file, and what is in it."""
    name, text = str(file).rpartition("/")[2], read(file)
    return f"{name} (sha256 {hashlib.sha256(text.encode()).hexdigest()[:12]})" if text else name


def changed_files(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """What has become of data files, in words; nothing of files that were only moved or touched.

    Parameters
    ----------
    before, after : Mapping[str, Any]
        Split -> fingerprints of its files: what two records have as `files`.
    """
    said: list[str] = []
    for split in [name for name in before if name in after]:
        one, other = ({each["path"]: _identity(each) for each in record[split]} for record in (before, after))
        for path in {**one, **other}:
            if path not in other and one[path] not in other.values():
                said.append(f"data.{split}_file: {path} is not read any more")
            elif path not in one and other[path] not in one.values():
                said.append(f"data.{split}_file: {path} was not read before")
            elif path in one and path in other and one[path] != other[path]:
                said.append(f"data.{split}_file: {path} has changed: {one[path]} -> {other[path]}")
    return said


def _identity(file: Mapping[str, Any]) -> str:
    """What tells whether a file is the same: its contents where they were read."""
    for name in ("sha256", "sha256_of_ends"):
        if name in file:
            return f"{file['size']} bytes, {name} {file[name][:12]}"
    return f"{file['size']} bytes of {file['modified']}"
