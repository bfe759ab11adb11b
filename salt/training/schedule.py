"""The schedule of the learning rate."""

from __future__ import annotations

from dataclasses import dataclass

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


def one_cycle(optimizer: Optimizer, config: LRSConfig, num_steps: int) -> LRScheduler:
    """The schedule of `config` over this many steps; constant at its top where they are too few for a cycle."""
    if num_steps < SHORTEST_CYCLE:
        return ConstantLR(optimizer, factor=1.0)
    # torch divides by (steps that go up - 1) and by those that go down: keep at least two of each
    pct_start = min(max(config.pct_start, 2 / num_steps), 1 - 2 / num_steps)
    return OneCycleLR(
        optimizer,
        max_lr=config.max,
        total_steps=num_steps,
        pct_start=pct_start,
        div_factor=config.max / config.initial,
        final_div_factor=config.initial / config.end,
    )


SHORTEST_CYCLE = 5
