"""Pruning: tells a sweep how each validation of a trial went, and ends the trial where it is not worth it."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_info

from salt.callbacks import questions, state
from salt.data.names import unknown


def asked_for() -> list[Callback]:
    """The callback, where this process is a trial of a sweep; it is in no config.yaml: the run is like others."""
    told = questions.introduction()
    return [] if told is None else [Pruning(told["objective"], told["descriptor"])]


class Pruning(Callback):
    """Report the objective after each validation; end the training, at its next boundary, where the answer says so.

    The first rank asks, and all hear the answer. The epoch's checkpoint is written as ever, and state.yaml says
    `pruned`. An objective that no validation logs ends the training at the first one.

    Parameters
    ----------
    objective : str
        A metric.
    descriptor : int
        Number of the socket to the worker, which only the first rank has.
    """

    def __init__(self, objective: str, descriptor: int) -> None:
        self.objective = objective
        self._descriptor = descriptor
        self._worker: socket.socket | None = None
        self._is_pruned = False

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Ask, and hear."""
        known = self.objective in trainer.callback_metrics
        # other metrics may come later: those of the training at the end of its epoch
        is_missing = not known and self.objective.split("/")[0] == "val"
        if not is_missing and (trainer.sanity_checking or not known):
            return
        answer = self._asked(trainer, is_missing) if trainer.is_global_zero else None
        answer = trainer.strategy.broadcast(answer)
        if answer == questions.MISSING:
            raise ValueError(unknown("metric", self.objective, _logged(trainer), "what is logged (the objective)"))
        if answer == questions.PRUNE:
            self._is_pruned = trainer.should_stop = True
            rank_zero_info(f"pruned: {self.objective} is worse than that of other trials of the sweep")

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write that the run has ended early, on purpose; RunState has written that all went well."""
        if self._is_pruned and trainer.is_global_zero:
            reason = f"pruned: {self.objective} was worse than that of other trials of the sweep"
            state.update(trainer.default_root_dir, state="pruned", reason=reason)

    def _asked(self, trainer: Trainer, is_missing: bool) -> str:
        """What the worker answers; to go on, where it has ended: who resumes will ask again."""
        content: dict[str, Any] = {"missing": _logged(trainer)}
        if not is_missing:
            content = {"step": number_of_validation(trainer), "value": float(trainer.callback_metrics[self.objective])}
        with suppress(ConnectionError, TimeoutError):
            if self._worker is None:
                self._worker = socket.socket(fileno=self._descriptor)
            questions.say(self._worker, content)
            heard = questions.heard(self._worker)
            if heard is not None:
                return str(heard["answer"])
        return questions.MISSING if is_missing else questions.GO_ON


def number_of_validation(trainer: Trainer) -> int:
    """Which validation of the training this is, from 1, however often it was resumed: for comparisons."""
    loop, in_epoch, every = trainer.fit_loop.epoch_loop, trainer.num_training_batches, trainer.val_check_batch
    assert every is not None
    if trainer.check_val_every_n_epoch is None:
        return (loop.total_batch_idx + 1) // int(every)
    every = int(min(every, in_epoch))
    return trainer.current_epoch * (int(in_epoch) // every) + loop.batch_progress.current.ready // every


def _logged(trainer: Trainer) -> list[str]:
    return sorted(name for name in trainer.callback_metrics if name not in {"epoch", "step"})
