from datetime import datetime
from pathlib import Path

import pytest
from jsonargparse import Namespace

from salt.cli import resolve
from salt.cli.files import PACKAGED
from salt.cli.resolve import Asked

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
    resolve.without_gpu(config, asked())
    assert settings(config) == ("cpu", 1, "32-true")
    assert lines() == ["no GPU here: trainer accelerator cpu, devices 1, precision 32-true"]


def test_without_a_gpu_what_the_command_line_asks_for_stays(no_gpu, lines):
    config = trainer(devices=2, precision="bf16-mixed")
    resolve.without_gpu(config, asked("trainer.devices", "trainer.precision"))
    assert settings(config) == ("cpu", 2, "bf16-mixed")
    assert lines() == ["no GPU here: trainer accelerator cpu"]


def test_without_a_gpu_no_other_machine_is_waited_for(no_gpu, lines):
    config = trainer(num_nodes=4)
    resolve.without_gpu(config, asked())
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
    resolve.other_gpus(config, asked(*options))
    assert config.trainer.devices == chosen


@pytest.mark.parametrize("accelerator", ["cpu", "auto"])
def test_other_accelerators_are_left_alone(no_gpu, lines, accelerator):
    config = trainer(accelerator=accelerator, devices=3)
    resolve.without_gpu(config, asked())
    assert (config.trainer.accelerator, config.trainer.devices, lines()) == (accelerator, 3, [])


def test_an_accelerator_of_the_command_line_is_left_alone(no_gpu, lines):
    config = trainer()
    resolve.without_gpu(config, asked("trainer.accelerator"))
    assert (config.trainer.accelerator, lines()) == ("gpu", [])


def test_with_a_gpu_nothing_changes(monkeypatch, lines):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    config = trainer(devices=[0, 1], precision="16-mixed")
    resolve.without_gpu(config, asked())
    assert settings(config) == ("gpu", [0, 1], "16-mixed")
    assert lines() == []


def test_the_user_who_asks_for_a_cpu_is_told_nothing(salt):
    answer = salt("fit", "--config", "simple.yaml", "--trainer.accelerator=cpu", "--trainer.fast_dev_run=1")
    assert answer.code == 0, answer.err
    assert "no GPU here" not in answer.err


def run_config(root="logs", suffix=None, save_dir=""):
    logger = Namespace(class_path="CSVLogger", init_args=Namespace(save_dir=str(save_dir)))
    return Namespace(name="GNN", log_suffix=suffix, trainer=Namespace(default_root_dir=str(root), logger=logger))


