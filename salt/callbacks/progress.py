"""Progress: lines in the log of a job, where a bar would write over itself some thousand times."""

from __future__ import annotations

import logging
import math
import os
import sys
import time
from collections.abc import Mapping
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_only

info = rank_zero_only(logging.getLogger(__name__).info)

JOBS = ("SALT_JOB_ID", "SLURM_JOB_ID")
"""Variables of the environment by which a job is told."""

PAUSE = 60.0
"""Seconds between two lines, at least."""


class Progress(Callback):
    """Say how far a training is: as each epoch begins, once a minute, and with its losses as it ends.

    Only in a job of a batch system whose output is no terminal; there it takes the place of the bar. Else it is silent.
    """

    def __init__(self) -> None:
        self._speaks = False
        self._began = 0.0
        self._said = 0.0

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the place of the bar, if there is one."""
        bar = trainer.progress_bar_callback
        self._speaks = bar is not None and is_log(os.environ) and trainer.is_global_zero
        if self._speaks and bar is not None:
            bar.disable()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin an epoch."""
        self._began = time.monotonic()
        self._say(trainer, f"begins, {trainer.num_training_batches} batches")

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Say where in the epoch it is, now and then: a look at a loss waits for the GPU."""
        if self._speaks and time.monotonic() - self._said > PAUSE:
            done = f"batch {batch_idx + 1} of {trainer.num_training_batches}"
            self._say(trainer, ", ".join([done, *_losses(trainer, "train/loss")]))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say what came of it."""
        seconds = time.monotonic() - self._began
        self._say(trainer, ", ".join([f"done in {seconds:.0f} s", *_losses(trainer, "train/loss", "val/loss")]))

    def _say(self, trainer: Trainer, words: str) -> None:
        if self._speaks:
            self._said = time.monotonic()
            info("Epoch %d: %s", trainer.current_epoch, words)


def is_log(environment: Mapping[str, str]) -> bool:
    """Whether what is written to stdout is the log of a job."""
    return any(environment.get(name) for name in JOBS) and not sys.stdout.isatty()


def _losses(trainer: Trainer, *names: str) -> list[str]:
    """Those of these metrics that are known, in words."""
    known = ((name, float(trainer.callback_metrics[name])) for name in names if name in trainer.callback_metrics)
    return [f"{name} {value:.5g}" for name, value in known if not math.isnan(value)]
