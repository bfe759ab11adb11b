import os
from pathlib import Path

import pytest

from salt.cli.runs import best_checkpoint, with_run


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = Path("logs/GNN_1")
    (folder / "ckpts").mkdir(parents=True)
    (folder / "config.yaml").touch()
    return folder


def test_a_run_stands_for_its_config(run):
    assert with_run(["test", "logs/GNN_1"]) == ["test", "--config", "logs/GNN_1/config.yaml"]


def test_a_file_after_it_is_the_test_file_and_options_stay(run):
    arguments = with_run(["test", "logs/GNN_1", "a.h5", "--data.num_test", "5"])
    assert arguments == [
        "test", "--config", "logs/GNN_1/config.yaml", "--data.test_file=a.h5", "--data.num_test", "5"
    ]  # fmt: skip


def test_a_config_file_is_a_run_too(run):
    assert with_run(["test", "logs/GNN_1/config.yaml"])[2] == "logs/GNN_1/config.yaml"


def test_options_alone_stay_as_they_are(run):
    assert with_run(["test", "--config", "x.yaml"]) == ["test", "--config", "x.yaml"]


@pytest.mark.parametrize(
    ("names", "best"),
    [
        (["epoch=000-val_loss=0.70000", "epoch=001-val_loss=0.65000", "epoch=002-val_loss=0.66000"], 1),
        (["epoch=000-val_loss=0.70000", "epoch=001-val_loss=0.70000"], 1),
        (["epoch=000-val_loss=-1.50000", "epoch=001-val_loss=0.10000"], 0),
        (["epoch=000-val_loss=9.00000", "epoch=001-val_loss=10.00000"], 0),
        (["epoch=000-val_loss=nan", "epoch=001-val_loss=0.70000", "last"], 1),
    ],
)
def test_the_best_checkpoint_has_the_lowest_loss_and_the_later_one_wins(run, names, best):
    for name in names:
        (run / "ckpts" / f"{name}.ckpt").touch()
    assert best_checkpoint(run).stem == names[best]


def test_the_newest_is_taken_where_none_has_a_loss(run):
    for seconds, name in enumerate(("epoch=001-step=9.ckpt", "epoch=000-step=3.ckpt")):
        (run / "ckpts" / name).touch()
        os.utime(run / "ckpts" / name, (seconds, seconds))
    assert best_checkpoint(run).name == "epoch=000-step=3.ckpt"


def test_a_run_without_checkpoints_is_refused(run):
    with pytest.raises(FileNotFoundError, match="give --ckpt_path FILE"):
        best_checkpoint(run)
