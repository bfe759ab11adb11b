"""The schedule of the learning rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ConstantLR, LRScheduler, OneCycleLR


@dataclass
class LRSConfig:
    """One cycle of the learning rate, per step: up from initial to max, down to end.

    Smith and Topin, Super-convergence, arXiv:1708.07120.

    Parameters
    ----------
    initial, max, end : float
        Learning rates at the start, at the top, and at the end.
    pct_start : float
        Share of the steps that go up.
    weight_decay : float
        Decoupled weight decay of the optimiser.
    last_epoch : int
        Accepted from older files; resuming restores the schedule by itself.
    """

    initial: float = 1e-7
    max: float = 5e-4
    end: float = 1e-7
    pct_start: float = 0.1
    weight_decay: float = 1e-5
    last_epoch: int = -1


class OneCycle(OneCycleLR):
    """One cycle that a resumed run goes on with at its step, also where the cycle is another than the run began with.

    What a checkpoint says is the step alone. The learning rate there is the one that a run has which had this cycle
    from the beginning: a longer training is one longer cycle. After its last step the cycle stays at its end.
    """

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the step of a checkpoint, and set the optimiser to what this cycle says of it."""
        self.last_epoch = state_dict["last_epoch"] - 1
        self._step_count = 0  # or torch warns that the optimiser has made no step yet
        self.step()
        self._step_count = state_dict["_step_count"]

    def get_lr(self) -> list[float | Tensor]:
        """Learning rate of each group of parameters at this step."""
        asked, self.last_epoch = self.last_epoch, min(self.last_epoch, self.total_steps - 1)
        try:
            return super().get_lr()
        finally:
            self.last_epoch = asked


def one_cycle(optimizer: Optimizer, config: LRSConfig, num_steps: int) -> LRScheduler:
    """The schedule of `config` over this many steps; constant at its top where they are too few for a cycle."""
    if num_steps < SHORTEST_CYCLE:
        return ConstantLR(optimizer, factor=1.0)
    # torch divides by (steps that go up - 1) and by those that go down: keep at least two of each
    pct_start = min(max(config.pct_start, 2 / num_steps), 1 - 2 / num_steps)
    return OneCycle(
        optimizer,
        max_lr=config.max,
        total_steps=num_steps,
        pct_start=pct_start,
        div_factor=config.max / config.initial,
        final_div_factor=config.initial / config.end,
    )


SHORTEST_CYCLE = 5
