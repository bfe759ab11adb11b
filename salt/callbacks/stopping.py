"""Stopping: ends a training that was told to end, at a batch boundary, with everything saved."""

from __future__ import annotations

import logging
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from salt.training.checkpoints import FOLDER, LAST
from salt.training.run_files import joined
from salt.training.signals import DOOR, Agreement, Stop

info = rank_zero_only(logging.getLogger(__name__).info)


class Stopping(Callback):
    """Look for signals at each batch boundary; where one has come to any rank, save and raise `Stop`.

    The state is saved between two batches, in the middle of an epoch as `ckpts/last.ckpt`. A validation that is under
    way is not waited for: it is done again by who resumes.
    """

    def __init__(self) -> None:
        self._agreement = Agreement()
        self._saved_step = 0

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Replace Lightning's handler, which has just come: of a SIGTERM it tells the other ranks, and may hang."""
        DOOR.take_back()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take signals from those who end at once: from here on there is something to save."""
        DOOR.look()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Look, between two batches of training."""
        number = self._agreement.highest(DOOR.received)
        if number and batch_idx % trainer.accumulate_grad_batches == 0:  # else gradients would be lost
            self._stop(trainer, number)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Look, between two batches of validation."""
        if trainer.sanity_checking or trainer.state.fn != TrainerFn.FITTING:
            return
        if number := self._agreement.highest(DOOR.received):
            self._stop(trainer, number)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Remember what is saved."""
        self._saved_step = trainer.global_step

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """There is nothing more to save."""
        DOOR.look_away()
        self._agreement.end()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """There is an end already."""
        DOOR.look_away()

    def _stop(self, trainer: Trainer, number: int) -> None:
        """Save what is not saved yet, and raise."""
        is_trial: bool | int = trainer.fast_dev_run  # type: ignore[attr-defined]
        if is_trial or trainer.global_step == 0:
            info("stopped before anything was worth saving")
        else:
            if self._saved_step != trainer.global_step:
                trainer.save_checkpoint(joined(trainer.default_root_dir, FOLDER, LAST))
            run = trainer.default_root_dir
            info("stopped after step %d, all is saved; go on with: salt fit --resume %s", trainer.global_step, run)
        raise Stop(number)
