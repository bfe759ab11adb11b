"""Jobs that are told to stop go on where they were, in the run that they began: as if nobody had said anything."""

import os
import random

import pytest

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


@pytest.mark.timeout(600)
def test_a_job_whose_script_alone_is_warned_tells_its_step(training, undisturbed):
    run = training()
    run.submit(pause="7:train")
    run.until_paused()
    run.cluster.cancel(run.job, "--batch", "--signal=USR1")
    check_went_on(run, undisturbed())


@pytest.mark.timeout(600)
def test_a_job_that_the_scheduler_puts_back_saves_in_time(training, undisturbed):
    run = training()
    run.submit(pause="16:train")
    run.until_paused()
    run.cluster.run("scontrol", "requeue", run.job)
    check_went_on(run, undisturbed())
    assert "step 16, all is saved" in run.said
