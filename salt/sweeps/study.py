"""The study of a sweep: Optuna's journal in its folder, which any number of processes share, with no server.

Whoever takes a trial, or gives one back, holds a lock file meanwhile: so there are exactly as many as are wanted, and
each is trained by one process. A trial comes into the journal by one line, with its values and who has it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from salt.sweeps import owner
from salt.sweeps.folder import JOURNAL, PLAN, TRIALS, Member, State, read_plan, write_members, write_plan
from salt.sweeps.owner import Owner
from salt.sweeps.plan import Plan

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

log = logging.getLogger(__name__)

NAME = "salt"
"""Of the study in its journal."""

PATIENCE = 30
"""Seconds after which a lock that does not change hands counts as that of a dead process."""

INSTALL = "salt sweep needs Optuna, which is not installed\n  mend: pip install 'salt-hep[sweep]'"

OWNER, SECONDS, REASON = "owner", "seconds", "reason"
"""What a trial's record says besides: who has it (empty: nobody), how long it has trained, and why it failed."""


class Trial(NamedTuple):
    """A trial that this process has taken.

    Parameters
    ----------
    number : int
        From 0.
    parameters : dict[str, Any]
        Option -> value.
    run : Path
        The directory of its run.
    is_new : bool
        Whether nobody has had it before.
    """

    number: int
    parameters: dict[str, Any]
    run: Path
    is_new: bool


