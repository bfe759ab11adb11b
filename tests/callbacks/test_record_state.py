import signal

import lightning
import pytest

from salt.callbacks import state
from salt.callbacks.processes import Process
from salt.callbacks.run_text import read_yaml, write_yaml
from salt.data.death import TO_BE_CONTINUED
from salt.training.company import COMPANY, KILLED, Loss
from salt.training.signals import Stop


def test_a_run_that_begins_is_running_by_this_process(tmp_path):
    state.begin(tmp_path, epochs=7)
    said = read_yaml(tmp_path / state.NAME)
    assert Process.of(said) == Process.this()
    assert (said["state"], said["epoch"], said["epochs"], said["ended"], said["reason"]) == (
        "running",
        0,
        7,
        None,
        None,
    )


def test_a_resumed_run_keeps_when_it_began_and_what_was_best(tmp_path):
    state.begin(tmp_path)
    state.update(tmp_path, started="long ago", best={"name": "val/loss", "value": 1.0}, state="interrupted")
    state.begin(tmp_path)
    said = read_yaml(tmp_path / state.NAME)
    assert (said["state"], said["started"], said["best"]["value"]) == ("running", "long ago", 1.0)


def test_the_state_of_another_process_is_left_alone(tmp_path):
    state.begin(tmp_path)
    said = read_yaml(tmp_path / state.NAME)
    write_yaml(tmp_path / state.NAME, {**said, "pid": 1})
    state.update(tmp_path, state="finished")
    assert read_yaml(tmp_path / state.NAME)["state"] == "running"


def test_a_folder_without_state_gets_none(tmp_path):
    state.update(tmp_path, state="finished")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("exception", "said"),
    [
        (KeyboardInterrupt(), ("interrupted", "SIGINT")),
        (SystemExit(128 + signal.SIGTERM), ("interrupted", "SIGTERM (exit code 143)")),
        (SystemExit(0), ("interrupted", "0")),
        (ValueError("two\n  lines"), ("failed", "ValueError: two lines")),
    ],
)
def test_how_a_run_ended_is_said_in_a_line(exception, said):
    assert state.ended_by(exception) == said


def test_long_reasons_are_cut():
    assert len(state.ended_by(ValueError("x" * 9999))[1]) == state.LONGEST


@pytest.mark.parametrize(
    ("loss", "exception", "expected"),
    [
        (None, Stop(signal.SIGTERM), "interrupted"),
        (Loss(1, TO_BE_CONTINUED), Stop(signal.SIGUSR1), "interrupted"),  # both were told to
        (Loss(1, KILLED), Stop(signal.SIGTERM), "failed"),  # srun tells the other one
        (Loss(1, KILLED), RuntimeError("connection closed"), "failed"),
    ],
)
def test_a_rank_that_is_lost_fails_a_run_and_one_that_stops_with_the_others_does_not(
    loss, exception, expected, tmp_path, monkeypatch
):
    monkeypatch.setattr(COMPANY, "loss", loss)
    state.begin(tmp_path)
    trainer = lightning.Trainer(default_root_dir=tmp_path, logger=False, enable_progress_bar=False, accelerator="cpu")
    state.RunState().on_exception(trainer, lightning.LightningModule(), exception)
    assert read_yaml(tmp_path / state.NAME)["state"] == expected
