import csv
import json
import logging
import sys
import time
import zipfile
from pathlib import Path

import pytest
import yaml

KEY = "Kx0123456789abcdefghiJKLM"
SHORT = (
    "--config=simple.yaml",
    "-ls=a",
    "--trainer.max_epochs=2",
    "--trainer.log_every_n_steps=1",
    "--data.num_train=300",
    "--data.num_val=300",
    "--data.batch_size=100",
)
RUN = Path("logs/simple_a")
LOSSES = ("train/loss_epoch", "val/loss")


@pytest.fixture
def fit(salt, overlay):
    """A short fit with upstream's Comet logger; what is given goes into its init_args."""

    def run(*options, class_path="lightning.pytorch.loggers.comet.CometLogger", **arguments):
        logger = {"class_path": class_path, "init_args": {"project": "salt", **arguments}}
        return salt("fit", *SHORT, f"--config={overlay(trainer={'logger': logger})}", *options)

    return run


def recorded():
    """Name -> step -> value in metrics.csv."""
    with (RUN / "metrics.csv").open() as file:
        lines = list(csv.DictReader(file))
    return {
        name: {int(line["step"]): float(line[name]) for line in lines if line[name]}
        for name in lines[0]
        if name not in {"step", "epoch"}
    }


def archived():
    """Name -> step -> value in the only zip of the run."""
    (file,) = RUN.glob("*.zip")
    found = {}
    with zipfile.ZipFile(file) as archive:
        for line in archive.read("messages.json").decode().splitlines():
            message = json.loads(line)
            if metric := message["payload"].get("metric"):
                found.setdefault(metric["metricName"], {})[metric["step"]] = metric["metricValue"]
    return found


def everything_said_and_written(answer):
    """Bytes of all files of the directory, zips opened, and of what was printed."""
    yield answer.out.encode()
    yield answer.err.encode()
    for path in Path().rglob("*"):
        if path.is_file() and not path.name.startswith("given"):
            yield path.read_bytes()
            yield path.name.encode()
            if zipfile.is_zipfile(path):
                with zipfile.ZipFile(path) as archive:
                    yield from (archive.read(name) for name in archive.namelist())


def holds_key(answer):
    return any(KEY.encode() in content for content in everything_said_and_written(answer))


def test_online_the_losses_of_every_epoch_and_the_rates_arrive(fit, comet, monkeypatch):
    monkeypatch.setenv("COMET_API_KEY", KEY)
    answer = fit()
    assert answer.code == 0, answer.err
    (metrics,) = comet.metrics.values()
    expected = recorded()
    assert set(expected) <= set(metrics)
    for name in (*LOSSES, "lr-AdamW"):
        assert metrics[name] == pytest.approx(expected[name])
    assert [len(metrics[name]) for name in LOSSES] == [2, 2]
    assert f"Comet: {comet.focus}" in answer.err
    assert not list(RUN.glob("*.zip"))


def test_offline_the_archive_holds_the_losses_of_every_epoch(fit, comet):
    answer = fit(online=False)
    assert answer.code == 0, answer.err
    metrics, expected = archived(), recorded()
    for name in (*LOSSES, "lr-AdamW"):
        assert metrics[name] == pytest.approx(expected[name])
    assert [len(metrics[name]) for name in LOSSES] == [2, 2]
    assert comet.requests == []


def test_without_a_key_it_records_offline_and_says_so_in_one_line(fit, comet):
    answer = fit()
    assert answer.code == 0, answer.err
    (line,) = [line for line in answer.err.splitlines() if "Comet" in line or "COMET" in line]
    assert line == f"salt: Comet: no key (COMET_API_KEY); recording offline, into {RUN.absolute()}"
    assert archived()


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("PL_TRAINER__LOGGER__API_KEY", marks=pytest.mark.slow),
        pytest.param("PL_FIT__TRAINER__LOGGER__API_KEY", marks=pytest.mark.slow),
        pytest.param("PL_TRAINER__LOGGER__INIT_ARGS__API_KEY", marks=pytest.mark.slow),
        "COMET_API_KEY",
    ],
)
def test_a_key_of_the_environment_is_used_and_found_nowhere(fit, comet, monkeypatch, name):
    monkeypatch.setenv(name, KEY)
    answer = fit("--trainer.max_epochs=1", log_env_details=True)
    assert answer.code == 0, answer.err
    assert {key for _, key, _ in comet.requests} - {None} == {KEY}
    assert not holds_key(answer)


