import os
from pathlib import Path

import pytest
import yaml

PACKAGED = Path(__file__).parents[2] / "salt" / "configs"


@pytest.fixture(autouse=True)
def plain(salt, monkeypatch):
    """A config of a model that says nothing else, in an environment without variables of ours."""
    for name in [name for name in os.environ if name.startswith(("PL_", "COMET_"))]:
        monkeypatch.delenv(name)
    simple = yaml.safe_load((PACKAGED / "simple.yaml").read_text())
    content = {"name": "simple", "model": {"model": simple["model"]["model"]}}
    content["data"] = {"variables": simple["data"]["variables"]}
    Path("plain.yaml").write_text(yaml.safe_dump(content))


@pytest.fixture
def printed(salt, monkeypatch):
    """The config, and what was said, with these variables set."""

    def run(*arguments, verb="fit", **environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        answer = salt(verb, *arguments, "--print_config")
        assert answer.code == 0, answer.err
        return yaml.safe_load(answer.out), answer.err

    return run


def at(config, key):
    for part in key.split("."):
        config = config[part]
    return config


@pytest.mark.parametrize(
    ("name", "value", "key", "expected"),
    [
        ("PL_TRAINER__MAX_EPOCHS", "3", "trainer.max_epochs", 3),
        ("PL_FIT__TRAINER__MAX_EPOCHS", "3", "trainer.max_epochs", 3),
        ("PL_DATA__BATCH_SIZE", "17", "data.batch_size", 17),
        ("PL_FIT__TRAINER__LOG_EVERY_N_STEPS", "3", "trainer.log_every_n_steps", 3),
        ("PL_MODEL__LRS_CONFIG__MAX", "1e-3", "model.lrs_config.max", 1e-3),
        ("PL_NAME", "mine", "name", "mine"),
        ("PL_SEED_EVERYTHING", "7", "seed_everything", 7),
        ("PL_LOG_SUFFIX", "x", "log_suffix", "x"),
        ("PL_TRAINER__LOGGER", "false", "trainer.logger", False),
        ("PL_TRAINER__GRADIENT_CLIP_VAL", "0.5", "trainer.gradient_clip_val", 0.5),
        ("PL_DATA__VARIABLES", "{jets: [pt_btagJes]}", "data.variables.jets", ["pt_btagJes"]),
        ("PL_DATA__NUM_JETS_TRAIN", "300", "data.num_train", 300),  # an old word
        ("PL_TRAINER__LOGGER__FLUSH_LOGS_EVERY_N_STEPS", "5", "trainer.logger.init_args.flush_logs_every_n_steps", 5),
        ("PL_TRAINER__LOGGER__INIT_ARGS__PREFIX", "p", "trainer.logger.init_args.prefix", "p"),
    ],
)
def test_a_variable_configures_an_argument(printed, overlay, name, value, key, expected):
    arguments = ["--config", overlay(data={})] if key.startswith("data.variables") else ["--config", "plain.yaml"]
    if key in {"name", "data.variables.jets"}:  # plain.yaml has them, and counts more
        arguments = []
    config, err = printed(*arguments, **{name: value})
    assert at(config, key) == expected
    assert f" from {name}" in err


def test_a_variable_that_counts_is_told_in_one_line(printed):
    _, err = printed("--config", "plain.yaml", PL_DATA__BATCH_SIZE="17")
    assert [line for line in err.splitlines() if "PL_" in line] == [
        "salt: data.batch_size = 17 from PL_DATA__BATCH_SIZE"
    ]


LEVELS = ("default", "base.yaml", "environment", "config", "command line")


@pytest.mark.parametrize(
    "given", [LEVELS[:number] for number in range(2, len(LEVELS) + 1)], ids=lambda given: given[-1]
)
@pytest.mark.parametrize("prefix", ["PL_", "PL_FIT__"])
def test_command_line_over_config_over_environment_over_base_over_default(printed, overlay, given, prefix):
    """trainer.log_every_n_steps: 50 in base.yaml, as by default; model.lrs_config.max, 5e-4 there."""
    arguments, environment = ["--config", "plain.yaml"], {}
    if "environment" in given:
        environment = {f"{prefix}TRAINER__LOG_EVERY_N_STEPS": "3", f"{prefix}MODEL__LRS_CONFIG__MAX": "3e-3"}
    if "config" in given:
        over = overlay(trainer={"log_every_n_steps": 4}, model={"lrs_config": {"max": 4e-3}})
        arguments += ["--config", over]
    if "command line" in given:
        arguments += ["--trainer.log_every_n_steps=5", "--model.lrs_config.max=5e-3"]
    config, _ = printed(*arguments, **environment)
    expected = {"base.yaml": (50, 5e-4), "environment": (3, 3e-3), "config": (4, 4e-3), "command line": (5, 5e-3)}
    assert (config["trainer"]["log_every_n_steps"], config["model"]["lrs_config"]["max"]) == expected[given[-1]]


def test_precedence_is_key_by_key(printed, overlay):
    """A config that sets one argument of a class leaves its others to the environment."""
    over = overlay(trainer={"logger": {"class_path": "salt.loggers.CometLogger", "init_args": {"workspace": "w"}}})
    config, _ = printed("--config", "plain.yaml", "--config", over, PL_TRAINER__LOGGER__PROJECT="p")
    arguments = config["trainer"]["logger"]["init_args"]
    assert (arguments["workspace"], arguments["project"]) == ("w", "p")


def test_a_variable_reaches_arguments_of_classes_that_a_config_names(printed):
    name = "PL_MODEL__MODEL__INIT_ARGS__ENCODER__INIT_ARGS__DROP_REGISTERS"
    config, _ = printed("--config", "gnn.yaml", **{name: "true"})
    encoder = config["model"]["model"]["init_args"]["encoder"]["init_args"]
    assert encoder["drop_registers"] is True
    assert encoder["num_layers"] == 2


def test_one_that_loses_is_told_with_what_counts_more(printed, overlay):
    over = overlay(data={"batch_size": 18})
    config, err = printed("--config", "plain.yaml", "--config", over, PL_DATA__BATCH_SIZE="17")
    assert config["data"]["batch_size"] == 18
    assert "PL_DATA__BATCH_SIZE is set, but over.yaml says otherwise and counts more" in err


def test_one_that_loses_to_the_command_line_is_told_too(printed):
    _, err = printed("--config", "plain.yaml", "--data.batch_size=18", PL_DATA__BATCH_SIZE="17")
    assert "PL_DATA__BATCH_SIZE is set, but the command line says otherwise and counts more" in err


def test_one_inside_something_that_a_config_switched_off_is_left_out(printed, overlay):
    over = overlay(trainer={"logger": False})
    config, err = printed("--config", "plain.yaml", "--config", over, PL_TRAINER__LOGGER__INIT_ARGS__PREFIX="p")
    assert config["trainer"]["logger"] is False
    assert "PL_TRAINER__LOGGER__INIT_ARGS__PREFIX" in err


def test_the_one_with_the_verb_counts_more(printed):
    config, _ = printed("--config=plain.yaml", PL_FIT__DATA__BATCH_SIZE="18", PL_DATA__BATCH_SIZE="17")
    assert config["data"]["batch_size"] == 18


def test_one_for_another_verb_is_not_for_this_one(printed):
    config, err = printed("--config", "plain.yaml", PL_TEST__DATA__BATCH_SIZE="17")
    assert config["data"]["batch_size"] == 1000
    assert "PL_" not in err


@pytest.mark.parametrize("name", ["PL_TEST__DATA__BATCH_SIZE", "PL_DATA__BATCH_SIZE"])
def test_variables_hold_for_test_too(printed, name):
    config, _ = printed("--config", "plain.yaml", verb="test", **{name: "17"})
    assert config["data"]["batch_size"] == 17


def test_what_the_config_of_a_run_says_counts_more_than_the_environment(printed, own_run):
    config, err = printed(str(own_run), verb="test", PL_DATA__BATCH_SIZE="17")
    assert config["data"]["batch_size"] == 250
    assert f"PL_DATA__BATCH_SIZE is set, but {own_run / 'config.yaml'} says otherwise" in err


@pytest.mark.parametrize("name", ["PL_CONFIG", "PL_FIT__CONFIG"])
def test_a_config_file_of_the_environment_lies_between_base_and_the_named_ones(printed, overlay, name):
    file = overlay("mine.yaml", data={"batch_size": 17, "num_train": 30}, trainer={"max_epochs": 2})
    over = overlay(data={"batch_size": 18})
    config, _ = printed("--config", "plain.yaml", "--config", over, **{name: file, "PL_TRAINER__MAX_EPOCHS": "4"})
    assert config["data"]["batch_size"] == 18
    assert config["data"]["num_train"] == 30
    assert config["trainer"]["max_epochs"] == 4


def test_unknown_ones_are_one_warning_with_the_nearest_names(printed):
    config, err = printed("--config", "plain.yaml", PL_DATA__BATCHSIZE="17", PL_TRAINER__LOGGER__COLOUR="red")
    assert config["data"]["batch_size"] == 1000
    (line,) = [line for line in err.splitlines() if "mean nothing" in line]
    assert "PL_DATA__BATCHSIZE (nearest: PL_DATA__BATCH_SIZE)" in line
    assert "PL_TRAINER__LOGGER__COLOUR" in line


def test_lightnings_own_variables_are_left_alone(printed):
    _, err = printed("--config", "plain.yaml", PL_GLOBAL_SEED="1", PL_SEED_WORKERS="1")
    assert "PL_" not in err


def test_a_value_of_the_wrong_kind_names_the_variable(salt, monkeypatch):
    monkeypatch.setenv("PL_TRAINER__MAX_EPOCHS", "many")
    answer = salt("fit", "--config", "plain.yaml")
    assert answer.code == 2
    assert "trainer.max_epochs (PL_TRAINER__MAX_EPOCHS): " in answer.error


def test_a_key_of_comet_in_the_environment_is_no_argument(printed, monkeypatch):
    config, err = printed(
        "--config", "plain.yaml", PL_TRAINER__LOGGER__API_KEY="secret", PL_TRAINER__LOGGER_WORKSPACE="w"
    )
    assert "secret" not in err
    assert "PL_" not in err
    assert "api_key" not in config["trainer"]["logger"]["init_args"]


def test_the_environment_is_as_it_was_after_a_run(salt, monkeypatch):
    monkeypatch.setenv("PL_TRAINER__LOGGER__API_KEY", "secret")
    monkeypatch.delenv("COMET_API_KEY", raising=False)
    assert salt("fit", "--config", "plain.yaml", "--trainer.fast_dev_run=1", "--data.batch_size=20").code == 0
    assert "COMET_API_KEY" not in os.environ


def test_what_counts_is_what_is_saved(salt, monkeypatch):
    monkeypatch.setenv("PL_DATA__NUM_TRAIN", "200")
    options = ["--trainer.max_epochs=1", "--data.batch_size=50", "--data.num_val=100", "-ls=a"]
    answer = salt("fit", "--config", "plain.yaml", "--trainer.log_every_n_steps=1", *options)
    assert answer.code == 0, answer.err
    assert yaml.safe_load(Path("logs/simple_a/config.yaml").read_text())["data"]["num_train"] == 200
