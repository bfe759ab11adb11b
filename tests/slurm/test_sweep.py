"""Sweeps whose workers are the tasks of an array: they share one study, through its folder alone."""

import sys
import time
from pathlib import Path

import pytest
import yaml

from salt.sweeps.folder import members

SPACE = {"model.lrs_config.max": {"low": 1e-4, "high": 1e-2, "log": True}}
TINY = ["--config=simple.yaml", "--trainer.max_epochs=1", "--trainer.limit_train_batches=2"]
LONG = ["--config=simple.yaml", "--trainer.max_epochs=60", "--data.batch_size=500"]


@pytest.fixture
def submitted(cluster, tmp_path):
    """Submit an array that works on a sweep of so many trials; gives the job and where the sweep will be."""

    def submit(tasks, trials, fit):
        (tmp_path / "space.yaml").write_text(
            yaml.safe_dump({"parameters": SPACE, "method": "random", "trials": trials})
        )
        salt = [
            Path(sys.executable).with_name("salt"),
            "submit",
            "slurm",
            f"--array={tasks}",
            "--memory=4G",
            "--time=20",
        ]
        said = cluster.run(*salt, "sweep", "space.yaml", *fit, cwd=tmp_path)
        job = next(word for word in reversed(said.stdout.split()) if word.isdigit())
        return job, tmp_path / "logs" / f"simple_sweep_slurm-{job}"

    return submit


def wait_for(file, text, seconds=240):
    deadline = time.monotonic() + seconds
    while not file.is_file() or text not in file.read_text(errors="replace"):
        assert time.monotonic() < deadline, f"no {text!r} in {file}"
        time.sleep(0.1)


@pytest.mark.timeout(900)
def test_the_tasks_of_an_array_share_one_study(cluster, submitted):
    job, folder = submitted(4, 5, TINY)
    cluster.wait(job, timeout=800)
    found = members(folder)
    assert [member.state for member in found] == ["complete"] * 5, cluster.said(job)
    assert len({member.parameters["model.lrs_config.max"] for member in found}) == 5
    assert [path.name for path in folder.parent.glob("*sweep*")] == [folder.name]
    jobs = [yaml.safe_load((member.run / "metadata.yaml").read_text())["slurm_job_id"] for member in found]
    assert len(set(jobs)) >= 3, jobs  # none of them has done it alone


@pytest.mark.timeout(900)
def test_a_task_that_is_requeued_goes_on_with_its_own_trial(cluster, submitted):
    job, folder = submitted(2, 2, LONG)
    for number in range(2):
        wait_for(folder / f"trials/simple_{number:04d}.log", "Epoch 3")
    cluster.cancel(f"{job}_1", "--signal=USR1")
    cluster.wait(f"{job}_1", restarts=1, timeout=800)
    cluster.wait(job, timeout=800)
    found = members(folder)
    assert [member.state for member in found] == ["complete"] * 2, cluster.said(job)
    records = [yaml.safe_load((member.run / "metadata.yaml").read_text()) for member in found]
    assert sorted(len(record.get("resumed") or []) for record in records) == [0, 1]
