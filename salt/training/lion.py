"""Lion: the sign of a momentum is the step.

Chen et al., Symbolic discovery of optimization algorithms, arXiv:2302.06675.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT


class Lion(Optimizer):
    """Every weight moves by the learning rate, up or down; its state is one average of the gradients.

    Its learning rate is to be 3 to 10 times below that of AdamW, and its weight decay as many times above.

    Parameters
    ----------
    params : ParamsT
        What to optimise: weights, or groups of them.
    lr : float
        Learning rate.
    betas : tuple[float, float]
        Parts of the average that are kept: where the sign is taken, and in the average itself.
    weight_decay : float
        Decoupled: each step multiplies the weights by 1 - lr * weight_decay.
    """

    def __init__(
        self, params: ParamsT, lr: float = 1e-4, betas: tuple[float, float] = (0.9, 0.99), weight_decay: float = 0.0
    ) -> None:
        if lr < 0 or weight_decay < 0 or not all(0 <= beta < 1 for beta in betas):
            raise ValueError(
                f"Lion cannot have lr {lr}, betas {tuple(betas)}, weight_decay {weight_decay}: "
                "lr and weight_decay are at least 0, betas at least 0 and below 1"
            )
        super().__init__(params, {"lr": lr, "betas": tuple(betas), "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Make a step; gives what `closure` gives."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            pairs = [(weight, weight.grad) for weight in group["params"] if weight.grad is not None]
            if pairs:
                weights, gradients = map(list, zip(*pairs, strict=True))
                self._move(weights, gradients, group)
        return loss

    def _move(self, weights: list[Tensor], gradients: list[Tensor], group: dict[str, Any]) -> None:
        rate, betas, weight_decay = group["lr"], group["betas"], group["weight_decay"]
        averages = [self._average(weight) for weight in weights]
        torch._foreach_mul_(weights, 1 - rate * weight_decay)
        steps = torch._foreach_lerp(gradients, averages, betas[0])
        torch._foreach_sign_(steps)
        torch._foreach_add_(weights, steps, alpha=-rate)
        torch._foreach_lerp_(averages, gradients, 1 - betas[1])

    def _average(self, weight: Tensor) -> Tensor:
        state = self.state[weight]
        if not state:
            state["exp_avg"] = torch.zeros_like(weight)
        return state["exp_avg"]
