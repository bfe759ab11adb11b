"""Learning rates: a curve over the steps of the optimiser."""

from __future__ import annotations

import logging
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Literal

from lightning.pytorch.utilities.rank_zero import rank_zero_only

info = rank_zero_only(logging.getLogger(__name__).info)

KEY = "model.lrs_config"


@dataclass
class LRSConfig:
    """The learning rate of each step, and the weight decay.

    Parameters
    ----------
    initial, max, end : float
        Learning rates at the start, at the top, and at the end; a constant one has no end.
    pct_start : float
        one_cycle: share of the steps that go up.
    weight_decay : float
        Weight decay of the optimiser: decoupled, but for those of torch that have another.
    last_epoch : int
        Accepted from older files; resuming restores the schedule by itself.
    schedule : Literal["one_cycle", "cosine", "wsd", "constant"]
        one_cycle: up and down along cosines (Smith and Topin, Super-convergence, arXiv:1708.07120). The others go up
        along a line; then cosine goes down (Loshchilov and Hutter, arXiv:1608.03983), constant stays, and wsd stays and
        goes down last (warm-up, stable, decay; Hu et al., MiniCPM, arXiv:2404.06395): where a training becomes longer,
        the steps of wsd before its decay are the same.
    warmup_steps : int
        cosine, wsd, constant: steps that go up.
    pct_decay : float
        wsd: share of the steps that go down, along 1 - sqrt (Hägele et al., arXiv:2405.18392); 0: none.
    """

    initial: float = 1e-7
    max: float = 5e-4
    end: float = 1e-7
    pct_start: float = 0.1
    weight_decay: float = 1e-5
    last_epoch: int = -1
    schedule: Literal["one_cycle", "cosine", "wsd", "constant"] = "one_cycle"
    warmup_steps: int = 500
    pct_decay: float = 0.2

    def check(self) -> None:
        """Raise ValueError where a value cannot be."""
        for key in ("initial", "max", "end", "weight_decay"):
            if not 0 <= getattr(self, key) < math.inf:
                raise ValueError(f"{KEY}.{key} is {getattr(self, key)}; it must be at least 0, and finite")
        if self.max == 0:
            raise ValueError(f"{KEY}.max is 0: nothing would be learned")
        for key in ("pct_start", "pct_decay"):
            if not 0 <= getattr(self, key) <= 1:
                raise ValueError(f"{KEY}.{key} is {getattr(self, key)}; it is a share of the steps, from 0 to 1")
        if self.warmup_steps < 0:
            raise ValueError(f"{KEY}.warmup_steps is {self.warmup_steps}; it must be at least 0")


class Curve(ABC):
    """Learning rate of each step.

    Parameters
    ----------
    config : LRSConfig
        What was asked for.
    num_steps : int | None
        Steps of the whole training; None: it has no end.
    """

    def __init__(self, config: LRSConfig, num_steps: int | None) -> None:
        self.config = config
        self.num_steps = num_steps

    @abstractmethod
    def rate(self, step: int) -> float:
        """Learning rate of a step, from 0."""

    def momentum(self, step: int) -> float | None:
        """First of the optimiser's betas at a step; None: it is the optimiser's own."""
        return None


class OneCycle(Curve):
    """Up and down along cosines, and the momentum down and up."""

    def __init__(self, config: LRSConfig, num_steps: int) -> None:
        super().__init__(config, num_steps)
        # at least two steps of each: no phase has the length 0
        pct_start = min(max(config.pct_start, 2 / num_steps), 1 - 2 / num_steps)
        self._top, self._last = pct_start * num_steps - 1, num_steps - 1
        if pct_start != config.pct_start:
            info(
                "%s.pct_start %g of %d steps is too short or too long: going up for %d of them",
                KEY, config.pct_start, num_steps, round(pct_start * num_steps),
            )  # fmt: skip

    def rate(self, step: int) -> float:
        """Learning rate of a step, from 0."""
        return self._along(step, self.config.initial, self.config.max, self.config.end)

    def momentum(self, step: int) -> float:
        """First of the optimiser's betas at a step."""
        return self._along(step, MOST_MOMENTUM, LEAST_MOMENTUM, MOST_MOMENTUM)

    def _along(self, step: int, start: float, top: float, end: float) -> float:
        step = min(step, self._last)
        if step <= self._top:
            return _cosine(start, top, step / self._top)
        return _cosine(top, end, (step - self._top) / (self._last - self._top))


