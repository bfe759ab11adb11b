"""DataWait: how much of the time training waits for its data, and whether other workers would help."""

from __future__ import annotations

import logging
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from salt.data.loader import Loader
from salt.data.workers import num_cpus

info = rank_zero_only(logging.getLogger(__name__).info)
warn = rank_zero_only(logging.getLogger(__name__).warning)

NAME = "data_wait"
"""Under this name it is logged."""

MUCH = 0.1
"""Share of an epoch spent waiting that is worth a word."""

LITTLE = 0.5
"""A thread that needs less than this share of a step for a batch would do."""


class DataWait(Callback):
    """Log the share of the time since the last log that training waited for batches: 0 is best, 1 is all of it.

    After the first epoch it says, once, if other workers would do better.
    """

    def __init__(self) -> None:
        self._waited = 0.0
        self._seconds = 0.0
        self._share = 0.0
        self._has_spoken = False

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin anew: so does the loader's meter."""
        self._waited = self._seconds = 0.0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Log the share since the last log."""
        loader = trainer.train_dataloader
        if not isinstance(loader, Loader):
            return
        every = trainer.log_every_n_steps  # type: ignore[attr-defined]
        if (trainer.global_step + 1) % max(every, 1) == 0 or batch_idx == 1:
            waited, seconds = loader.meter.waited, loader.meter.seconds
            if seconds > self._seconds:
                self._share = (waited - self._waited) / (seconds - self._seconds)
            self._waited, self._seconds = waited, seconds
        pl_module.log(NAME, self._share, prog_bar=True, on_step=True, on_epoch=False, batch_size=1)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say once whether other workers would do better."""
        loader = trainer.train_dataloader
        if self._has_spoken or not isinstance(loader, Loader) or loader.meter.batches < 10:
            return
        self._has_spoken = True
        share, workers = loader.meter.share, loader.num_workers
        if share > MUCH and workers < num_cpus() - 1:
            warn(
                "training waited %.0f %% of its time for data: more data.num_workers than %d may help "
                "(this process may use %d CPUs)",
                100 * share,
                workers,
                num_cpus(),
            )
        elif workers and loader.seconds_alone() < LITTLE * loader.meter.seconds / loader.meter.batches:
            info("data.num_workers: 0 would do: one thread gathers batches faster than training takes them")
