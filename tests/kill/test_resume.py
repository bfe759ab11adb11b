"""Runs that are ended at random moments, again and again, each time resumed: they come to the same end.

SALT_KILLS says how often for each signal and number of workers.
"""

import csv
import os
import random
import shutil
import signal
import sys
import time
import zipfile
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")]

KILLS = int(os.environ.get("SALT_KILLS", "2"))

EXITS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -signal.SIGKILL}

OPTIONS = ["-ls=a", "--trainer.max_epochs=4", "--trainer.log_every_n_steps=1", "--data.num_val=5000"]

CLOCK = {"data_wait"}
"""What is measured by the clock."""

PACE = 12
"""Seconds within which a run of four epochs is well under way."""


def curve(folder):
    """Rows of metrics.csv: (step, column) -> value, for what is not measured by the clock."""
    with (folder / "logs" / "simple_a" / "metrics.csv").open() as file:
        rows = [(int(row.pop("step")), row) for row in csv.DictReader(file)]
    return sorted(
        (step, name, value) for step, row in rows for name, value in row.items() if value and name not in CLOCK
    )


def left(folder):
    """What must not be left."""
    unfinished = [path for path in folder.rglob("*") if path.suffix in {".tmp", ".lock", ".claim", ".part"}]
    return [path for path in unfinished if path.is_file()]


def undamaged(path):
    with zipfile.ZipFile(path) as archive:
        return archive.testzip() is None


@pytest.fixture
def straight(fit, tmp_path):
    """The curve of a run that nobody disturbs, and the names of its checkpoints."""

    def run(*options):
        whole = fit(*OPTIONS, *options)
        assert whole.process.wait(180) == 0, whole.said
        found = curve(tmp_path), sorted(path.name for path in tmp_path.rglob("*.ckpt"))
        (tmp_path / "logs").rename(tmp_path / "undisturbed")
        return found

    return run


def begun_or_resumed(fit, folder, options):
    """Start the run, or go on with it where it has got as far as a config."""
    run = folder / "logs" / "simple_a"
    if (run / "config.yaml").is_file():
        return fit(f"--resume={run}", base=False)
    return fit(*OPTIONS, *options)


@pytest.fixture
def disturbed(fit, tmp_path):
    """Run to the end, ended by a signal at up to so many moments and resumed each time; says how many those were."""

    def run(number, dice, most, options):
        for ended in range(most + 1):
            process = begun_or_resumed(fit, tmp_path, options)
            if ended == most:
                break
            deadline = time.monotonic() + dice.uniform(2, PACE)
            while process.process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.01)
            if process.process.poll() is not None:
                break
            end(process, number, dice)
            if process.process.returncode == 0:  # the signal came when all was done
                break
            if number != signal.SIGKILL:
                assert left(tmp_path) == [], process.said
            assert all(undamaged(path) for path in (tmp_path / "logs").rglob("*.ckpt"))
        assert process.process.wait(180) == 0, process.said
        assert "`max_epochs=4` reached" in process.said
        return ended

    return run


def end(run, number, dice):
    """Send the signal, and see the whole run end with the code that belongs to it."""
    whole_group = number != signal.SIGKILL and dice.random() < 0.5
    os.killpg(run.process.pid, number) if whole_group else run.process.send_signal(number)
    code = run.process.wait(60)
    assert run.ends(2), run.said
    assert code in {EXITS[number], -number, 0}, f"{code}: {run.said}"  # -: before python was there


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("number", list(EXITS), ids=lambda number: number.name)
def test_a_run_that_is_ended_at_random_moments_comes_to_the_same_end(
    fit, straight, disturbed, tmp_path, number, workers
):
    options = [f"--data.num_workers={workers}"]
    expected = straight(*options)
    dice = random.Random(f"{number} {workers}")
    still = KILLS
    while still > 0:  # a run may have come to its end before it was ended so often
        still -= disturbed(number, dice, still, options)
        final = begun_or_resumed(fit, tmp_path, options)  # removes what the last SIGKILL may have left
        assert final.process.wait(60) == 0, final.said
        assert "is finished" in final.said
        assert (curve(tmp_path), sorted(path.name for path in (tmp_path / "logs").rglob("*.ckpt"))) == expected
        assert left(tmp_path) == []
        assert [path.name for path in Path(tmp_path / "logs").iterdir()] == ["simple_a"]
        shutil.rmtree(tmp_path / "logs")


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGUSR1, 75)])
@pytest.mark.parametrize("whole_group", [True, False])
def test_two_ranks_stop_together_and_are_resumed(fit, tmp_path, number, code, whole_group):
    run = fit(*OPTIONS, "--trainer.devices=2", "--trainer.strategy=ddp")
    run.wait_for("Epoch 1: ", 120)
    os.killpg(run.process.pid, number) if whole_group else run.process.send_signal(number)
    assert run.process.wait(60) == code, run.said
    assert run.ends(10), run.said
    assert left(tmp_path) == []
    following = begun_or_resumed(fit, tmp_path, [])
    assert following.process.wait(180) == 0, following.said
    assert len(list((tmp_path / "logs" / "simple_a" / "ckpts").iterdir())) == 4