class WarmUp(Curve):
    """Up along a line, then along a curve of its own.

    Parameters
    ----------
    config, num_steps : LRSConfig, int | None
        As of any curve.
    num_last : int
        Steps at the end that are not to be those of the warm-up.
    """

    def __init__(self, config: LRSConfig, num_steps: int | None, num_last: int) -> None:
        super().__init__(config, num_steps)
        self.warmup = config.warmup_steps
        if num_steps is not None and self.warmup > (longest := (num_steps - num_last) // 2):
            self.warmup = longest
            info(
                "%s.warmup_steps %d is too long for a training of %d steps: going up for %d of them",
                KEY, config.warmup_steps, num_steps, longest,
            )  # fmt: skip

    def rate(self, step: int) -> float:
        """Learning rate of a step, from 0."""
        if step < self.warmup:
            return self.config.initial + (self.config.max - self.config.initial) * step / self.warmup
        return self.after(step)

    @abstractmethod
    def after(self, step: int) -> float:
        """Learning rate of a step after the warm-up."""


class Constant(WarmUp):
    """At the top for ever."""

    def __init__(self, config: LRSConfig, num_steps: int | None) -> None:
        super().__init__(config, num_steps, 0)

    def after(self, step: int) -> float:
        """Learning rate of a step after the warm-up."""
        return self.config.max


class Cosine(WarmUp):
    """Down along a cosine."""

    def __init__(self, config: LRSConfig, num_steps: int) -> None:
        super().__init__(config, num_steps, 0)
        self._length = num_steps - 1 - self.warmup

    def after(self, step: int) -> float:
        """Learning rate of a step after the warm-up."""
        passed = min((step - self.warmup) / self._length, 1.0) if self._length > 0 else 0.0
        return _cosine(self.config.max, self.config.end, passed)


class WarmUpStableDecay(WarmUp):
    """At the top, and down in the last steps."""

    def __init__(self, config: LRSConfig, num_steps: int | None) -> None:
        self._length = 0 if num_steps is None else int(config.pct_decay * num_steps)
        super().__init__(config, num_steps, self._length)
        if num_steps is None and config.pct_decay > 0:
            info("the training has no end (trainer.max_epochs -1): the learning rate stays at %s.max", KEY)

    def after(self, step: int) -> float:
        """Learning rate of a step after the warm-up."""
        if self.num_steps is None or step < self.num_steps - self._length:
            return self.config.max
        passed = min(1.0, (step + 1 - self.num_steps + self._length) / self._length) if self._length else 0.0
        return self.config.end + (self.config.max - self.config.end) * (1 - math.sqrt(passed))


def curve(config: LRSConfig, num_steps: int | None) -> Curve:
    """The curve that is asked for, over so many steps; None: the training has no end."""
    config.check()
    if config.schedule == "constant":
        return Constant(config, num_steps)
    if config.schedule == "wsd":
        return WarmUpStableDecay(config, num_steps)
    if num_steps is None:
        raise ValueError(
            f"{KEY}.schedule {config.schedule} needs to know how long the training is, and it has no end\n"
            f"  mend: give trainer.max_epochs or trainer.max_steps, or set {KEY}.schedule to wsd or constant"
        )
    if config.schedule == "cosine":
        return Cosine(config, num_steps)
    if num_steps >= SHORTEST_CYCLE:
        return OneCycle(config, num_steps)
    info("%d steps are too few for one cycle: the learning rate stays at %s.max", num_steps, KEY)
    return Constant(replace(config, warmup_steps=0), num_steps)


def _cosine(start: float, end: float, passed: float) -> float:
    """From start to end along half a cosine, of which this part has passed."""
    return end + (start - end) / 2.0 * (math.cos(math.pi * passed) + 1)


SHORTEST_CYCLE = 5

MOST_MOMENTUM, LEAST_MOMENTUM = 0.95, 0.85
"""torch's, and so upstream's."""
