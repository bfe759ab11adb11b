"""The schedule of the learning rate: the optimiser follows a curve."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from salt.training.rates import Curve, LRSConfig, curve


class Schedule(LRScheduler):
    """Sets the optimiser to a curve; a group of another learning rate than the curve's top keeps the ratio of the two.

    What a checkpoint says is the step alone: a resumed run has the learning rates of one that had its curve from the
    beginning, so that a longer training is one longer cycle. After its last step a curve stays at its end.

    Parameters
    ----------
    optimizer : Optimizer
        Its groups, with the learning rates that they have at the top of the curve.
    curve : Curve
        The learning rates.
    """

    def __init__(self, optimizer: Optimizer, curve: Curve) -> None:
        self.total_steps = curve.num_steps
        self._curve = curve
        self._has_betas = "betas" in optimizer.defaults
        self._ratios = [group["lr"] / curve.config.max for group in optimizer.param_groups]
        super().__init__(optimizer)

    def state_dict(self) -> dict[str, Any]:
        """The step, and how many there are."""
        return {name: getattr(self, name) for name in ("last_epoch", "_step_count", "total_steps")}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the step of a checkpoint, and set the optimiser to what this curve says of it."""
        self.last_epoch = state_dict["last_epoch"] - 1
        self._step_count = 0  # or torch warns that the optimiser has made no step yet
        self.step()
        self._step_count = state_dict["_step_count"]

    def get_lr(self) -> list[float | Tensor]:
        """Learning rate of each group of parameters at this step; sets the momentum besides."""
        momentum = self._curve.momentum(self.last_epoch)
        for group in self.optimizer.param_groups if self._has_betas and momentum is not None else []:
            group["betas"] = (momentum, *group["betas"][1:])
        rate = self._curve.rate(self.last_epoch)
        return [rate * ratio for ratio in self._ratios]


def scheduled(optimizer: Optimizer, config: LRSConfig, num_steps: int | None) -> Schedule:
    """The schedule of `config` over this many steps; None: the training has no end."""
    return Schedule(optimizer, curve(config, num_steps))
