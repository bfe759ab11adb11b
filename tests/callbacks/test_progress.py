"""Lines in the log of a job, and a bar where somebody may watch."""

import re

import pytest

from salt.callbacks.progress import is_log

TINY = (
    "--config",
    "configs/simple.yaml",
    "--trainer.max_epochs=2",
    "--trainer.limit_train_batches=3",
    "--trainer.log_every_n_steps=1",
)


def test_the_log_of_a_job_has_lines_and_no_bar(salt, monkeypatch):
    monkeypatch.setenv("SALT_JOB_ID", "slurm-1")
    answer = salt("fit", *TINY)
    assert answer.code == 0, answer.err
    assert "\r" not in answer.out
    lines = re.findall(r"Epoch (\d): (\w+).*?(train/loss [\d.]+, val/loss [\d.]+)?$", answer.err, re.M)
    assert [line[:2] for line in lines] == [("0", "begins"), ("0", "done"), ("1", "begins"), ("1", "done")]
    assert [bool(line[2]) for line in lines] == [False, True, False, True]


def test_elsewhere_there_is_a_bar_and_no_line(salt, monkeypatch):
    for name in ("SALT_JOB_ID", "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)
    answer = salt("fit", *TINY)
    assert "Epoch 1: 100%" in answer.out + answer.err
    assert "begins" not in answer.err


def test_a_bar_that_is_switched_off_is_not_replaced(salt, monkeypatch):
    monkeypatch.setenv("SALT_JOB_ID", "slurm-1")
    answer = salt("fit", *TINY, "--trainer.enable_progress_bar=false")
    assert answer.code == 0, answer.err
    assert "Epoch 0" not in answer.out + answer.err


@pytest.mark.parametrize("environment", [{}, {"SALT_JOB_ID": ""}, {"SLURM_CONF": "x"}])
def test_without_a_job_there_is_no_log_of_one(environment):
    assert not is_log(environment)
