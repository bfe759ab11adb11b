"""PerformanceWriter: a run's metrics for whoever searches over runs."""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import datetime
from pathlib import Path

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from salt.data.names import unknown

logger = logging.getLogger(__name__)

FILE = "performance_metric.json"
DEFAULT = ("train/loss", "val/loss")
"""What is always written; that of the training is its newest batch's."""

NOT_IN_NAMES = re.compile(r"[^\w-]")
"""What ends a name for Katib's default filter of lines."""


def katib_name(name: str) -> str:
    """What an experiment of Katib calls a metric: val_loss for val/loss."""
    return NOT_IN_NAMES.sub("_", name)


class PerformanceWriter(Callback):
    """Write a line of JSON an epoch, {"epoch": 0, "val/loss": "0.12345", ..., "timestamp": ...}, and Katib's lines.

    Parameters
    ----------
    dir_path : str | None
        Folder of `performance_metric.json`; None: the run's directory.
    add_metrics : list[str] | None
        Metrics besides train/loss and val/loss: any that is logged, such as `val/jets_classification_accuracy`.
    std_out : bool
        Write lines to standard output besides, where Katib's collector reads them: `val/loss=0.12345`, and the same
        with its time and a name that Katib's default filter reads whole, `2026-11-22T10:15:00.123456+01:00
        val_loss=0.12345`: of `val/loss` it takes but `loss`, which the training has, too.
    """

    def __init__(
        self, dir_path: str | None = None, add_metrics: list[str] | None = None, std_out: bool = False
    ) -> None:
        self.dir_path = dir_path
        self.add_metrics = list(add_metrics or ())
        self.std_out = std_out
        self._missed: set[str] = set()

    @rank_zero_only
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write what is known at the end of an epoch, after its validation."""
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        known = trainer.callback_metrics
        names = dict.fromkeys([*DEFAULT, *self.add_metrics])
        metrics = {name: f"{float(known[name]):.5f}" for name in names if name in known}
        self._say_missing(trainer, [name for name in self.add_metrics if name not in known])
        now = datetime.now().astimezone()  # RFC 3339 wants the zone, and Katib wants RFC 3339
        line = {"epoch": trainer.current_epoch, **metrics, "timestamp": now.isoformat()}
        folder = Path(self.dir_path if self.dir_path is not None else trainer.default_root_dir)
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / FILE).open("a") as file:
            file.write(json.dumps(line) + "\n")
        if self.std_out:
            lines = [f"epoch {trainer.current_epoch}:", *(f"{name}={value}" for name, value in metrics.items())]
            lines += [f"{now.isoformat()} {katib_name(name)}={value}" for name, value in metrics.items()]
            sys.stdout.write("\n".join([*lines, f"timestamp={now}", "", ""]))
            sys.stdout.flush()

    def _say_missing(self, trainer: Trainer, names: list[str]) -> None:
        """Say, once each, what nobody logs."""
        for name in names:
            if name not in self._missed:
                logged = [each for each in trainer.callback_metrics if each not in {"epoch", "step"}]
                logger.warning(
                    "%s", unknown("metric", name, logged, "what is logged (PerformanceWriter's add_metrics)")
                )
        self._missed.update(names)
