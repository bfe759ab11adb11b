"""Runs that are told to end, or killed, at some moment: no process, no copy and no unfinished store is left.

SALT_KILLS says how often for each signal and number of workers; the runs take turns in what they do and when it ends.
"""

import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc and /dev/shm")]

KILLS = int(os.environ.get("SALT_KILLS", "2"))


class Moment(NamedTuple):
    """What a run says when it is near, and for how long [s] it lasts, about."""

    words: str
    seconds: float


MOMENTS = {
    "starting": Moment("", 4),
    "building": Moment("building a store", 0.8),
    "copying": Moment("salt: copying", 0.06),
    "training": Moment("Epoch 0: ", 3),
    "validation": Moment("Validation DataLoader 0: ", 0.5),
}

PLANS = {
    "plain": ([], ["building", "training", "validation"]),
    "staged": (["--data.move_files_temp={fast}"], ["copying", "training", "building", "validation"]),
    "stored": (["--data.store_dir={stores}"], ["building", "training"]),
    "files": (["--data.store=false", "--data.move_files_temp={fast}"], ["copying", "training", "validation"]),
    "both": (["--data.move_files_temp={fast}", "--data.store_dir={stores}"], ["starting", "copying"]),
}
"""What a run does -> its options, and when it is ended."""

CASES = [(plan, moment) for plan, (_, moments) in PLANS.items() for moment in moments]

EXITS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -signal.SIGKILL}

EACH = [(number, workers) for number in EXITS for workers in (0, 2)]

KILLINGS = [
    pytest.param(number, workers, *CASES[(KILLS * i + k) % len(CASES)], k, id=f"{number.name}-{workers}-workers-{k}")
    for i, (number, workers) in enumerate(EACH)
    for k in range(KILLS)
]


@pytest.fixture
def fast():
    """A folder in memory that is not there yet, in another one that is not there."""
    top = Path("/dev/shm") / f"salt-kill-{os.getpid()}-{random.randrange(10**9)}"
    yield top / "copies"
    shutil.rmtree(top, ignore_errors=True)


def left(folder, fast):
    """What must not be left: anything in the fast folder, unfinished stores, locks."""
    unfinished = [path for path in folder.rglob("*") if path.suffix in {".tmp", ".lock", ".claim"}]
    return [*([fast.parent] if fast.parent.exists() else []), *fast.parent.rglob("*"), *unfinished]


@pytest.mark.parametrize(("number", "workers", "plan", "moment", "kill"), KILLINGS)
def test_nothing_is_left_of_a_run_that_is_ended(fit, tmp_path, fast, number, workers, plan, moment, kill):
    dice = random.Random(f"{number} {workers} {plan} {moment} {kill}")
    options = [option.format(fast=fast, stores=tmp_path / "stores") for option in PLANS[plan][0]]
    options.append(f"--data.num_workers={workers}")
    run = fit(*options, "--trainer.max_epochs=1000")
    run.wait_for(MOMENTS[moment].words)
    time.sleep(dice.uniform(0, MOMENTS[moment].seconds))
    processes = run.processes()

    whole_group = number == signal.SIGINT or dice.random() < 0.5  # a terminal interrupts all; batch systems do both
    os.killpg(run.process.pid, number) if whole_group and number != signal.SIGKILL else run.process.send_signal(number)
    code = run.process.wait(60)

    assert run.ends(2), f"{moment}: {run.said}"
    assert code == EXITS[number] or (moment == "starting" and code == -number), f"{code} {moment}: {run.said}"
    assert [path for path in Path("/dev/shm").iterdir() if any(f"_{id}_" in path.name for id in processes)] == []
    if number == signal.SIGKILL:
        following = fit(*options, "--trainer.fast_dev_run=1")
        assert following.process.wait(120) == 0, following.said
    assert left(tmp_path, fast) == [], f"{moment}: {run.said}"


def test_every_plan_says_what_its_moments_wait_for(fit, tmp_path, fast):
    options = [option.format(fast=fast, stores=tmp_path / "stores") for option in PLANS["both"][0]]
    run = fit(*options, "--trainer.max_epochs=1")
    assert run.process.wait(120) == 0, run.said
    assert all(moment.words in run.said for moment in MOMENTS.values()), run.said
    assert left(tmp_path, fast) == []
