import logging
import os
import pickle

import pytest
import torch

from salt.cli.repair import main


@pytest.fixture(autouse=True)
def log():
    """As it was before: the command makes a handler of its own."""
    log = logging.getLogger("salt")
    handlers, level = log.handlers[:], log.level
    log.handlers.clear()
    yield log
    log.handlers[:] = handlers
    log.setLevel(level)


class Hostile:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.fixture
def compiled(tmp_path):
    """A checkpoint of a compiled model, as Lightning saves it."""

    def make(protocol=2, **more):
        weights = {"model._orig_mod.0.weight": torch.rand(3, 2), "model._orig_mod.0.bias": torch.rand(3)}
        path = tmp_path / "epoch=000-val_loss=0.5.ckpt"
        torch.save({"state_dict": weights, "epoch": 3, **more}, path, pickle_protocol=protocol)
        return path

    return make


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_compiled_checkpoint_is_repaired_beside_the_old_one(compiled, protocol):
    path = compiled(protocol)
    before = path.read_bytes()
    assert main([str(path)]) == 0
    repaired = torch.load(path.with_name("epoch=000-val_loss=0.5_repaired.ckpt"), weights_only=False)
    old = torch.load(path, weights_only=False)
    assert list(repaired["state_dict"]) == ["model.0.weight", "model.0.bias"]
    for name, value in old["state_dict"].items():
        assert torch.equal(repaired["state_dict"][name.replace("_orig_mod.", "")], value)
    assert repaired["epoch"] == 3
    assert path.read_bytes() == before


def test_it_is_repaired_in_its_place_only_where_that_is_asked_for(compiled, tmp_path):
    path = compiled()
    assert main([str(path), "--overwrite"]) == 0
    assert "model.0.weight" in torch.load(path, weights_only=True)["state_dict"]
    assert list(tmp_path.iterdir()) == [path]


def test_pickled_modules_stay_in_it_and_are_not_executed(compiled, tmp_path):
    path = compiled(hyper_parameters={"model": torch.nn.Linear(2, 1)}, evil=Hostile(tmp_path / "made"))
    assert main([str(path)]) == 0
    assert not (tmp_path / "made").exists()
    repaired = torch.load(path.with_name(f"{path.stem}_repaired.ckpt"), weights_only=False)  # as upstream does
    assert repaired["hyper_parameters"]["model"].weight.shape == (1, 2)
    assert (tmp_path / "made").exists()


def test_a_checkpoint_that_needs_no_repair_is_left_alone(tmp_path, caplog):
    path = tmp_path / "a.ckpt"
    torch.save({"state_dict": {"weight": torch.ones(1)}}, path)
    assert main([str(path)]) == 0
    assert list(tmp_path.iterdir()) == [path]
    assert "needs no repair" in caplog.text


@pytest.mark.parametrize("content", [b"", b"hello", pickle.dumps({"a": 1})])
def test_a_file_that_is_no_checkpoint_is_one_clear_error(tmp_path, capsys, content):
    path = tmp_path / "a.ckpt"
    path.write_bytes(content)
    assert main([str(path)]) == 2
    assert f"{path} is cut short, damaged, or not a checkpoint" in capsys.readouterr().err


def test_a_file_that_is_there_already_is_not_overwritten(compiled, capsys):
    path = compiled()
    assert main([str(path)]) == 0
    assert main([str(path)]) == 2
    assert "is there already" in capsys.readouterr().err
