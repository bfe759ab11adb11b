"""Jobs that are told to stop go on where they were, in the run that they began: as if nobody had said anything."""

import os
import random
import shlex
import time

import pytest

from salt.clusters.script import step
from tests.slurm.training import STEPS, check_same

REQUEUES = int(os.environ.get("SALT_REQUEUES", "1"))

DICE = random.Random(5)

MOMENTS = [f"{DICE.randrange(2, STEPS)}:train" if n % 3 else f"{DICE.choice((10, 20))}:val" for n in range(8)]
"""Steps after which a job is disturbed: in the middle of epochs, and in validations."""


def check_went_on(run, other):
    shown = run.cluster.wait(run.job, timeout=180, restarts=1)
    assert shown["Restarts"] == "1"
    check_same(run, other)
    assert run.left() == []
    assert "auto-requeueing" not in run.said  # Lightning's own
    assert run.cluster.processes(run.job) == []


@pytest.mark.timeout(600)
@pytest.mark.parametrize("moment", MOMENTS[:REQUEUES])
def test_a_job_that_is_warned_saves_goes_back_into_the_queue_and_comes_to_the_same_end(training, undisturbed, moment):
    run = training()
    run.submit(pause=moment)
    run.until_paused()
    run.cluster.cancel(run.job, "--signal=USR1")
    check_went_on(run, undisturbed())
    assert "goes back into the queue: it was told to save and stop" in run.said


SAVES = """
import os, signal, time
signal.signal(signal.SIGUSR1, lambda *_: os._exit(75))
print('up', flush=True)
time.sleep(60)
"""


def test_a_job_whose_script_alone_is_warned_tells_its_step(cluster, tmp_path):
    again = '[ -z "$SLURM_RESTART_COUNT" ] || exit 0'
    command = shlex.join(["run_as_step", "0", "--", "python3", "-c", SAVES])
    (tmp_path / "job.sh").write_text(f"#!/bin/bash\n{again}\n{step()}\n{command}\n")
    job = cluster.submit("--open-mode=append", "job.sh", cwd=tmp_path)
    deadline = time.monotonic() + 60
    while "up" not in cluster.said(job):
        assert time.monotonic() < deadline, cluster.said(job)
        time.sleep(0.1)
    cluster.cancel(job, "--batch", "--signal=USR1")
    cluster.wait(job, restarts=1)
    assert "goes back into the queue: it was told to save and stop" in cluster.said(job)
