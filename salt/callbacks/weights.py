"""WeightLogger: where the weights are, and how wide."""

from __future__ import annotations

from typing import Any

from lightning import Callback, LightningModule, Trainer

from salt.callbacks.gradients import log, positive, summary


class WeightLogger(Callback):
    """Log mean and width of each parameter, as upstream names them: `weights_weights/<parameter>_mean`, `..._std`.

    Parameters
    ----------
    log_every_n_steps : int
        Every so many steps.
    """

    def __init__(self, log_every_n_steps: int = 50) -> None:
        self.log_every_n_steps = positive(log_every_n_steps, "WeightLogger")
        self._logged_at = 0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Log, once a step: batches whose gradients are accumulated change nothing."""
        step = trainer.global_step
        if step % self.log_every_n_steps or step == self._logged_at or not trainer.loggers:
            return
        self._logged_at = step
        log(trainer, summary(dict(pl_module.named_parameters()), "weights_weights"))