def test_a_key_on_the_command_line_is_used_and_found_nowhere(fit, comet, monkeypatch):
    option = f"--trainer.logger.init_args.api_key={KEY}"
    monkeypatch.setattr(sys, "argv", ["salt", "fit", *SHORT, option])
    answer = fit(option, "--trainer.max_epochs=1", log_env_details=True)
    assert answer.code == 0, answer.err
    assert {key for _, key, _ in comet.requests} - {None} == {KEY}
    assert not holds_key(answer)
    assert any("simple.yaml" in str(posted) for _, _, posted in comet.requests)  # the command line was given to Comet
    assert not any(option in str(posted) for _, _, posted in comet.requests)


def test_a_key_in_a_config_is_used_and_found_nowhere_else(salt, comet):
    logger = {"class_path": "CometLogger", "init_args": {"api_key": KEY}}
    Path("given.yaml").write_text(yaml.safe_dump({"trainer": {"logger": [logger]}}))
    answer = salt("fit", *SHORT, "--config=given.yaml", "--trainer.max_epochs=1")
    assert answer.code == 0, answer.err
    assert {key for _, key, _ in comet.requests} - {None} == {KEY}
    assert not holds_key(answer)


def test_a_key_that_is_refused_is_told_but_not_shown_and_training_goes_on(fit, comet, monkeypatch):
    monkeypatch.setenv("COMET_API_KEY", KEY)
    comet.behave = "refuse_key"
    answer = fit()
    assert answer.code == 0, answer.err
    assert "Comet: it refused" in answer.err
    assert len(archived()["val/loss"]) == 2
    assert not holds_key(answer)


@pytest.mark.parametrize(
    "name",
    [
        "PL_TRAINER__LOGGER_WORKSPACE",
        pytest.param("PL_TRAINER__LOGGER__WORKSPACE", marks=pytest.mark.slow),
        pytest.param("COMET_WORKSPACE", marks=pytest.mark.slow),
    ],
)
def test_the_workspace_of_the_environment_is_used(fit, comet, monkeypatch, name):
    monkeypatch.setenv("COMET_API_KEY", KEY)
    monkeypatch.setenv(name, "mine")
    assert fit("--trainer.max_epochs=1").code == 0
    (begun,) = [posted for path, _, posted in comet.requests if path.endswith("/add/run")]
    assert begun["teamName"] == "mine"
    assert begun["projectName"] == "salt"


def test_a_workspace_in_a_config_counts_more_than_that_of_the_environment(fit, comet, monkeypatch):
    monkeypatch.setenv("COMET_API_KEY", KEY)
    monkeypatch.setenv("PL_TRAINER__LOGGER_WORKSPACE", "mine")
    assert fit("--trainer.max_epochs=1", workspace="theirs").code == 0
    (begun,) = [posted for path, _, posted in comet.requests if path.endswith("/add/run")]
    assert begun["teamName"] == "theirs"


def test_arguments_of_old_versions_are_taken(fit, comet):
    old = {
        "project": None, "project_name": "p", "experiment_name": "e", "save_dir": "mine", "rest_api_key": KEY,
        "offline": True, "prefix": "old",
    }  # fmt: skip
    answer = fit("--trainer.max_epochs=1", class_path="pytorch_lightning.loggers.CometLogger", **old)
    assert answer.code == 0, answer.err
    (file,) = Path("mine").glob("*.zip")
    with zipfile.ZipFile(file) as archive:
        assert json.loads(archive.read("experiment.json"))["project_name"] == "p"
        assert "old_val/loss" in archive.read("messages.json").decode()


