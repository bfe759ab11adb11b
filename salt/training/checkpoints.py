"""Checkpoints of a run: which is the newest, which is the best, and whether one is whole."""

from __future__ import annotations

import logging
import math
import pickle
import re
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from salt.training import foreign
from salt.training.run_files import CHECKPOINTS, Entry, exists, listed, open_run_file

info = logging.getLogger(__name__).info
warn = logging.getLogger(__name__).warning

FOLDER = CHECKPOINTS
"""Of a run, with its checkpoints."""

LAST = "last.ckpt"
"""The state in the middle of an epoch. It has no loss in its name, and goes when the epoch's own file is there."""

SALT = "salt"
"""Key of a checkpoint under which stands what Lightning does not know."""

FORMAT = 1
"""Of what stands there."""

FOREIGN = "hyper_parameters"
"""Key of a checkpoint under which upstream's keep the arguments of the model, modules and all; ours have none."""

VERSION = {"pytorch-lightning_version": "2.0.0"}
"""Lightning wants to know of what version a checkpoint is; one of 2.0 has nothing in it to be brought up to date."""

LOSS = re.compile(r"loss=(-?\d+\.?\d*)")
"""In the names of upstream's files, and ours."""

DAMAGE = (OSError, zipfile.BadZipFile, zlib.error, pickle.UnpicklingError, EOFError, ValueError, KeyError,
          AttributeError, IndexError, TypeError, RuntimeError, NotImplementedError)  # fmt: skip
"""What a file that is cut short or damaged may raise."""


class Monitor(NamedTuple):
    """The metric that says which checkpoint is best: its name, its value, and whether min or max is better."""

    name: str
    value: float
    mode: str


class Facts(NamedTuple):
    """What a checkpoint says of itself.

    Parameters
    ----------
    path : str
        Path or URL.
    written : float
        When, in seconds since 1970.
    step : int
        Steps of the optimiser before it.
    epochs : int | None
        Epochs that had ended; None: a file that was not written by salt.
    batches : int
        Batches of the whole training before it, validated or not: what loggers count.
    monitor : Monitor | None
        The monitored metric of these very weights; None where they were not validated.
    metrics : dict[str, float]
        All that was logged then.
    """

    path: str
    written: float
    step: int
    epochs: int | None
    batches: int
    monitor: Monitor | None
    metrics: dict[str, float]


