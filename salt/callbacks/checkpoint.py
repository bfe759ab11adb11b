"""Checkpoint: one file for each epoch, named by its validation loss."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from salt.data.names import unknown

warn = rank_zero_only(logging.getLogger(__name__).warning)


class Checkpoint(ModelCheckpoint):
    """Keep the model of every epoch, in the folder `ckpts` of the run.

    Parameters
    ----------
    monitor_loss : str
        Logged metric whose value the file's name carries; `salt test` takes the file where it is lowest.
    fname_string : str
        What the file's name calls it: `epoch=000-val_loss=0.12345.ckpt`.
    """

    def __init__(self, monitor_loss: str = "val/jets_classification_loss", fname_string: str = "val_loss") -> None:
        super().__init__(
            filename=f"epoch={{epoch:03d}}-{fname_string}={{{monitor_loss}:.5f}}",
            monitor=monitor_loss,
            save_top_k=-1,
            auto_insert_metric_name=False,  # or a / in the metric would make folders
        )
        self.monitor_loss = monitor_loss

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Find the folder, which only the trainer knows."""
        if stage == "fit":
            self.dirpath = str(Path(trainer.default_root_dir) / "ckpts")
        super().setup(trainer, pl_module, stage)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Remember the checkpoints of the run that is resumed, in whichever folder it was."""
        super().load_state_dict({**state_dict, "dirpath": self.dirpath})

    def _save_topk_checkpoint(self, trainer: Trainer, monitor_candidates: dict[str, torch.Tensor]) -> None:
        """Save; where the metric is missing Lightning would save nothing, or name the file 0.00000."""
        if not any(name.startswith("val/") for name in trainer.callback_metrics):
            self._save_without_loss(trainer)
            return
        self._check_logged(monitor_candidates)
        super()._save_topk_checkpoint(trainer, monitor_candidates)

    def _save_without_loss(self, trainer: Trainer) -> None:
        """Save under its step what was never validated: trainer.max_steps, or limit_val_batches: 0."""
        file = Path(str(self.dirpath)) / f"epoch={trainer.current_epoch:03d}-step={trainer.global_step}.ckpt"
        warn("nothing was validated: %s has no %s in its name", file, self.monitor_loss)
        self._save_checkpoint(trainer, str(file))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save; before the first epoch, see whether there will be a loss to name the file by."""
        if trainer.sanity_checking and self.monitor_loss.split("/")[0] == "val":  # train/... is not known yet
            self._check_logged(trainer.callback_metrics)
        super().on_validation_end(trainer, pl_module)

    def _check_logged(self, metrics: Mapping[str, torch.Tensor]) -> None:
        """Raise where the metric is not logged."""
        if self.monitor_loss not in metrics:
            logged = [name for name in metrics if name not in {"epoch", "step"}]
            message = unknown("metric", self.monitor_loss, logged, "what is logged (Checkpoint's monitor_loss)")
            raise ValueError(f"{message}; set monitor_loss of salt.callbacks.Checkpoint to one of them")
