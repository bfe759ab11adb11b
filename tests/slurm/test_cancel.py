"""Jobs that are cancelled: they save, and leave nothing else behind."""

import shutil

import pytest

from tests.conftest import SAMPLE

DICTS = {"norm_dict": "norm_dict.yaml", "class_dict": "class_dict.yaml"}
FILES = {"train_file": "sample.h5", "val_file": "sample.h5", **DICTS}
"""Not those of the package, which are read into memory."""


@pytest.mark.timeout(300)
def test_a_job_that_is_cancelled_saves_and_leaves_nothing(training, cluster):
    options = tuple(f"--data.{key}={name}" for key, name in FILES.items())
    run = training(stage="$SALT_TEST_SCRATCH/copies", restarts=5, options=options)
    for name in set(FILES.values()):
        shutil.copy(SAMPLE.with_name(name), run.folder)
    scratch = run.folder / "scratch"
    run.submit(pause="13:train", environment={"SALT_TEST_SCRATCH": str(scratch)})
    run.until_paused()
    assert any(path.is_file() for path in scratch.rglob("*"))
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
