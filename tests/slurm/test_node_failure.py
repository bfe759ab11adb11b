"""Jobs of which a process is killed, as by a node that fails: they are begun again, and go on."""

import os
import signal
import time

import pytest

from tests.slurm.training import check_same


@pytest.mark.timeout(600)
def test_a_job_of_which_a_rank_is_killed_is_begun_again_and_comes_to_the_same_end(training, undisturbed, cluster):
    run = training(tasks=2)
    run.submit(pause="13:train")
    before = run.until_paused()
    began = time.monotonic()
    os.kill(before[-1], signal.SIGKILL)
    while alive := [process for process in before if process in cluster.processes()]:
        assert time.monotonic() < began + 30, alive
        time.sleep(0.1)
    shown = cluster.wait(run.job, timeout=240, restarts=1)
    assert shown["Restarts"] == "1"
    assert "goes back into the queue: a process of it was killed" in run.said
    check_same(run, undisturbed(2))
    assert run.left() == []


@pytest.mark.timeout(300)
def test_a_job_that_is_killed_too_often_fails(training, cluster):
    run = training(restarts=0)
    run.submit(pause="3:train")
    (process,) = run.until_paused()
    os.kill(process, signal.SIGKILL)
    shown = cluster.wait(run.job, "FAILED")
    assert shown["ExitCode"] == "137:0"
    assert f"a process of job {run.job} was killed" in run.said


@pytest.mark.timeout(300)
def test_a_job_that_asks_for_something_wrong_fails_once(training, cluster):
    run = training(tasks=2, options=("--data.batch_size=none",), restarts=5)
    run.submit()
    shown = cluster.wait(run.job, "FAILED", timeout=180)
    assert (shown["ExitCode"], shown["Restarts"]) == ("2:0", "0")
    assert "batch_size" in run.said