def test_a_run_is_named_by_its_name_and_the_time(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = run_config()
    resolve.run_directory(config, asked())
    assert config.trainer.default_root_dir == str(tmp_path / "logs" / "GNN_20300102-030405")
    assert config.trainer.logger.init_args.save_dir == config.trainer.default_root_dir


def test_a_suffix_takes_the_place_of_the_time(tmp_path):
    config = run_config(tmp_path, "try")
    resolve.run_directory(config, asked())
    assert config.trainer.default_root_dir == str(tmp_path / "GNN_try")


def test_the_directory_of_an_old_run_gives_one_beside_it_and_moves_the_logger(tmp_path):
    old = tmp_path / "GNN_20290102-030405"
    config = run_config(old, save_dir=old)
    resolve.run_directory(config, asked())
    assert config.trainer.default_root_dir == str(tmp_path / "GNN_20300102-030405")
    assert config.trainer.logger.init_args.save_dir == config.trainer.default_root_dir


def test_the_suffix_of_an_old_run_is_not_taken_again(tmp_path):
    old = tmp_path / "GNN_try"
    old.mkdir()
    (old / "config.yaml").touch()
    config = run_config(old, "try")
    resolve.run_directory(config, asked())
    assert config.trainer.default_root_dir == str(tmp_path / "GNN_20300102-030405")


def test_a_new_suffix_for_an_old_run_is_taken(tmp_path):
    config = run_config(tmp_path / "GNN_20290102-030405", "again")
    resolve.run_directory(config, asked("log_suffix"))
    assert config.trainer.default_root_dir == str(tmp_path / "GNN_again")


def test_a_logger_with_a_place_of_its_own_keeps_it(tmp_path):
    config = run_config(tmp_path, save_dir="elsewhere")
    resolve.run_directory(config, asked())
    assert config.trainer.logger.init_args.save_dir == "elsewhere"


def test_testing_is_one_process_without_a_logger(lines):
    config = trainer(devices=[0, 1], num_nodes=2, logger=True)
    resolve.as_evaluation(config, asked(verb="test"))
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
    resolve.as_evaluation(config, asked(verb="predict"))
    got = config.trainer
    assert (got.devices, got.num_nodes, got.strategy, got.logger) == (2, 2, "auto", False)
    assert lines() == []


def test_testing_leaves_a_number_of_the_command_line_to_the_checks(started):
    started(2)
    config = trainer(devices=3, num_nodes=1, strategy="auto")
    resolve.as_evaluation(config, asked("trainer.devices", verb="test"))
    assert config.trainer.devices == 3


def test_testing_is_on_several_ranks_where_a_strategy_is_asked_for(lines):
    config = trainer(devices=2, num_nodes=1, strategy="ddp")
    resolve.as_evaluation(config, asked("trainer.strategy", verb="test"))
    assert (config.trainer.devices, config.trainer.strategy, lines()) == (2, "ddp", [])


@pytest.mark.parametrize("verb", ["test", "validate", "predict"])
def test_the_strategy_of_a_config_was_that_of_its_training(verb, lines):
    config = trainer(devices=2, num_nodes=1, strategy="ddp")
    resolve.as_evaluation(config, asked(verb=verb))
    assert (config.trainer.devices, config.trainer.strategy) == (1, "auto")
    assert lines() == ["Setting --trainer.devices=1"]


def data_config(folder, train="my_train.h5"):
    (folder / train).touch()
    files = {
        key: str(PACKAGED / name) for key, name in [("norm_dict", "norm_dict.yaml"), ("class_dict", "class_dict.yaml")]
    }
    task = Namespace(init_args=Namespace(name="t", use_class_dict=True))
    files |= dict.fromkeys(("val_file", "test_file"), str(PACKAGED / "sample.h5"))
    return Namespace(
        data=Namespace(train_file=str(folder / train), **files),
        model=Namespace(model=Namespace(init_args=Namespace(tasks=Namespace(init_args=Namespace(modules=[task]))))),
    )


def test_files_beside_the_training_file_take_the_place_of_the_samples(tmp_path, lines):
    for name in ("norm_dict.yaml", "class_dict.yaml", "my_val.h5", "my_test.h5"):
        (tmp_path / name).touch()
    config = data_config(tmp_path)
    resolve.files_beside(config, asked())
    assert config.data.test_file == str(tmp_path / "my_test.h5")
    assert config.data.norm_dict == str(tmp_path / "norm_dict.yaml")
    assert config.data.class_dict == str(tmp_path / "class_dict.yaml")
    assert config.data.val_file == str(tmp_path / "my_val.h5")
    assert len(lines()) == 4


def test_files_that_the_user_names_stay(tmp_path, lines):
    (tmp_path / "norm_dict.yaml").touch()
    config = data_config(tmp_path)
    config.data.norm_dict = "elsewhere/norms.yaml"
    resolve.files_beside(config, asked())
    assert config.data.norm_dict == "elsewhere/norms.yaml"
    assert lines() == []


def test_the_packages_files_are_found_wherever_it_is_installed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert resolve.packaged_path("salt/configs/sample.h5") == str(PACKAGED / "sample.h5")
    assert resolve.packaged_path("mine/sample.h5") == "mine/sample.h5"


def test_the_packages_files_are_meant_in_a_checkout_of_it_too(tmp_path, monkeypatch):
    """There the name is that of a file as well; were it taken for the user's, the sample's files would be kept."""
    monkeypatch.chdir(PACKAGED.parent.parent)
    assert resolve.packaged_path("salt/configs/sample.h5") == str(PACKAGED / "sample.h5")
    for name in ("norm_dict.yaml", "class_dict.yaml", "my_val.h5"):
        (tmp_path / name).touch()
    config = data_config(tmp_path)
    for key in ("val_file", "norm_dict", "class_dict"):
        config.data[key] = f"salt/configs/{Path(config.data[key]).name}"
    resolve.packaged_files(config, asked())
    resolve.files_beside(config, asked())
    assert {Path(config.data[key]).parent for key in ("val_file", "norm_dict", "class_dict")} == {tmp_path}


def test_a_file_that_the_package_has_not_is_the_users():
    assert resolve.packaged_path("salt/configs/mine.h5") == "salt/configs/mine.h5"


def test_a_run_that_is_resumed_keeps_its_directory(tmp_path):
    old = tmp_path / "GNN_20290102-030405"
    config = run_config(tmp_path / "moved_from", save_dir=tmp_path / "moved_from")
    resolve.run_directory(config, Asked("fit", frozenset(), NOW, str(old)))
    assert config.trainer.default_root_dir == config.trainer.logger.init_args.save_dir == str(old)


def test_a_directory_on_a_server_stays_a_url():
    config = run_config("s3://bucket/logs/")
    resolve.run_directory(config, asked())
    assert config.trainer.default_root_dir == "s3://bucket/logs/GNN_20300102-030405"


def monitoring(metric, *names):
    tasks = [Namespace(init_args=Namespace(name=name)) for name in names]
    model = Namespace(init_args=Namespace(tasks=Namespace(init_args=Namespace(modules=tasks))))
    callback = Namespace(class_path="salt.callbacks.Checkpoint", init_args=Namespace(monitor_loss=metric))
    return Namespace(model=Namespace(model=model), trainer=Namespace(callbacks=[callback]))


@pytest.mark.parametrize(
    ("metric", "names", "expected"),
    [
        ("val/jets_classification_loss", ["jets_regression", "track_origin"], "val/loss"),
        ("val/jets_classification_loss", ["jets_regression", "jets_classification"], "val/jets_classification_loss"),
        ("val/jets_regresion_loss", ["jets_regression"], "val/jets_regresion_loss"),
    ],
)
def test_the_sum_of_losses_names_checkpoints_where_no_task_is_that_of_base_yaml(lines, metric, names, expected):
    config = monitoring(metric, *names)
    resolve.monitored_loss(config, asked())
    assert config.trainer.callbacks[0].init_args.monitor_loss == expected
    assert len(lines()) == (metric != expected)