@pytest.mark.slow
@pytest.mark.parametrize("behave", ["refuses connections", "accepts and never answers"])
def test_a_dead_server_is_told_within_ten_seconds_and_costs_at_most_fifteen(fit, comet, monkeypatch, behave):
    monkeypatch.setenv("COMET_API_KEY", KEY)
    if behave == "refuses connections":
        comet.close()
    else:
        comet.behave = "hang"
    begin = time.monotonic()
    answer = fit()
    seconds = time.monotonic() - begin
    assert answer.code == 0, answer.err
    assert "cannot be reached" in answer.err
    assert len(archived()["val/loss"]) == 2
    comet.behave = "answer"
    assert seconds < 25  # the fit itself is a few; how many more than without is measured in the next test


@pytest.fixture
def logger(comet, monkeypatch, tmp_path):
    """Make a logger outside of a fit; its times are its own."""
    from salt.loggers import CometLogger

    monkeypatch.setenv("COMET_API_KEY", KEY)
    monkeypatch.chdir(tmp_path)
    return lambda **arguments: CometLogger(offline_directory=str(RUN), **arguments)


def log_three(logger, first):
    for step in range(first, first + 3):
        logger.log_metrics({"val/loss": 1 / (step + 1)}, step=step)


@pytest.mark.slow
@pytest.mark.parametrize(("behave", "limit"), [("dead", 7), ("hang", 10)])
def test_a_server_that_is_dead_from_the_start_costs_seconds(logger, comet, behave, limit):
    comet.behave = behave
    begin = time.monotonic()
    made = logger()
    log_three(made, 0)
    assert time.monotonic() - begin < limit
    made.finalize("success")
    assert time.monotonic() - begin < 15
    assert len(archived()["val/loss"]) == 3


@pytest.mark.slow
@pytest.mark.parametrize("behave", ["dead", "hang"])
def test_a_server_that_dies_in_the_middle_costs_no_training_and_fifteen_seconds_at_the_end(logger, comet, behave):
    made = logger()
    log_three(made, 0)
    time.sleep(1)
    comet.behave = behave
    begin = time.monotonic()
    log_three(made, 3)
    assert time.monotonic() - begin < 0.5
    time.sleep(3)
    begin = time.monotonic()
    made.finalize("success")
    assert time.monotonic() - begin < 15
    assert sorted(archived()["val/loss"]) == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("is_online", [True, False])
def test_a_run_that_is_resumed_in_its_directory_goes_on_with_its_experiment(logger, comet, is_online):
    first = logger(online=is_online)
    log_three(first, 0)
    first.finalize("success")
    second = logger(online=is_online)
    log_three(second, 3)
    second.finalize("success")
    assert first.version == second.version
    if is_online:
        assert {key: sorted(of["val/loss"]) for key, of in comet.metrics.items()} == {first.version: [0, 1, 2, 3, 4, 5]}
    else:
        assert {path.name.partition("-")[0].partition(".")[0] for path in RUN.glob("*.zip")} == {first.version}


def test_another_run_is_another_experiment(logger, tmp_path):
    from salt.loggers import CometLogger

    first, second = logger(), CometLogger(offline_directory=str(tmp_path / "other"))
    for each in (first, second):
        log_three(each, 0)
        each.finalize("success")
    assert first.version != second.version


def test_comet_gets_no_code_no_host_and_no_packages_unless_asked(fit, comet, monkeypatch):
    monkeypatch.setenv("COMET_API_KEY", KEY)
    assert fit("--trainer.max_epochs=1").code == 0
    assert not any("system-details" in path or "git" in path or "output" in path for path in comet.paths)
    comet.requests.clear()
    assert fit("--trainer.max_epochs=1", "-ls=b", log_env_details=True).code == 0
    assert any("system-details" in path for path in comet.paths)


def test_fast_dev_run_tells_comet_nothing_and_leaves_nothing(fit, comet, monkeypatch):
    monkeypatch.setenv("COMET_API_KEY", KEY)
    assert fit("--trainer.fast_dev_run=1").code == 0
    assert comet.requests == []
    assert not Path("logs").exists()


def test_the_clients_own_log_is_as_loud_as_before(logger):
    level = logging.getLogger("comet_ml").level
    logger().finalize("success")
    assert logging.getLogger("comet_ml").level == level
