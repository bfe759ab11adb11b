"""What loggers are given that the user left open: places inside the run directory, the run's name; and CSV always."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from lightning.pytorch.loggers import CSVLogger, Logger

from salt.cli.nested import value_at, with_value
from salt.training.run_files import absolute, joined

log = logging.getLogger(__name__)

KEY = ("trainer", "logger")

Default = Callable[[str, str], Any]
"""Name of the model and run directory -> a value."""

LEFT_OPEN = (None, "", ".", "./mlruns", "lightning_logs")
"""Values of places and names that say nothing: Lightning's defaults, and ours in base.yaml."""


def _run(name: str, run: str) -> str:
    return run


def _run_name(name: str, run: str) -> str:
    return run.rpartition("/")[2]


def _name(name: str, run: str) -> str:
    return name


def _nothing(name: str, run: str) -> str:
    return ""


def _inside(folder: str, name: str, run: str) -> str:
    return joined(run, folder)


DEFAULTS: Mapping[str, Mapping[str, Default]] = {
    "CSVLogger": {"save_dir": _run, "name": _nothing, "version": _nothing},
    "TensorBoardLogger": {"save_dir": _run, "name": _nothing, "version": _nothing},
    "CometLogger": {"offline_directory": _run, "name": _name},
    "WandbLogger": {"save_dir": _run, "name": _run_name, "project": _name},
    "MLFlowLogger": {"save_dir": partial(_inside, "mlruns"), "experiment_name": _name, "run_name": _run_name},
    "LitLogger": {"root_dir": _run, "name": _run_name},
}
"""Class -> argument -> its value where it is left open."""

NEEDS_PLACE = frozenset({"CSVLogger", "TensorBoardLogger"})
"""Loggers that the parser would not take without a save_dir."""

PLACES = ("save_dir", "offline_directory", "root_dir", "dir")
"""Arguments that are folders."""

RATE_MONITORS = ("LearningRateMonitor",)
"""Callbacks that raise where there is no logger."""


def complete(config: Namespace, run: str, old: str) -> None:
    """Fill in what the loggers of a config leave open; places in the directory of the old run become the new one's."""
    if config.trainer.get("fast_dev_run"):
        config.trainer.logger = None  # nothing is to be left behind, here or at Comet
    if config.trainer.logger is False:
        _without_rate_monitors(config)
    logger = config.trainer.logger
    for each in logger if isinstance(logger, list) else [logger]:
        if isinstance(each, Namespace):
            arguments = each.get("init_args") or Namespace()
            each.init_args = arguments
            for place in PLACES:
                if isinstance(arguments.get(place), str | Path):
                    arguments[place] = _moved(str(arguments[place]), old, run)
            for argument, default in DEFAULTS.get(each.class_path.rpartition(".")[2], {}).items():
                if arguments.get(argument) in LEFT_OPEN and not _named_otherwise(argument, arguments):
                    arguments[argument] = default(config.name, run)


def with_places(content: dict[str, Any]) -> dict[str, Any]:
    """A config whose loggers have the save_dir that the parser asks for; `complete` says where that is."""
    logger = value_at(content, KEY)
    if not logger:
        return content
    loggers = [_with_place(each) for each in logger] if isinstance(logger, list) else _with_place(logger)
    return with_value(content, KEY, loggers)


def _with_place(logger: Any) -> Any:
    given: Any = {"class_path": logger} if isinstance(logger, str) else logger
    if not isinstance(given, Mapping) or str(given.get("class_path")).rpartition(".")[2] not in NEEDS_PLACE:
        return logger
    return {**given, "init_args": {"save_dir": "", **(given.get("init_args") or {})}}


def with_csv(logger: Any, run: str) -> Any:
    """The loggers of a trainer, and metrics.csv in the run directory, which the report reads; none stay none."""
    if logger is False:
        return False
    loggers: list[Logger] = [logger] if isinstance(logger, Logger) else list(logger) if isinstance(logger, list) else []
    places = [absolute(each.log_dir) for each in loggers if isinstance(each, CSVLogger)]
    return loggers if absolute(run) in places else [CSVLogger(run, "", ""), *loggers]


def _named_otherwise(argument: str, arguments: Namespace) -> bool:
    """Whether an old argument of Comet's says it already."""
    old = {"name": "experiment_name", "offline_directory": "save_dir"}
    return arguments.get(old.get(argument, ""), None) not in LEFT_OPEN


def _moved(place: str, old: str, run: str) -> str:
    """A folder of the old run, in the new one; others as they are."""
    return run + place.removeprefix(old) if f"{place}/".startswith(f"{old}/") else place


def _without_rate_monitors(config: Namespace) -> None:
    """Take out the callbacks that would raise, and say so."""
    callbacks = config.trainer.callbacks if isinstance(config.trainer.callbacks, list) else []
    kept = [each for each in callbacks if each.class_path.rpartition(".")[2] not in RATE_MONITORS]
    if len(kept) < len(callbacks):
        config.trainer.callbacks = kept
        log.info("no logger: LearningRateMonitor left out")
