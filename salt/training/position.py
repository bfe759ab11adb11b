"""Position: how far a training has come, and what makes Lightning's loops go on from there.

Lightning's progress counters mean different things at each moment of saving, and after some of them it leaves out a
validation, or counts a step twice. So a checkpoint says in four numbers where the run is, and on resuming the counters
are written anew, as they are between two batches.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from lightning import Trainer

Loops = dict[str, Any]
"""State of Lightning's fit loop, as its checkpoints hold it."""


@dataclass(frozen=True)
class Position:
    """A place between two batches of a training.

    Parameters
    ----------
    epoch : int
        Number of the epoch, from 0.
    step : int
        Batches of this epoch that have been trained with.
    batches : int
        Batches of all epochs that have been trained with.
    validated : bool
        Whether a validation after the last of them is over.
    """

    epoch: int
    step: int
    batches: int
    validated: bool

    def state(self) -> dict[str, int | bool]:
        """Plain values for a checkpoint."""
        return asdict(self)


def position_in(loops: Mapping[str, Any], num_batches: float, validated_after: int) -> Position:
    """Where a training is whose loops are in this state.

    Parameters
    ----------
    loops : Mapping[str, Any]
        State of the fit loop, at any moment but within a step.
    num_batches : float
        Batches of an epoch; infinite where that is not known.
    validated_after : int
        Number of batches after which the last validation came to its end.
    """
    epochs, progress = loops["epoch_progress"]["current"], loops["epoch_loop.batch_progress"]
    step, batches = progress["current"]["processed"], progress["total"]["processed"]
    epoch, begun = epochs["processed"], epochs["started"] > epochs["processed"]
    if not begun and 0 < step < num_batches < math.inf:  # its end has come early: trainer.max_steps
        epoch, begun = epoch - 1, True
    return Position(epoch, step if begun else 0, batches, validated_after == batches)


def loops_at(loops: Loops, position: Position, trainer: Trainer) -> Loops:
    """State of the fit loop from which Lightning goes on at this position: first with a validation that is due.

    Parameters
    ----------
    loops : Loops
        The state in the checkpoint.
    position : Position
        Where to go on.
    trainer : Trainer
        Whose loops; its training data must be known.
    """
    begun = position.step > 0
    reached = trainer.num_training_batches
    due = _validation_due(position, trainer)
    optimiser = loops["epoch_loop.automatic_optimization.optim_progress"]["optimizer"]["step"]["total"]["completed"]
    # Lightning counts this step when it has looked whether a validation is due, which it does wherever it "restarts"
    steps = position.step % trainer.accumulate_grad_batches == 0 or position.step >= reached
    counted_yet_to_be = due and steps and (begun or trainer.max_steps != -1)
    pending = int(begun and due and not position.validated)
    new = {
        "epoch_progress": _progress(position.epoch, position.epoch, int(begun)),
        "epoch_loop.batch_progress": {
            **_progress(position.step, position.batches),
            "is_last_batch": begun and position.step >= reached,
        },
        # a validation that has begun and not ended is run, from its first batch
        "epoch_loop.val_loop.batch_progress": {
            "total": {"ready": pending, "started": pending, "processed": 0, "completed": 0},
            "current": dict.fromkeys(("ready", "started", "processed", "completed"), 0),
            "is_last_batch": False,
        },
        "epoch_loop.state_dict": {
            **loops["epoch_loop.state_dict"],
            "_batches_that_stepped": optimiser - int(counted_yet_to_be),
        },
    }
    return {**loops, **new}


def _progress(current: int, total: int, begun: int = 0) -> dict[str, dict[str, int]]:
    """Counters that have done so many, and have begun one more or not."""
    return {
        name: {"ready": count + begun, "started": count + begun, "processed": count, "completed": count}
        for name, count in (("total", total), ("current", current))
    }


def _validation_due(position: Position, trainer: Trainer) -> bool:
    """Whether the trainer validates after the last batch before this position."""
    every_epochs, every_batches = trainer.check_val_every_n_epoch, trainer.val_check_batch
    if not trainer.enable_validation or every_batches is None:  # None: by the clock
        return False
    if every_epochs is not None and (position.epoch + 1) % every_epochs != 0:
        return False
    if math.isinf(every_batches):
        return position.step >= trainer.num_training_batches
    return (position.batches if every_epochs is None else position.step) % int(every_batches) == 0
