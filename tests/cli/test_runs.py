from pathlib import Path

import pytest

from salt.cli.runs import with_run


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


def test_a_directory_that_is_no_run_is_answered_with_those_there_are(run):
    with pytest.raises(FileNotFoundError, match=r"no run logs/GNN_2 .*there are: logs/GNN_1"):
        with_run(["test", "logs/GNN_2"])