class Study:
    """The trials of a sweep.

    Parameters
    ----------
    folder : Path
        With sweep.yaml.
    """

    def __init__(self, folder: Path) -> None:
        optuna = library()
        backend = optuna.storages.journal
        self.folder = folder
        self._lock = backend.JournalFileOpenLock(str(folder / "study"), grace_period=PATIENCE)
        file = str(folder / JOURNAL)
        with self._locked():
            self.plan = Plan.of(read_plan(folder), str(folder / PLAN))
            inner = backend.JournalFileOpenLock(file, grace_period=PATIENCE)
            self._storage = optuna.storages.JournalStorage(backend.JournalFileBackend(file, lock_obj=inner))
            self._study = optuna.create_study(
                study_name=NAME,
                storage=self._storage,
                direction=self._direction,
                pruner=_pruner(optuna, self.plan.prune),
                load_if_exists=True,
            )

    @property
    def _direction(self) -> str:
        return {"min": "minimize", "max": "maximize"}[self.plan.direction]

    def extend(self, trials: int) -> None:
        """Want this number of trials, where it is greater than before; a grid has no more than its combinations."""
        with self._locked():
            self.plan = Plan.of(read_plan(self.folder), PLAN)
            most = trials if (combinations := self.plan.combinations()) is None else len(combinations)
            if self.plan.trials < min(trials, most):
                self.plan = self.plan.extended(min(trials, most))
                write_plan(self.folder, self.plan.content())

    def take(self) -> Trial | None:
        """A trial whose worker has ended or given it back, else a new one; None where there is nothing left to do."""
        with self._locked():
            self.plan = Plan.of(read_plan(self.folder), PLAN)  # somebody may want more
            trials = self._trials()
            for trial in trials:
                if trial.state.name == "RUNNING" and self._is_free(trial):
                    return self._taken(trial.number, is_new=False)
            if len(trials) >= self.plan.trials:
                return None
            self._study.add_trial(self._new(trials))
            return self._taken(len(trials), is_new=True)

    def report(self, number: int, step: int, value: float) -> bool:
        """Take the value of a validation; whether the trial should be pruned."""
        with self._locked():
            if not self._is_mine(number):
                return True
            self._storage.set_trial_intermediate_value(self._id(number), step, value)
            return bool(self._study.pruner.prune(self._study, self._storage.get_trial(self._id(number))))

    def end(self, number: int, state: State, value: float | None, seconds: float, reason: str = "") -> None:
        """Record how a trial has ended; "running": it was stopped, and anybody may go on with it."""
        optuna = library()
        states = {
            "complete": optuna.trial.TrialState.COMPLETE,
            "pruned": optuna.trial.TrialState.PRUNED,
            "failed": optuna.trial.TrialState.FAIL,
        }
        with self._locked():
            if not self._is_mine(number):
                log.warning("trial %d was taken by another process, which thought this one dead", number)
                return
            known = self._storage.get_trial(self._id(number)).user_attrs
            changes = {SECONDS: known.get(SECONDS, 0.0) + seconds, REASON: reason, OWNER: {}}
            for key, content in changes.items():
                self._storage.set_trial_user_attr(self._id(number), key, content)
            if state in states:
                self._study.tell(number, value if state == "complete" else None, states[state], skip_if_finished=True)
            owner.end_beat(self.folder, number)

    def members(self) -> list[Member]:
        """All trials, as the tables have them."""
        return [self._member(trial) for trial in self._trials()]

    def write(self, page: Any) -> list[Member]:
        """Write trials.csv, and what `page(plan, members)` writes, while nobody else does."""
        with self._locked():
            members = self.members()
            write_members(self.folder, members)
            page(self.plan, members)
        return members

    def _trials(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    def _id(self, number: int) -> int:
        return int(self._storage.get_trial_id_from_study_id_trial_number(self._study._study_id, number))

    def _is_mine(self, number: int) -> bool:
        trial = self._storage.get_trial(self._id(number))
        return not trial.state.is_finished() and trial.user_attrs.get(OWNER) == Owner.this().record()

    def _is_free(self, trial: FrozenTrial) -> bool:
        had_by = Owner.of(trial.user_attrs.get(OWNER) or {})
        return had_by is None or had_by.has_ended(self.folder, trial.number)

    def _new(self, trials: list[FrozenTrial]) -> FrozenTrial:
        """The next trial, chosen in a copy of the study, so that a worker that dies here leaves no half of one."""
        optuna = library()
        parameters = self.plan.space()
        distributions = {each.key: each.distribution() for each in parameters}
        combinations = self.plan.combinations()
        if combinations is not None:
            values = combinations[len(trials) % len(combinations)]
        else:
            copy = optuna.create_study(direction=self._direction, sampler=_sampler(optuna, self.plan, len(trials)))
            copy.add_trials(trials)
            values = copy.ask(distributions).params
        return optuna.trial.create_trial(
            state=optuna.trial.TrialState.RUNNING, params=values, distributions=distributions, user_attrs={}
        )

    def _taken(self, number: int, is_new: bool) -> Trial:
        self._storage.set_trial_user_attr(self._id(number), OWNER, Owner.this().record())
        owner.beat(self.folder, number)
        member = self._member(self._storage.get_trial(self._id(number)))
        return Trial(number, member.parameters, member.run, is_new)

    def _member(self, trial: FrozenTrial) -> Member:
        states: dict[str, State] = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
        parameters = {each.key: each.plain(trial.params[each.key]) for each in self.plan.space()}
        steps = trial.intermediate_values
        value = trial.value if trial.state.is_finished() else (steps[max(steps)] if steps else None)
        return Member(
            number=trial.number,
            state=states.get(trial.state.name, "running"),
            value=value,
            run=self.folder / TRIALS / f"{self.plan.name}_{trial.number:04d}",
            parameters=parameters,
            duration=trial.user_attrs.get(SECONDS),
            reason=str(trial.user_attrs.get(REASON, "")),
        )

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the sweep alone; the lock is a file that only one can make, which every shared file system knows."""
        self._lock.acquire()
        try:
            _mend(self.folder / JOURNAL)
            yield
        finally:
            try:
                self._lock.release()
            except RuntimeError:
                log.warning("%s was slow: another process has taken the lock of the sweep meanwhile", self.folder)


def library() -> Any:
    """Optuna, quiet; an ImportError says how to install it."""
    try:
        import optuna
    except ImportError as error:
        raise ImportError(INSTALL) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _sampler(optuna: Any, plan: Plan, number: int) -> Any:
    """What chooses values; of a seed that only the trial's number tells, whichever process asks."""
    seed = plan.seed + number
    if plan.method == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    return optuna.samplers.TPESampler(seed=seed, constant_liar=True)  # knows what others are trying


def _pruner(optuna: Any, prune: str) -> Any:
    return optuna.pruners.MedianPruner() if prune == "median" else optuna.pruners.NopPruner()


def _mend(journal: Path) -> None:
    """Cut a last line that a killed process has left unfinished: the next one would be written behind it."""
    if not journal.is_file() or not journal.stat().st_size:
        return
    with journal.open("rb+") as file:
        file.seek(-1, os.SEEK_END)
        if file.read(1) == b"\n":
            return
        file.seek(0)
        log.warning("%s: its last line was not written to its end, and is cut", journal)
        file.truncate(file.read().rfind(b"\n") + 1)
        os.fsync(file.fileno())