def read(path: str | Path) -> dict[str, Any]:
    """The contents of a checkpoint, on the CPU: tensors and plain values. Nothing in it is executed.

    Of one that is not ours (upstream's hold whole modules) the state_dict only. Raises ValueError where the file is no
    checkpoint.
    """
    readable(path)
    try:
        with open_run_file(path, "rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what is refused
            content = torch.load(file, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except DAMAGE:
        content = _read_foreign(path)
    if not isinstance(content, dict) or "state_dict" not in content:
        raise ValueError(f"{path} is a file of torch, but not a checkpoint: it has no state_dict")
    return {"state_dict": content["state_dict"], FOREIGN: None, **VERSION} if is_foreign(content) else content


def _read_foreign(path: str | Path) -> dict[str, Any] | None:
    """A checkpoint with objects in it, which are not made."""
    try:
        content = foreign.read(path)
    except DAMAGE as error:
        raise ValueError(
            f"{path} (--ckpt_path) cannot be read without executing what is in it, and nothing of it was: {error}\n"
            "  mend: have its weights saved again, by whoever has made it: torch.save of tensors alone"
        ) from error
    return {**content, FOREIGN: None} if isinstance(content, dict) else None


def is_foreign(content: Mapping[str, Any]) -> bool:
    """Whether a checkpoint is upstream's, whose loops, optimiser and schedule we cannot go on with."""
    return FOREIGN in content


def readable(path: str | Path) -> None:
    """Raise where there is no such file, or where it is damaged."""
    if not exists(path):
        raise FileNotFoundError(f"no checkpoint {path} (--ckpt_path)")
    if not is_whole(path):
        raise ValueError(
            f"{path} (--ckpt_path) is cut short, damaged, or not a checkpoint\n"
            "  mend: give another one, or none: salt fit --resume RUN takes the newest that is whole"
        )


def is_whole(path: str | Path) -> bool:
    """Whether all of a checkpoint is there, and undamaged: reads all of it, and compares checksums."""
    try:
        with open_run_file(path, "rb") as file, zipfile.ZipFile(file) as archive:
            return archive.testzip() is None
    except DAMAGE:
        return False


def newest(run: str | Path) -> Facts | None:
    """The newest whole checkpoint of a run; None where there is none. Damaged ones are skipped, with a warning."""
    return _first_whole(sorted(_all(run), key=lambda facts: (facts.step, facts.written), reverse=True))


def last(run: str | Path) -> Facts:
    """The newest whole checkpoint of a run, which must have one."""
    found = newest(run)
    if found is None:
        raise FileNotFoundError(_none_in(run))
    return found


def best(run: str | Path) -> Facts:
    """The best checkpoint of a run: by the number stored in each, by that in the name where there is none.

    NaN is never best; of two that are alike it is the later. Where the monitored metric has changed, the newest says
    which one counts. One that was saved in the middle of an epoch is never taken.
    """
    known = list(_all(run))
    named = [facts for facts in known if facts.monitor is not None and not math.isnan(facts.monitor.value)]
    if named:
        latest = max(named, key=lambda facts: facts.step).monitor
        assert latest is not None
        sign = 1 if latest.mode == "max" else -1
        ranked = [
            (sign * facts.monitor.value, facts.step, facts.written, facts)
            for facts in named
            if facts.monitor is not None and facts.monitor.name == latest.name
        ]
        found = _first_whole([facts for *_, facts in sorted(ranked, key=lambda row: row[:3], reverse=True)])
        if found is not None:
            info("best of %d checkpoints: %s", len(known), found.path)
            return found
    found = newest(run)
    if found is None:
        raise FileNotFoundError(_none_in(run))
    warn("no checkpoint in %s has a loss: taking the newest, %s", run, Path(found.path).name)
    return found


def facts(path: str) -> Facts | None:
    """What a checkpoint says of itself, without reading its tensors; None where it is not one."""
    return _facts_of(Entry(path, 0.0))


def _facts_of(entry: Entry) -> Facts | None:
    try:
        with open_run_file(entry.path, "rb") as file:
            content = foreign.outline(file)
        ours = content.get(SALT, {})
        monitor = ours.get("monitor") if ours else _named(entry.name)
        value = monitor["value"] if monitor else None
        loops = content.get("loops") or {}
        epoch_loop = (loops.get("fit_loop") or {}).get("epoch_loop.state_dict") or {}
        return Facts(
            entry.path,
            entry.written,
            int(content["global_step"]),
            ours.get("epochs"),
            int(ours.get("batches", epoch_loop.get("_batches_that_stepped", content["global_step"]))),
            None if monitor is None or value is None else Monitor(monitor["name"], float(value), monitor["mode"]),
            dict(ours.get("metrics", {})),
        )
    except DAMAGE:
        return None


def _named(name: str) -> Mapping[str, Any] | None:
    """The loss in the name of a file of upstream's."""
    found = LOSS.search(name)
    return {"name": "loss", "value": float(found[1]), "mode": "min"} if found else None


def _all(run: str | Path) -> list[Facts]:
    """Facts of all checkpoints of a run that can be opened."""
    found = [(entry, _facts_of(entry)) for entry in listed(run, FOLDER, ".ckpt")]
    for entry, facts in found:
        if facts is None:
            _skip(entry.path)
    return [facts for _, facts in found if facts is not None]


def _first_whole(ranked: list[Facts]) -> Facts | None:
    for facts in ranked:
        if is_whole(facts.path):
            return facts
        _skip(facts.path)
    return None


def _skip(path: str) -> None:
    warn("skipping %s: it is cut short, damaged, or not a checkpoint", path)


def _none_in(run: str | Path) -> str:
    return f"no checkpoint in {run}/{FOLDER}: let the run finish an epoch, or give --ckpt_path FILE"
