"""Run directories: what is read of them, and what is said where something is missing."""

import os
import re

import numpy as np
import pytest

from salt.report.run import InputError, read_record, read_run


def test_settings_are_found_by_dotted_keys(toy_run):
    run = read_run(toy_run)
    assert run.name == "toy"
    assert run.setting("trainer.max_epochs") == 4
    assert run.setting("trainer.max_epochs.deeper") is None
    assert run.setting("data.not_there") is None


def test_a_missing_run_names_the_nearest(toy_run):
    with pytest.raises(InputError, match=rf"no run directory .*toy_2026; nearest runs.*{toy_run.name}"):
        read_run(toy_run.with_name("toy_2026"))


def test_a_missing_run_among_no_runs_says_so(tmp_path):
    with pytest.raises(InputError, match="holds no run directory"):
        read_run(tmp_path / "deep" / "run")


def test_a_directory_without_config_says_what_it_has(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(InputError, match=r"no config.yaml, but notes.txt"):
        read_run(tmp_path)


@pytest.mark.parametrize(("text", "message"), [("a: [1", "is not YAML"), ("- 1", "holds no mapping")])
def test_a_broken_config_is_named(tmp_path, text, message):
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(InputError, match=message):
        read_run(tmp_path)


def test_an_untested_run_is_told_to_be_tested(tmp_path):
    (tmp_path / "config.yaml").write_text("name: toy")
    with pytest.raises(InputError, match=re.escape(f"run `salt test {tmp_path}` first")):
        read_run(tmp_path).evaluation_file()


def test_the_newest_evaluation_file_is_taken(tmp_path):
    (tmp_path / "config.yaml").write_text("name: toy")
    (tmp_path / "ckpts").mkdir()
    for age, name in ((30, "b__test_x.h5"), (10, "a__test_x.h5"), (0, "a.ckpt")):
        file = tmp_path / "ckpts" / name
        file.touch()
        os.utime(file, (1e9 - age, 1e9 - age))
    assert read_run(tmp_path).evaluation_file().name == "a__test_x.h5"


@pytest.mark.parametrize("text", ["train.h5", "tr*.h5", "{there}/train.h5", "{there}/t*.h5", "[train.h5, other.h5]"])
def test_a_file_of_the_config_is_found_from_the_run_upwards(tmp_path, text):
    run = tmp_path / "logs" / "run"
    run.mkdir(parents=True)
    (tmp_path / "train.h5").touch()
    (run / "config.yaml").write_text(f"data: {{train_file: {text.format(there=tmp_path)}}}")
    assert read_run(run).file_of("data.train_file", "--train-file").resolve() == tmp_path / "train.h5"


@pytest.mark.parametrize("text", ["gone.h5", "''"])
def test_a_file_that_is_not_there_names_the_option(tmp_path, text):
    (tmp_path / "config.yaml").write_text(f"data: {{train_file: {text}}}")
    with pytest.raises(InputError, match="--train-file FILE"):
        read_run(tmp_path).file_of("data.train_file", "--train-file")


def test_steps_become_epochs_and_holes_are_skipped(tmp_path):
    file = tmp_path / "metrics.csv"
    file.write_text("epoch,step,train/loss,val/loss\n0,4,2.0,\n0,9,nan,\n0,9,,1.5\n1,14,1.0,\n1,19,,1.25\n")
    record = read_record(file)
    assert set(record) == {"train/loss", "val/loss"}
    assert np.array_equal(record["train/loss"], [[0.5, 1.5], [2.0, 1.0]])
    assert np.array_equal(record["val/loss"], [[1.0, 2.0], [1.5, 1.25]])


def test_a_run_without_record_has_none(tmp_path):
    (tmp_path / "config.yaml").write_text("name: toy")
    assert read_run(tmp_path).record == {}
