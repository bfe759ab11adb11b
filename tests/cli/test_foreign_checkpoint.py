"""What `salt` does with a checkpoint that another program has written."""

from pathlib import Path

import h5py
import pytest
import torch

from salt.training.checkpoints import best
from tests.training.hostile import FILES, with_object


@pytest.fixture
def made(tmp_path):
    return tmp_path / "made"


@pytest.fixture
def file(own_run):
    return own_run / "ckpts" / "evil.ckpt"


@pytest.fixture
def weights(own_run):
    """Those of the run, under the names that upstream's compiled model has."""
    state_dict = torch.load(best(own_run).path, weights_only=True)["state_dict"]
    return {name.replace("model.", "model._orig_mod.", 1): weight for name, weight in state_dict.items()}


FEW = "--data.num_test=20"


def scores(checkpoint):
    """Of what a test of a checkpoint has written."""
    with h5py.File(Path(checkpoint).with_name(f"{Path(checkpoint).stem}__test_sample.h5")) as file:
        return file["jets"]["GNN_pb"][:]


@pytest.mark.parametrize("kind", ["os.system", "a nested torch.load", "a weight", "TorchScript", "a legacy file"])
def test_testing_a_hostile_checkpoint_runs_nothing_and_says_why_it_cannot_be_tested(salt, own_run, made, file, kind):
    FILES[kind](made, file)
    answer = salt("test", own_run, FEW, "--ckpt_path", file)
    assert answer.code == 2
    assert str(file) in answer.error
    assert not made.exists()


@pytest.mark.parametrize("kind", ["os.system", "TorchScript"])
def test_going_on_from_a_hostile_checkpoint_runs_nothing(salt, own_run, made, file, kind):
    FILES[kind](made, file)
    answer = salt("fit", "--config", own_run / "config.yaml", "--trainer.max_epochs=3", "--ckpt_path", file)
    assert answer.code == 2
    assert str(file) in answer.error
    assert not made.exists()


BEGIN = ("fit", "--config", "gnn.yaml", "--trainer.fast_dev_run=1", "--data.batch_size=50", "--trainer.logger=false")


@pytest.mark.parametrize("kind", ["os.system", "a nested torch.load", "a weight", "TorchScript", "a legacy file"])
def test_beginning_with_the_weights_of_a_hostile_checkpoint_runs_nothing(salt, made, tmp_path, kind):
    file = tmp_path / "evil.ckpt"
    FILES[kind](made, file)
    answer = salt(*BEGIN, f"--model.init_from.ckpt={file}")
    assert answer.code == 2
    assert str(file) in answer.error
    assert not made.exists()


@pytest.mark.parametrize("kind", ["os.system", "__setstate__"])
def test_a_training_begins_with_weights_beside_a_hostile_object(salt, made, file, weights, kind):
    with_object(kind, made, file, state_dict=weights)
    answer = salt(*BEGIN, f"--model.init_from.ckpt={file}")
    assert answer.code == 0, answer.err
    assert "loaded" in answer.err
    assert "not in the model" not in answer.err
    assert "not in the checkpoint" not in answer.err
    assert not made.exists()


@pytest.mark.parametrize("kind", ["os.system", "__setstate__"])
def test_weights_beside_a_hostile_object_are_tested(salt, own_run, made, file, weights, kind):
    with_object(kind, made, file, state_dict=weights)
    answer = salt("test", own_run, FEW, "--ckpt_path", file)
    assert answer.code == 0, answer.err
    assert not made.exists()
    assert salt("test", own_run, FEW).code == 0
    assert scores(file).tolist() == scores(best(own_run).path).tolist()


def test_a_training_cannot_go_on_from_weights_alone_and_the_message_says_what_can(salt, own_run, file, weights):
    torch.save({"state_dict": weights, "epoch": 1, "global_step": 14, "hyper_parameters": {}}, file)
    answer = salt("fit", "--config", own_run / "config.yaml", "--trainer.max_epochs=3", "--ckpt_path", file)
    assert answer.code == 2
    assert f"{file} (--ckpt_path) was not written by this program" in answer.error
    assert "--model.init_from.ckpt" in answer.error


def test_a_checkpoint_of_another_model_is_one_error_that_names_what_does_not_fit(salt, own_run):
    answer = salt("test", own_run, FEW, "--model.model.init_args.encoder.init_args.num_layers=1")
    assert answer.code == 2
    assert "the weights of" in answer.error
    assert "8 not in the model: model.encoder.layers.1." in answer.error
