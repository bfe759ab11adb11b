"""Checkpoint: one file for each epoch, named by its validation loss, and one for the middle of an epoch."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any, Literal

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from salt import __version__
from salt.callbacks import data_wait
from salt.data.names import unknown
from salt.training.checkpoints import FOLDER, FORMAT, LAST, SALT
from salt.training.metrics import direction
from salt.training.run_files import joined, remove
from salt.training.signals import Agreement

warn = rank_zero_only(logging.getLogger(__name__).warning)


class Checkpoint(ModelCheckpoint):
    """Keep the model of every epoch in the folder `ckpts` of the run, and the state of every half hour.

    An epoch's file is called `epoch=000-val_loss=0.12345.ckpt`. That of the middle of an epoch, `last.ckpt`, is
    replaced each time, and removed when the epoch's own file is there.

    Parameters
    ----------
    monitor_loss : str
        Logged metric whose value the file's name carries; `salt test` takes the file where it is best.
    fname_string : str | None
        What the file's name calls it; None: `val_loss` for a loss, else the metric's own name.
    mode : Literal["min", "max"] | None
        Whether a low or a high value is best; None: what suits the metric.
    minutes : float | None
        How often the state is saved in the middle of an epoch; None: never.
    """

    def __init__(
        self,
        monitor_loss: str = "val/jets_classification_loss",
        fname_string: str | None = None,
        mode: Literal["min", "max"] | None = None,
        minutes: float | None = 30,
    ) -> None:
        name = fname_string or ("val_loss" if monitor_loss.endswith("loss") else monitor_loss.replace("/", "_"))
        super().__init__(
            filename=f"epoch={{epoch:03d}}-{name}={{{monitor_loss}:.5f}}",
            monitor=monitor_loss,
            mode=mode or direction(monitor_loss),
            save_top_k=-1,
            auto_insert_metric_name=False,  # or a / in the metric would make folders
            enable_version_counter=False,  # who resumes before an epoch's file writes it again
        )
        self.monitor_loss = monitor_loss
        self.minutes = minutes
        self._agreement = Agreement()
        self._saved_at = time.monotonic()
        self._is_validated = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Find the folder, which only the trainer knows."""
        if stage == "fit":
            self.dirpath = joined(trainer.default_root_dir, FOLDER)
        super().setup(trainer, pl_module, stage)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Remember the checkpoints of the run that is resumed, in whichever folder it was."""
        super().load_state_dict({**state_dict, "dirpath": self.dirpath})

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Say how good the weights are, by which metric, and how far the training had come."""
        found = trainer.callback_metrics if self._is_validated else {}
        # nothing that the clock says: equal trainings have equal checkpoints
        metrics = {name: float(value) for name, value in found.items() if name != data_wait.NAME}
        loop = trainer.fit_loop.epoch_loop
        checkpoint.setdefault(SALT, {}).update(
            format=FORMAT,
            version=__version__,
            monitor={"name": self.monitor_loss, "value": metrics.get(self.monitor_loss), "mode": self.mode},
            metrics=metrics,
            epochs=trainer.fit_loop.epoch_progress.state_dict()["current"]["processed"],
            # a validation comes before the last step is counted
            batches=loop._batches_that_stepped + int(trainer.validating),
        )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to count the minutes."""
        super().on_train_start(trainer, pl_module)
        self._saved_at = time.monotonic()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Save, between two batches, what was last saved a while ago."""
        is_trial: bool | int = trainer.fast_dev_run  # type: ignore[attr-defined]
        if self.minutes is None or is_trial or batch_idx == 0:  # the epoch before has just been saved
            return
        is_due = self._agreement.highest(int(time.monotonic() - self._saved_at >= 60 * self.minutes))
        if is_due and batch_idx % trainer.accumulate_grad_batches == 0:  # else gradients would be lost
            trainer.save_checkpoint(joined(trainer.default_root_dir, FOLDER, LAST))
            self._saved_at = time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """These weights are new."""
        self._is_validated = False
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save; before the first epoch, see whether there will be a loss to name the file by."""
        if trainer.sanity_checking and self.monitor_loss.split("/")[0] == "val":  # train/... is not known yet
            self._check_logged(trainer.callback_metrics)
        self._is_validated = not trainer.sanity_checking
        super().on_validation_end(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """There are no more batches."""
        super().on_train_end(trainer, pl_module)
        self._agreement.end()

    def _save_topk_checkpoint(self, trainer: Trainer, monitor_candidates: dict[str, torch.Tensor]) -> None:
        """Save; where the metric is missing Lightning would save nothing, or name the file 0.00000."""
        if any(name.startswith("val/") for name in trainer.callback_metrics):
            self._check_logged(monitor_candidates)
            super()._save_topk_checkpoint(trainer, monitor_candidates)
        else:
            self._save_without_loss(trainer)
        self._saved_at = time.monotonic()
        if trainer.is_global_zero:
            remove(joined(trainer.default_root_dir, FOLDER, LAST))

    def _save_without_loss(self, trainer: Trainer) -> None:
        """Save under its step what was never validated: trainer.max_steps, or limit_val_batches: 0."""
        name = f"epoch={trainer.current_epoch:03d}-step={trainer.global_step}.ckpt"
        file = joined(trainer.default_root_dir, FOLDER, name)
        warn("nothing was validated: %s has no %s in its name", file, self.monitor_loss)
        self._save_checkpoint(trainer, file)

    def _check_logged(self, metrics: Mapping[str, torch.Tensor]) -> None:
        """Raise where the metric is not logged."""
        if self.monitor_loss not in metrics:
            logged = [name for name in metrics if name not in {"epoch", "step"}]
            message = unknown("metric", self.monitor_loss, logged, "what is logged (Checkpoint's monitor_loss)")
            raise ValueError(f"{message}; set monitor_loss of salt.callbacks.Checkpoint to one of them")
