"""Sums and counts of the losses: of an epoch so far, and of all ranks together."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor

Losses = dict[str, tuple[Tensor, Tensor]]
"""Task -> sum of its losses, and what to divide it by."""

LossState = dict[str, list[float]]
"""Task -> these two, as plain numbers."""


class LossSums:
    """Sums and counts of the losses of an epoch so far."""

    def __init__(self) -> None:
        self._sums: Losses = {}

    def add(self, losses: Losses) -> None:
        """Add those of a batch."""
        for task, (total, count) in losses.items():
            before = self._sums.get(task, (0, 0))
            self._sums[task] = (before[0] + total.detach().double(), before[1] + count.detach().double())

    def sums(self) -> Losses:
        """Those of all batches since the last `clear`."""
        return dict(self._sums)

    def clear(self) -> None:
        """Begin again."""
        self._sums = {}

    def state(self) -> LossState:
        """Plain numbers for a checkpoint."""
        return {task: [float(total), float(count)] for task, (total, count) in self._sums.items()}

    def load(self, states: Sequence[LossState], device: torch.device) -> None:
        """Begin with the sums of these ranks, as a checkpoint has them."""
        self.clear()
        for state in states:
            numbers = {task: torch.tensor(pair, dtype=torch.float64, device=device) for task, pair in state.items()}
            self.add({task: (pair[0], pair[1]) for task, pair in numbers.items()})


def global_mean(total: Tensor, count: Tensor) -> Tensor:
    """Sum over count of all ranks together, so that N ranks give the gradient of one; 0 where there is nothing.

    The gradients of the ranks are averaged, so each rank divides its own sum by the mean count.
    """
    count = count.detach().to(total.dtype)
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        count = count.clone()
        dist.all_reduce(count)
        count /= dist.get_world_size()
        if not total.requires_grad:  # a figure, not a loss: every rank shall have the same
            total = total.clone()
            dist.all_reduce(total)
            total /= dist.get_world_size()
    return total * (count > 0) / count.clamp(min=torch.finfo(count.dtype).tiny)


def over_ranks(means: dict[str, Tensor]) -> dict[str, Tensor]:
    """The mean over all ranks of each rank's part, as `global_mean` gives it: figures to log, without a graph."""
    figures = {task: mean.detach() for task, mean in means.items()}
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return figures
    together = torch.stack(list(figures.values()))
    dist.all_reduce(together)
    return dict(zip(figures, together / dist.get_world_size(), strict=True))


def valued(means: dict[str, Tensor], figures: dict[str, Tensor]) -> dict[str, Tensor]:
    """Each rank's part of the means, whose gradients it has, with the values of all ranks together.

    What is not linear in the means has the gradient of one rank only so.
    """
    return {task: mean + (figures[task] - mean).detach() for task, mean in means.items()}


def geometric_mean(losses: Tensor) -> Tensor:
    """The geometric mean of losses (n,), none of them negative.

    A task with nothing to learn from in a batch has the loss 0, which would be that of all, with a gradient that is no
    number: it is left out of this mean.
    """
    present = losses != 0  # what is no number stays, and is found
    count = present.sum().clamp(min=1)
    return losses.where(present, 1).prod() ** (1 / count.to(losses.dtype)) * present.any()
