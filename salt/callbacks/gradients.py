"""GradientLogger: how large the gradients of each parameter are."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer


class GradientLogger(Callback):
    """Log mean and width of each parameter's gradient, and the sum and mean of all gradients' sizes.

    The names are those of upstream: `gradients_grad/<parameter>_mean`, `..._std`, `gradient_total_magnitude`,
    `gradient_average_magnitude`. They are taken before the step, of gradients without the scale of mixed precision.

    Parameters
    ----------
    log_every_n_steps : int
        Every so many steps.
    """

    def __init__(self, log_every_n_steps: int = 50) -> None:
        self.log_every_n_steps = positive(log_every_n_steps, "GradientLogger")

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Log."""
        if trainer.global_step % self.log_every_n_steps or not trainer.loggers:
            return
        gradients = {name: p.grad for name, p in pl_module.named_parameters() if p.grad is not None}
        values = summary(gradients, "gradients_grad")
        total = torch.stack([g.abs().sum(dtype=torch.float32) for g in gradients.values()]).sum().item()
        values["gradient_total_magnitude"] = total
        values["gradient_average_magnitude"] = total / sum(g.numel() for g in gradients.values())
        log(trainer, values)


def positive(steps: int, owner: str) -> int:
    """The number of steps, which has to be one."""
    if steps < 1:
        raise ValueError(f"log_every_n_steps of salt.callbacks.{owner} is {steps}: give 1 or more")
    return steps


def summary(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, float]:
    """Mean and standard deviation of each tensor: all of them come from the device at once."""
    pairs = [
        torch.stack([x.mean(), x.std() if x.numel() > 1 else x.new_zeros(())]).float()
        for x in (each.detach() for each in tensors.values())
    ]
    numbers = torch.stack(pairs).tolist() if pairs else []
    return {
        f"{prefix}/{name}_{what}": number
        for name, both in zip(tensors, numbers, strict=True)
        for what, number in zip(("mean", "std"), both, strict=True)
    }


def log(trainer: Trainer, values: Mapping[str, float]) -> None:
    """Give the values to the loggers alone: as metrics of the module they would fill progress bars and monitors."""
    for logger in trainer.loggers:
        logger.log_metrics(dict(values), step=trainer.global_step)
