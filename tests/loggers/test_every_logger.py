"""Each of Lightning's loggers that can run here, for real."""

import csv
import json
import socket
import time
from pathlib import Path

import pytest
import yaml
from lightning.pytorch.loggers import Logger

SHORT = (
    "--config=simple.yaml",
    "-ls=a",
    "--trainer.max_epochs=1",
    "--trainer.log_every_n_steps=1",
    "--data.num_train=300",
    "--data.num_val=300",
    "--data.batch_size=100",
)
RUN = Path("logs/simple_a")
LOGGED = {"train/loss", "val/loss", "lr-AdamW"}


@pytest.fixture
def fit(salt, overlay):
    """A short fit with this logger; what is said."""

    def run(logger, *options):
        answer = salt("fit", *SHORT, f"--config={overlay(trainer={'logger': logger})}", *options)
        assert answer.code == 0, answer.err
        return answer

    return run


def in_csv():
    with (RUN / "metrics.csv").open() as file:
        return set(next(csv.reader(file)))


def in_tensorboard(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return set(events.Tags()["scalars"])


def in_mlflow():
    return {str(path.relative_to(path.parents[1])) for path in RUN.glob("mlruns/*/*/metrics/*/*")} | {
        path.name for path in RUN.glob("mlruns/*/*/metrics/*")
    }


def saved_logger():
    return yaml.safe_load((RUN / "config.yaml").read_text())["trainer"]["logger"]


def made_outside():
    """What a run left beside logs/ and the test's own files."""
    return {path.name for path in Path().iterdir()} - {"logs", "over.yaml"}


@pytest.mark.parametrize(
    "name",
    [
        "CSVLogger", "lightning.pytorch.loggers.CSVLogger", "lightning.pytorch.loggers.csv_logs.CSVLogger",
        "pytorch_lightning.loggers.CSVLogger",
    ],
)  # fmt: skip
def test_csv_under_any_of_its_names(fit, name):
    fit({"class_path": name})
    assert in_csv() >= LOGGED
    assert saved_logger()["class_path"].endswith(".CSVLogger")
    assert made_outside() == set()


@pytest.mark.parametrize("name", ["TensorBoardLogger", "pytorch_lightning.loggers.TensorBoardLogger"])
def test_tensorboard_and_csv_besides(fit, needs, name):
    needs("tensorboard", "tensorboard")
    fit({"class_path": name})
    assert in_tensorboard(RUN) >= LOGGED
    assert in_csv() >= LOGGED
    assert made_outside() == set()


def test_tensorboard_by_name_on_the_command_line(salt, needs):
    needs("tensorboard", "tensorboard")
    answer = salt("fit", *SHORT, "--trainer.logger=TensorBoardLogger")
    assert answer.code == 0, answer.err
    assert in_tensorboard(RUN) >= LOGGED


def test_a_place_that_is_given_is_taken(fit, needs):
    needs("tensorboard", "tensorboard")
    fit({"class_path": "TensorBoardLogger", "init_args": {"save_dir": "mine", "name": "n", "version": "v"}})
    assert in_tensorboard("mine/n/v") >= LOGGED


def test_wandb_offline(fit, needs, monkeypatch):
    needs("wandb", "wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    fit({"class_path": "lightning.pytorch.loggers.WandbLogger"})
    __import__("wandb").finish()  # what the end of the process would do
    (file,) = RUN.glob("wandb/offline-run-*/run-*.wandb")
    deadline = time.monotonic() + 30  # a process of its own writes it
    while not (found := {name for name in LOGGED if name.encode() in file.read_bytes()}) >= LOGGED:
        assert time.monotonic() < deadline, found
        time.sleep(0.1)
    assert in_csv() >= LOGGED
    assert made_outside() <= {".config", ".cache", ".local"}  # wandb's own, in the home directory


def test_mlflow_in_the_run_directory(fit, needs):
    needs("mlflow", "mlflow-skinny")
    fit({"class_path": "lightning.pytorch.loggers.MLFlowLogger"})
    assert in_mlflow() >= LOGGED
    names = [yaml.safe_load(path.read_text()).get("name") for path in RUN.glob("mlruns/*/meta.yaml")]
    assert "simple" in names
    assert in_csv() >= LOGGED
    assert made_outside() == set()


def test_several_at_once(fit, needs):
    needs("tensorboard", "tensorboard")
    needs("comet_ml", "comet-ml")
    fit(
        [
            {"class_path": "TensorBoardLogger"},
            {"class_path": "lightning.pytorch.loggers.CometLogger", "init_args": {"online": False}},
        ]
    )
    assert in_tensorboard(RUN) >= LOGGED
    assert in_csv() >= LOGGED
    assert list(RUN.glob("*.zip"))
    assert [logger["init_args"].get("name") for logger in saved_logger()] == ["", "simple"]


def test_none_on_the_command_line(salt):
    answer = salt("fit", *SHORT, "--trainer.logger=false")
    assert answer.code == 0, answer.err
    assert "no logger: LearningRateMonitor left out" in answer.err
    assert not (RUN / "metrics.csv").exists()
    assert saved_logger() is False


@pytest.mark.parametrize("value", ["true", "null"])
def test_true_and_null_are_csv(salt, value):
    answer = salt("fit", *SHORT, f"--trainer.logger={value}")
    assert answer.code == 0, answer.err
    assert in_csv() >= LOGGED


def test_the_config_of_a_run_gives_its_loggers_places_in_the_new_run(fit, salt, needs):
    needs("tensorboard", "tensorboard")
    fit({"class_path": "TensorBoardLogger"})
    before = {path: path.stat().st_size for path in RUN.glob("events*")}
    answer = salt("fit", "--config", RUN / "config.yaml", "-ls=b")
    assert answer.code == 0, answer.err
    assert in_tensorboard("logs/simple_b") >= LOGGED
    assert {path: path.stat().st_size for path in RUN.glob("events*")} == before


def test_fast_dev_run_leaves_nothing(fit, needs):
    needs("tensorboard", "tensorboard")
    fit([{"class_path": "TensorBoardLogger"}, {"class_path": "CSVLogger"}], "--trainer.fast_dev_run=1")
    assert not Path("logs").exists()


def test_a_server_that_refuses_at_the_start_is_an_error(salt, overlay, needs):
    needs("mlflow", "mlflow-skinny")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    logger = {"class_path": "lightning.pytorch.loggers.MLFlowLogger", "init_args": {"tracking_uri": address}}
    answer = salt("fit", *SHORT, f"--config={overlay(trainer={'logger': logger})}")
    assert answer.code == 2
    assert "MLFlowLogger (trainer.logger) cannot begin" in answer.error
    assert "leave it out" in answer.error
    assert not Path("logs").exists()


class Dying(Logger):
    """A service that goes away after the first step."""

    calls = 0

    def __init__(self):
        super().__init__()

    @property
    def name(self):
        return "dying"

    @property
    def version(self):
        return "0"

    def log_hyperparams(self, params, *args, **kwargs):
        pass

    def log_metrics(self, metrics, step=None):
        Dying.calls += 1
        if Dying.calls > 1:
            raise ConnectionError("gone")

    def finalize(self, status):
        raise ConnectionError("gone")


def test_one_that_dies_in_the_middle_is_one_warning(monkeypatch, caplog):
    from salt.loggers.guard import build

    monkeypatch.setattr(Dying, "calls", 0)
    logger = build(Dying)
    for step in range(5):
        logger.log_metrics({"a": 1.0}, step=step)
    logger.finalize("success")
    assert isinstance(logger, Dying)
    assert Dying.calls == 2  # it is left in peace for a while
    assert [record.message for record in caplog.records if "Dying" in record.message] == [
        "Dying failed (ConnectionError: gone): training goes on without it, it is tried again now and then; "
        "all metrics are in metrics.csv"
    ]


def test_one_that_came_back_gets_metrics_again(monkeypatch):
    from salt.loggers import guard

    monkeypatch.setattr(Dying, "calls", 0)
    monkeypatch.setattr(guard, "PAUSE_SECONDS", 0.0)
    logger = guard.build(Dying)
    for step in range(5):
        logger.log_metrics({"a": 1.0}, step=step)
    assert Dying.calls == 5


def test_lightnings_loggers_keep_their_class(salt, needs, monkeypatch):
    """Callbacks ask for the class of a logger."""
    needs("tensorboard", "tensorboard")
    from lightning.pytorch.loggers import TensorBoardLogger

    from salt.callbacks.label_check import LabelCheck

    seen = []
    monkeypatch.setattr(LabelCheck, "setup", lambda self, trainer, *_, **__: seen.extend(trainer.loggers))
    answer = salt("fit", *SHORT, "--trainer.logger=TensorBoardLogger")
    assert answer.code == 0, answer.err
    assert [isinstance(logger, TensorBoardLogger) for logger in seen] == [False, True]


def test_the_saved_config_is_plain(fit, needs):
    needs("tensorboard", "tensorboard")
    fit({"class_path": "TensorBoardLogger"})
    assert json.dumps(saved_logger())
    assert saved_logger()["init_args"]["save_dir"] == str(RUN.absolute())
