from pathlib import Path

import pytest
from jsonargparse import Namespace

from salt.cli.written import absolute, absolute_paths


@pytest.mark.parametrize("path", [None, "", "s3://bucket/a.h5", "https://host/a.h5", "file:///d/a.h5"])
def test_urls_and_what_is_not_given_stay(path):
    assert absolute(path) == path


def test_paths_patterns_and_lists_are_made_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert absolute("a.h5") == f"{tmp_path}/a.h5"
    assert absolute("x/**/*.h5") == f"{tmp_path}/x/**/*.h5"
    assert absolute(["a.h5", "s3://b/c.h5"]) == [f"{tmp_path}/a.h5", "s3://b/c.h5"]
    assert absolute("~/a.h5") == str(Path.home() / "a.h5")


def test_all_that_a_config_names_is_made_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    logger = Namespace(class_path="X", init_args=Namespace(save_dir="tb", project="name/with/slashes"))
    config = Namespace(
        ckpt_path="last",
        data=Namespace(train_file="a.h5", val_file=["b.h5"], move_files_temp="tmp", store_dir=None),
        trainer=Namespace(default_root_dir="logs/x", logger=[logger], callbacks=None),
    )
    absolute_paths(config)
    assert config.data == Namespace(
        train_file=f"{tmp_path}/a.h5", val_file=[f"{tmp_path}/b.h5"], move_files_temp=f"{tmp_path}/tmp", store_dir=None
    )
    assert config.trainer.default_root_dir == f"{tmp_path}/logs/x"
    assert logger.init_args == Namespace(save_dir=f"{tmp_path}/tb", project="name/with/slashes")
    assert config.ckpt_path == "last"
