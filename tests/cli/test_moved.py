"""A run that was moved, or copied, is tested and resumed where it is."""

import shutil

import pytest
import yaml

from salt.cli.moved import at_home


@pytest.fixture
def moved(own_run, tmp_path):
    """A finished run in another place than where it was trained, which is no more."""
    here = tmp_path / "laptop" / "a run"
    here.parent.mkdir()
    shutil.move(own_run, here)
    return here


def test_a_run_that_was_moved_is_tested_where_it_is(moved, salt):
    assert salt("test", moved, "--data.num_test=100").code == 0
    assert len(list((moved / "ckpts").glob("*__test_*.h5"))) == 1


def test_a_run_that_was_copied_leaves_the_first_one_alone(own_run, salt, tmp_path):
    shutil.copytree(own_run, tmp_path / "copy")
    before = sorted(own_run.rglob("*"))
    assert salt("test", tmp_path / "copy", "--data.num_test=100").code == 0
    assert sorted(own_run.rglob("*")) == before


def test_a_run_that_was_moved_goes_on_where_it_is(moved, salt):
    before = len(list((moved / "ckpts").glob("epoch*.ckpt")))
    config = yaml.safe_load((moved / "config.yaml").read_text())
    epochs = config["trainer"]["max_epochs"] + 1
    answer = salt("fit", "--resume", moved, f"--trainer.max_epochs={epochs}")
    assert answer.code == 0, answer.err
    assert len(list((moved / "ckpts").glob("epoch*.ckpt"))) == before + 1


def test_only_the_config_of_a_run_is_changed(tmp_path):
    content = {"trainer": {"default_root_dir": "/old"}, "data": {"norm_dict": "/old/norm_dict.yaml", "x": "/older"}}
    file = tmp_path / "config.yaml"
    assert at_home(content, file) == content
    (tmp_path / "ckpts").mkdir()
    assert at_home(content, tmp_path / "mine.yaml") == content
    assert at_home(content, file) == {
        "trainer": {"default_root_dir": str(tmp_path)},
        "data": {"norm_dict": f"{tmp_path}/norm_dict.yaml", "x": "/older"},
    }


def test_another_name_of_the_same_folder_is_the_same_place(tmp_path):
    (tmp_path / "run" / "ckpts").mkdir(parents=True)
    (tmp_path / "link").symlink_to("run")
    content = {"trainer": {"default_root_dir": str(tmp_path / "run")}}
    assert at_home(content, tmp_path / "link" / "config.yaml") == content
