"""The moving average of the weights, with which a run is validated.

Polyak and Juditsky, Acceleration of stochastic approximation by averaging, SIAM J. Control Optim. 30 (1992) 838.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from salt.training.checkpoints import SALT

WARM_UP = 10
"""The decay of the update after n others is at most (1 + n) / (WARM_UP + n): the first weights are soon forgotten."""


class WeightAverage:
    """Exponential moving average of a module's parameters; its buffers are no weights and stay as they are.

    Parameters
    ----------
    module : nn.Module
        Whose parameters; the average begins with them.
    decay : float
        Part of the average that each update keeps, below 1.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self._weights: list[Tensor] = list(module.parameters())
        self._averages = [weight.detach().clone() for weight in self._weights]
        self._raw: list[Tensor] | None = None
        places = {id(weight): place for place, weight in enumerate(self._weights)}
        self._places = {name: places[id(weight)] for name, weight in module.named_parameters(remove_duplicate=False)}

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights after a step of the optimiser."""
        decay = min(self.decay, (1 + self.updates) / (WARM_UP + self.updates))
        torch._foreach_lerp_(self._averages, self._weights, 1 - decay)
        self.updates += 1

    @torch.no_grad()
    def put_in(self) -> None:
        """Give the module the average for its weights, until `take_out`."""
        if self._raw is None:
            self._raw = [weight.clone() for weight in self._weights]
            torch._foreach_copy_(self._weights, self._averages)

    @torch.no_grad()
    def take_out(self) -> None:
        """Give the module its own weights back."""
        if self._raw is not None:
            torch._foreach_copy_(self._weights, self._raw)
            self._raw = None

    def save(self, checkpoint: dict[str, Any]) -> None:
        """Let a checkpoint hold the average where its weights are looked for, and the module's own weights beside it.

        Both are right whichever of them are in the module now.
        """
        weights, state_dict = self._raw or [weight.detach() for weight in self._weights], checkpoint["state_dict"]
        raw = {name: weights[place] for name, place in self._places.items()}
        average = {name: self._averages[place] for name, place in self._places.items()}
        checkpoint["state_dict"] = {**state_dict, **average}
        checkpoint.setdefault(SALT, {}).update(
            raw_state_dict={**state_dict, **raw}, ema={"decay": self.decay, "updates": self.updates}
        )

    @torch.no_grad()
    def load(self, averaged: Mapping[str, Any], updates: int) -> None:
        """Go on with the average that a checkpoint holds."""
        for name, place in self._places.items():
            self._averages[place].copy_(averaged[name])
        self.updates = updates


class Averaged(NamedTuple):
    """What a checkpoint says of the average: its state dict, and how often it was updated."""

    state_dict: dict[str, Any]
    updates: int


def take_average(checkpoint: dict[str, Any]) -> Averaged | None:
    """Take the average out of a checkpoint that training goes on from, and put the weights themselves in its place."""
    kept = checkpoint.get(SALT, {})
    if "raw_state_dict" not in kept:
        return None
    averaged, checkpoint["state_dict"] = checkpoint["state_dict"], kept["raw_state_dict"]
    return Averaged(averaged, kept["ema"]["updates"])
