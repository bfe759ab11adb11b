"""A training on two ranks, by either launcher: what one rank would do, each on jets of its own."""

import csv

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1000)]

LAUNCHERS = ("lightning", "torchrun")

SHORT = ("--trainer.max_epochs=2", "--trainer.log_every_n_steps=1", "--trainer.enable_model_summary=false")


def rows(run):
    """What was logged, but for what is measured by the clock."""
    with (run / "metrics.csv").open() as file:
        return [{key: value for key, value in row.items() if key != "data_wait"} for row in csv.DictReader(file)]


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_two_ranks_log_the_losses_of_one_and_share_its_jets(start, salt, tmp_path, launcher):
    options = ("--config=configs/gnn.yaml", *SHORT, "--trainer.precision=64-true")
    assert salt("fit", *options, "--data.batch_size=200", "-ls", "one").code == 0
    seen = "--trainer.callbacks+={class_path: seen.Seen}"
    two = start(launcher, "fit", *options, "--data.batch_size=100", "-ls", "two", seen)
    assert two.code() == 0, two.said
    both = [rows(tmp_path / "logs" / f"GNN_{name}") for name in ("one", "two")]
    losses = [name for name in both[0][0] if "loss" in name]
    assert len(losses) > 8
    for name in losses:
        values = [[float(row[name]) for row in run if row[name]] for run in both]
        assert values[0] == pytest.approx(values[1], abs=1e-12), name
    for epoch in range(2):
        jets = [(tmp_path / f"seen-{epoch}-{rank}").read_text().split() for rank in range(2)]
        assert len(jets[0]) == len(jets[1]) == 1000
        assert sorted(map(int, jets[0] + jets[1])) == list(range(2000))


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_the_ranks_of_a_machine_build_one_store_and_copy_it_once(start, dataset, tmp_path, launcher):
    file = dataset()
    files = [f"--data.{name}={file}" for name in ("train_file", "val_file")]
    fast = tmp_path / "fast"
    run = start(launcher, "fit", "--config=simple.yaml", *files, *SHORT, f"--data.move_files_temp={fast}")
    assert run.code() == 0, run.said
    assert run.said.count("building a store") == 1
    assert run.said.count("salt: copying") == 1
    assert not fast.exists()


WRAPPER = """
import os
import runpy
import sys

sys.argv.append("--data.store_dir=node-" + os.environ["LOCAL_RANK"])
runpy.run_module("salt", run_name="__main__")
"""


def test_where_the_place_is_of_one_machine_each_builds_a_store(start, dataset, tmp_path):
    (tmp_path / "wrapped.py").write_text(WRAPPER)
    file = dataset()
    files = [f"--data.{name}={file}" for name in ("train_file", "val_file")]
    run = start("nodes", "fit", "--config=simple.yaml", *files, *SHORT)
    assert run.code() == 0, run.said
    assert run.said.count("building a store") == 2
    assert len(list(tmp_path.glob("node-*/*/manifest.json"))) == 2


def test_ranks_take_their_number_from_torchrun_where_it_is_left_open(start):
    run = start(
        "torchrun", "fit", "--config=simple.yaml", *SHORT, "--trainer.fast_dev_run=1", "--trainer.devices=auto", ranks=0
    )
    assert run.code() == 0, run.said
    assert "filled trainer.devices = 2 from torchrun" in run.said
    assert "Starting with 2 processes" in run.said


def test_a_number_that_is_not_torchruns_is_answered_at_once(start):
    run = start("torchrun", "fit", "--config=simple.yaml", ranks=3)
    assert run.code() == 1, run.said
    assert run.ends(5)
    assert run.said.count("salt: error: trainer.devices is 3 and trainer.num_nodes 1, but torchrun has started 2") == 2
    assert "salt/cli" not in run.said  # the traceback there is torchrun's own


def test_the_first_rank_alone_speaks(start):
    run = start("torchrun", "fit", "--config=simple.yaml", *SHORT, "--trainer.fast_dev_run=1")
    assert run.code() == 0, run.said
    said = [line for line in run.said.splitlines() if line.startswith("salt: ")]
    assert len(said) > 3
    assert len(set(said)) == len(said)
