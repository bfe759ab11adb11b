"""A worker: trains one trial after the other, as long as its study has some; stops when it is told to."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import yaml

from salt.callbacks import processes, questions
from salt.data.death import EXIT_CODES
from salt.data.names import unknown
from salt.sweeps import owner, process
from salt.sweeps.folder import Member, State, best
from salt.sweeps.objective import NotLoggedError, objective
from salt.sweeps.study import Study, Trial

log = logging.getLogger(__name__)

MOST_FAILURES = 3
"""In a row, after which a worker stops: the next ones would fail, too."""

PATIENCE = 120.0
"""Seconds to wait for the training of a dead worker, which is saving."""

LONGEST = 200
"""Characters of a reason."""


class Outcome(NamedTuple):
    """How a trial ended: "running" where it was stopped, and goes on later; `ends` is why there are no more trials."""

    state: State
    value: float | None
    reason: str = ""
    ends: str = ""


class Worker:
    """Trains trials of a study.

    Parameters
    ----------
    study : Study
        The study.
    page : Callable[[Any, list[Member]], None]
        Writes the page of a plan and its trials.
    own : Sequence[str]
        Options of `salt fit` that this worker alone gives to its trials.
    """

    def __init__(self, study: Study, page: Callable[[Any, list[Member]], None], own: Sequence[str] = ()) -> None:
        self._study = study
        self._own = own
        self._page = page
        self._received = 0
        self._process: process.Process | None = None
        self._answered: str = questions.GO_ON
        self._not_logged = ""

    def run(self) -> int:
        """Train until nothing is left, or a signal comes; the exit code.

        Raises
        ------
        ValueError
            Trials fail one after the other, or do not log the objective.
        """
        failures: list[str] = []
        with self._listening():
            while not self._received and (trial := self._study.take()) is not None:
                self._study.write(self._page)
                began = time.monotonic()
                outcome = self._trained(trial)
                seconds = time.monotonic() - began
                self._study.end(trial.number, outcome.state, outcome.value, seconds, outcome.reason)
                self._say(trial, outcome, self._study.write(self._page))
                failures = [*failures, outcome.reason] if outcome.state == "failed" else []
                if outcome.ends:
                    raise ValueError(outcome.ends)
                if len(failures) == MOST_FAILURES:
                    raise ValueError(
                        f"{MOST_FAILURES} trials in a row have failed, the last one: {failures[-1]}\n"
                        f"  mend: see {process.log_file(trial)}; then salt sweep --study {self._study.folder}"
                    )
        return EXIT_CODES[signal.Signals(self._received)] if self._received else 0

    def _trained(self, trial: Trial) -> Outcome:
        """Train, or go on training, or find that it was done already."""
        self._answered, self._not_logged = questions.GO_ON, ""
        state = {} if trial.is_new else self._state_when_free(trial)
        if state.get("state") in {"finished", "pruned"}:
            return self._done(trial, str(state["state"]))
        what = ", ".join(f"{key} {_shown(value)}" for key, value in trial.parameters.items())
        log.info("trial %d %s: %s", trial.number, "begins" if trial.is_new else "goes on", what)
        self._process = process.started(self._study.plan, trial, self._study.folder, self._own)
        if self._received:
            self._process.send(self._received)
        pulse = _Pulse(lambda: owner.beat(self._study.folder, trial.number))
        code = self._process.wait(lambda question: self._answer(trial, question), pulse)
        self._process = None
        if self._not_logged:
            return Outcome("failed", None, self._not_logged.partition("\n")[0][:LONGEST], self._not_logged)
        if code == 0:
            return self._done(trial, "pruned" if self._answered == questions.PRUNE else "finished")
        if self._received or code in EXIT_CODES.values() or -code == signal.SIGTERM:
            number = self._received or next((n for n, its in EXIT_CODES.items() if its == code), signal.SIGTERM)
            self._received = self._received or number
            return Outcome("running", None, f"stopped by {signal.Signals(number).name}")
        return Outcome("failed", None, _reason(trial, code))

    def _answer(self, trial: Trial, question: Mapping[str, Any]) -> str:
        """What a trial is told after a validation."""
        if "missing" in question:
            name = self._study.plan.objective
            self._not_logged = (
                f"{unknown('metric', name, question['missing'], 'what a trial logs (objective)')}\n"
                "  mend: begin another sweep with --objective and one of them"
            )
            self._answered = questions.MISSING
        elif self._study.report(trial.number, question["step"], question["value"]):
            self._answered = questions.PRUNE
        return self._answered

    def _done(self, trial: Trial, state: str) -> Outcome:
        """What came of a run that has done all that it was to do."""
        plan = self._study.plan
        if state == "pruned":
            return Outcome("pruned", None)
        try:
            return Outcome("complete", objective(trial.run, plan.objective, plan.direction))
        except NotLoggedError as error:
            mend = "  mend: begin another sweep with --objective and one of them"
            return Outcome("failed", None, str(error)[:LONGEST], f"{error}\n{mend}")
        except ValueError as error:
            return Outcome("failed", None, str(error)[:LONGEST])

    def _state_when_free(self, trial: Trial) -> dict[str, Any]:
        """What state.yaml of a trial says, once the process that it names has ended: it may be saving."""
        deadline = time.monotonic() + PATIENCE
        while True:
            state = _state(trial.run)
            its = processes.Process.of(state)
            is_dead = its is None or its.has_ended() is not False
            is_free = not trial.run.is_dir() or not processes.is_held(trial.run)
            if (is_dead and is_free) or self._received or time.monotonic() > deadline:
                return state
            time.sleep(process.PAUSE)

    @contextmanager
    def _listening(self) -> Iterator[None]:
        """Note signals, and hand them on to the trial, which saves."""
        before = {number: signal.signal(number, self._handle) for number in EXIT_CODES}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._received = self._received or number
        if self._process is not None:
            self._process.send(number)

    def _say(self, trial: Trial, outcome: Outcome, members: list[Member]) -> None:
        plan = self._study.plan
        first = best(members, plan.direction)
        what = f"{plan.objective} {_shown(outcome.value)}" if outcome.value is not None else outcome.reason
        at_best = "" if first is None else f"; best: {_shown(first.value)} of trial {first.number}"
        state = "stopped" if outcome.state == "running" else outcome.state
        log.info("trial %d %s%s%s", trial.number, state, f": {what}" if what else "", at_best)


class _Pulse:
    """Calls something now and then."""

    def __init__(self, call: Callable[[], None]) -> None:
        self._call = call
        self._last = time.monotonic()

    def __call__(self) -> None:
        if time.monotonic() - self._last > owner.PULSE:
            self._last = time.monotonic()
            self._call()


def _state(run: Path) -> dict[str, Any]:
    """What state.yaml of a run says; empty where there is none."""
    try:
        content = yaml.safe_load((run / "state.yaml").read_text())
    except (OSError, yaml.YAMLError):
        return {}
    return content if isinstance(content, dict) else {}


def _reason(trial: Trial, code: int) -> str:
    """Why a trial failed: what its state says, else its last words."""
    state = _state(trial.run)
    if state.get("state") == "failed" and state.get("reason"):
        return str(state["reason"])[:LONGEST]
    if code < 0:
        return f"ended by {signal.Signals(-code).name}"
    try:
        words = process.log_file(trial).read_text(errors="replace")
    except OSError:
        words = ""
    said = words.rpartition("salt: error: ")[2] if "salt: error: " in words else words.strip().rpartition("\n")[2]
    return f"{' '.join(said.partition('(SALT_DEBUG')[0].split())[:LONGEST]} (exit code {code})".strip()


def _shown(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
