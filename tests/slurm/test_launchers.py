"""Ranks that srun has started: what one rank would do, and an answer where the numbers do not fit."""

import csv
import sys

import h5py
import pytest
import torch

pytestmark = pytest.mark.timeout(600)

SALT = f"{sys.executable} -m salt"

OPTIONS = (
    "--config=configs/gnn.yaml", "--trainer.max_epochs=1", "--trainer.log_every_n_steps=1",
    "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false",
)  # fmt: skip


def rows(run):
    with (run / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.fixture
def job(cluster, tmp_path):
    """Run a script as a job of two tasks, to its end; what it said."""

    def run(*lines, state="COMPLETED", tasks="--ntasks-per-node=2"):
        script = tmp_path / "job.sh"
        script.write_text("\n".join(["#!/bin/bash", "export OMP_NUM_THREADS=1", *lines, ""]))
        number = cluster.submit(tasks, str(script), cwd=tmp_path)
        cluster.wait(number, state, timeout=300)
        return cluster.said(number)

    return run


@pytest.mark.parametrize("tasks", ["--ntasks-per-node=2", "--ntasks=2"])
def test_two_tasks_log_the_losses_of_one_rank_and_build_one_store(job, salt, dataset, tmp_path, tasks):
    file = dataset()
    files = [f"--data.{name}={file}" for name in ("train_file", "val_file")]
    ranks = "--trainer.devices=2 --trainer.accelerator=cpu"
    said = job(f"srun {SALT} fit {' '.join([*OPTIONS, *files])} --data.batch_size=100 -ls two {ranks}", tasks=tasks)
    assert said.count("building a store") == 1
    assert "Starting with 2 processes" in said
    assert salt("fit", *OPTIONS, *files, "--data.batch_size=200", "-ls", "one").code == 0
    both = [rows(tmp_path / "logs" / f"GNN_{name}") for name in ("one", "two")]
    losses = [name for name in both[0][0] if "loss" in name]
    assert len(losses) > 8
    for name in losses:
        values = [[float(row[name]) for row in run if row[name]] for run in both]
        assert values[0] == pytest.approx(values[1], abs=1e-5), name


def test_a_test_by_srun_writes_the_file_of_one_rank(job, salt, own_run):
    options = ["--data.num_test=1130", "--data.batch_size=300", "--trainer.enable_progress_bar=false"]
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # as each task has
    assert salt("test", own_run, *options, "--data.test_suff=one").code == 0
    torch.set_num_threads(before)
    job(f"srun {SALT} test {own_run} {' '.join(options)} --data.test_suff=two")
    one, two = sorted((own_run / "ckpts").glob("*__test_*.h5"))
    with h5py.File(one) as first, h5py.File(two) as second:
        assert list(first) == list(second)
        assert all(first[name][:].tobytes() == second[name][:].tobytes() for name in first)


def test_devices_that_are_not_the_tasks_are_answered_by_all(job):
    said = job(f"srun {SALT} fit --config=simple.yaml --trainer.devices=3 --trainer.accelerator=cpu", state="FAILED")
    assert said.count("salt: error: trainer.devices is 3 and trainer.num_nodes 1, but srun has started 2 process") == 2
    assert "Traceback" not in said


def test_a_script_that_forgot_srun_starts_its_ranks_itself(job):
    said = job(f"{SALT} fit {' '.join(OPTIONS)} --trainer.devices=2 --trainer.accelerator=cpu")
    assert "this job has 2 tasks, but srun has not started them: srun salt fit" in said
    assert "Starting with 2 processes" in said
