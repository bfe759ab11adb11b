from datetime import datetime

import pytest
from jsonargparse import Namespace

from salt.cli import machine
from salt.cli.asked import Asked

NOW = datetime(2030, 1, 2, 3, 4, 5)


def asked(*keys, verb="fit"):
    return Asked(verb, frozenset(keys), NOW)


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)


@pytest.fixture
def lines(caplog):
    caplog.set_level("INFO", "salt")
    return lambda: caplog.messages


def trainer(**changes):
    return Namespace(trainer=Namespace(**{"accelerator": "gpu", "devices": 1, "precision": "32-true"} | changes))


def settings(config):
    return config.trainer.accelerator, config.trainer.devices, config.trainer.precision


def test_without_a_gpu_an_old_configs_devices_and_precision_do_not_survive(no_gpu, lines):
    config = trainer(devices=[0, 1], precision="16-mixed")
    machine.without_gpu(config, asked())
    assert settings(config) == ("cpu", 1, "32-true")
    assert lines() == ["no GPU here: trainer accelerator cpu, devices 1, precision 32-true"]


def test_without_a_gpu_what_the_command_line_asks_for_stays(no_gpu, lines):
    config = trainer(devices=2, precision="bf16-mixed")
    machine.without_gpu(config, asked("trainer.devices", "trainer.precision"))
    assert settings(config) == ("cpu", 2, "bf16-mixed")
    assert lines() == ["no GPU here: trainer accelerator cpu"]


def test_without_a_gpu_no_other_machine_is_waited_for(no_gpu, lines):
    config = trainer(num_nodes=4)
    machine.without_gpu(config, asked())
    assert config.trainer.num_nodes == 1
    assert lines() == ["no GPU here: trainer accelerator cpu, devices 1, precision 32-true, num_nodes 1"]


@pytest.mark.parametrize(
    ("here", "devices", "options", "chosen"),
    [
        (1, [1], [], [0]),
        (2, "2,3", [], [0, 1]),
        (2, [1], [], [1]),
        (1, [0, 1], [], [0, 1]),
        (1, 4, [], 4),
        (1, [1], ["trainer.devices"], [1]),
        (0, [1], [], [1]),
    ],
)
def test_numbers_of_gpus_of_another_machine_become_those_of_this_one(monkeypatch, here, devices, options, chosen):
    monkeypatch.setattr("torch.cuda.is_available", lambda: here > 0)
    monkeypatch.setattr("torch.cuda.device_count", lambda: here)
    config = trainer(devices=devices)
    machine.other_gpus(config, asked(*options))
    assert config.trainer.devices == chosen


@pytest.mark.parametrize("accelerator", ["cpu", "auto"])
def test_other_accelerators_are_left_alone(no_gpu, lines, accelerator):
    config = trainer(accelerator=accelerator, devices=3)
    machine.without_gpu(config, asked())
    assert (config.trainer.accelerator, config.trainer.devices, lines()) == (accelerator, 3, [])


def test_an_accelerator_of_the_command_line_is_left_alone(no_gpu, lines):
    config = trainer()
    machine.without_gpu(config, asked("trainer.accelerator"))
    assert (config.trainer.accelerator, lines()) == ("gpu", [])


def test_with_a_gpu_nothing_changes(monkeypatch, lines):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    config = trainer(devices=[0, 1], precision="16-mixed")
    machine.without_gpu(config, asked())
    assert settings(config) == ("gpu", [0, 1], "16-mixed")
    assert lines() == []


def test_the_user_who_asks_for_a_cpu_is_told_nothing(salt):
    answer = salt("fit", "--config", "simple.yaml", "--trainer.accelerator=cpu", "--trainer.fast_dev_run=1")
    assert answer.code == 0, answer.err
    assert "no GPU here" not in answer.err


def test_testing_is_one_process_without_a_logger(lines):
    config = trainer(devices=[0, 1], num_nodes=2, logger=True)
    machine.as_evaluation(config, asked(verb="test"))
    assert (config.trainer.devices, config.trainer.num_nodes, config.trainer.logger) == (1, 1, False)
    assert lines() == ["Setting --trainer.devices=1"]


@pytest.fixture
def started(monkeypatch):
    """As if torchrun had started so many processes on so many nodes."""

    def by_torchrun(size, nodes=1):
        for name, value in {"TORCHELASTIC_RUN_ID": "1", "WORLD_SIZE": size, "GROUP_WORLD_SIZE": nodes}.items():
            monkeypatch.setenv(name, str(value))

    return by_torchrun


def test_testing_takes_all_processes_that_were_started(started, lines):
    started(4, nodes=2)
    config = trainer(devices=1, num_nodes=1, strategy="fsdp", logger=True)
    machine.as_evaluation(config, asked(verb="predict"))
    got = config.trainer
    assert (got.devices, got.num_nodes, got.strategy, got.logger) == (2, 2, "auto", False)
    assert lines() == []


def test_testing_leaves_a_number_of_the_command_line_to_the_checks(started):
    started(2)
    config = trainer(devices=3, num_nodes=1, strategy="auto")
    machine.as_evaluation(config, asked("trainer.devices", verb="test"))
    assert config.trainer.devices == 3


def test_testing_is_on_several_ranks_where_a_strategy_is_asked_for(lines):
    config = trainer(devices=2, num_nodes=1, strategy="ddp")
    machine.as_evaluation(config, asked("trainer.strategy", verb="test"))
    assert (config.trainer.devices, config.trainer.strategy, lines()) == (2, "ddp", [])


@pytest.mark.parametrize("verb", ["test", "validate", "predict"])
def test_the_strategy_of_a_config_was_that_of_its_training(verb, lines):
    config = trainer(devices=2, num_nodes=1, strategy="ddp")
    machine.as_evaluation(config, asked(verb=verb))
    assert (config.trainer.devices, config.trainer.strategy) == (1, "auto")
    assert lines() == ["Setting --trainer.devices=1"]
