from datetime import datetime
from pathlib import Path

import pytest
from jsonargparse import Namespace

from salt.cli import resolve
from salt.cli.asked import Asked
from salt.cli.files import PACKAGED

NOW = datetime(2030, 1, 2, 3, 4, 5)


def asked(*keys, verb="fit"):
    return Asked(verb, frozenset(keys), NOW)


@pytest.fixture
def lines(caplog):
    caplog.set_level("INFO", "salt")
    return lambda: caplog.messages


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
