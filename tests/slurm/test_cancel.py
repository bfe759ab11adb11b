"""Jobs that are cancelled: they save, and leave nothing else behind."""

import pytest


@pytest.mark.timeout(300)
def test_a_job_that_is_cancelled_saves_and_leaves_nothing(training, cluster):
    run = training(stage="$SALT_TEST_SCRATCH/copies", restarts=5)
    scratch = run.folder / "scratch"
    run.submit(pause="13:train", environment={"SALT_TEST_SCRATCH": str(scratch)})
    run.until_paused()
    assert list(scratch.rglob("*.h5")) != []
    cluster.cancel(run.job)
    shown = cluster.wait(run.job, "CANCELLED")
    cluster.until_gone(run.job)
    assert (run.run / "ckpts" / "last.ckpt").is_file()
    assert "stopped after step 13, all is saved" in run.said
    assert run.left() == []
    assert [path for path in scratch.rglob("*") if path.is_file()] == []
    assert shown["Restarts"] == "0"
    assert "goes back into the queue" not in run.said


@pytest.mark.timeout(300)
def test_a_job_that_is_cancelled_before_it_trains_leaves_nothing(training, cluster):
    run = training(restarts=5)
    run.submit()
    cluster.wait(run.job, "RUNNING")
    cluster.cancel(run.job)
    cluster.wait(run.job, "CANCELLED")
    cluster.until_gone(run.job)
    assert run.left() == []
    assert "goes back into the queue" not in run.said
