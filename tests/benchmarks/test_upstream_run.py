"""A run of upstream's program, evaluated by ours: the same columns, and the same scores."""

import json
import shutil
from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401 (registers LZ4, in which upstream writes)
import numpy as np
import pytest
import torch
import yaml

pytestmark = [pytest.mark.peers, pytest.mark.slow]

TOLERANCE = 2e-6


@pytest.fixture(scope="module")
def theirs(run_against_peer, tmp_path_factory):
    """Paths of a run that upstream has made: run, checkpoint, evaluation."""
    return run_against_peer("upstream_run.py", tmp_path_factory.mktemp("upstream"))


@pytest.fixture
def run(theirs, tmp_path):
    """A copy of the run, without what upstream says of its jets."""
    return Path(shutil.copytree(theirs["run"], tmp_path / "run", ignore=shutil.ignore_patterns("*.h5")))


def tables(path):
    with h5py.File(path) as file:
        return {name: dataset[:] for name, dataset in file.items()}


def evaluated(run, theirs):
    """What our program has written of the same checkpoint."""
    return tables(run / "ckpts" / Path(theirs["evaluation"]).name)


def assert_same_scores(ours, expected):
    for stream, table in expected.items():
        for name in table.dtype.names:
            a, b = ours[stream][name], table[name]
            if name == "VertexIndex":  # theirs is a cast of -inf where there is no track
                assert np.array_equal(a, np.where(ours[stream]["valid"], b, -1))
            elif name.startswith("GNN_p"):
                assert np.abs(a - b).max() < TOLERANCE, name
            else:
                assert np.array_equal(a, b, equal_nan=a.dtype.kind == "f"), name


def test_the_long_form_gives_upstreams_scores_in_upstreams_columns(salt, run, theirs):
    checkpoint = run / "ckpts" / Path(theirs["checkpoint"]).name
    answer = salt("test", "--config", run / "config.yaml", "--ckpt_path", checkpoint)
    assert answer.code == 0, answer.err
    ours, expected = evaluated(run, theirs), tables(theirs["evaluation"])
    assert {stream: table.dtype for stream, table in ours.items()} == {s: table.dtype for s, table in expected.items()}
    assert expected["jets"]["GNN_pb"].std() > 1e-3  # it has learnt something
    assert_same_scores(ours, expected)


def test_a_run_of_upstreams_is_tested_by_its_name_with_the_normalisation_of_its_checkpoint(salt, run, theirs):
    norms = yaml.safe_load((run / "norm_dict.yaml").read_text())
    for of in norms.values():
        for variable in of.values():
            variable["std"] *= 100
    (run / "norm_dict.yaml").write_text(yaml.safe_dump(norms))
    answer = salt("test", run)
    assert answer.code == 0, answer.err
    assert_same_scores(evaluated(run, theirs), tables(theirs["evaluation"]))


def test_a_compiled_models_checkpoint_with_its_module_pickled_gives_the_same(salt, run, theirs):
    path = run / "ckpts" / Path(theirs["checkpoint"]).name
    content = torch.load(path, weights_only=False)
    content["state_dict"] = {
        name.replace("model.", "model._orig_mod.", 1): value for name, value in content["state_dict"].items()
    }
    content["hyper_parameters"]["model"] = torch.nn.Linear(2, 2)
    torch.save(content, path)
    answer = salt("test", run, "--ckpt_path", path)
    assert answer.code == 0, answer.err
    assert_same_scores(evaluated(run, theirs), tables(theirs["evaluation"]))


def test_a_training_does_not_go_on_from_it(salt, run, theirs):
    checkpoint = run / "ckpts" / Path(theirs["checkpoint"]).name
    answer = salt("fit", "--config", run / "config.yaml", "--trainer.max_epochs=3", "--ckpt_path", checkpoint)
    assert answer.code == 2
    assert f"{checkpoint} (--ckpt_path) was not written by this program" in answer.error


def test_a_training_of_ours_begins_with_its_weights_and_keeps_the_frozen_ones(salt, run, theirs):
    begin = {"ckpt": str(run / "ckpts" / Path(theirs["checkpoint"]).name), "freeze": ["encoder.*"]}
    few = ("--data.num_train=300", "--data.num_val=100", "--data.batch_size=100")
    once = ("--trainer.max_epochs=1", "--trainer.log_every_n_steps=1")
    answer = salt("fit", "--config", "gnn.yaml", *few, *once, "-ls", "fine", f"--model.init_from={json.dumps(begin)}")
    assert answer.code == 0, answer.err
    assert "not in the model" not in answer.err
    assert "not in the checkpoint" not in answer.err
    (checkpoint,) = Path("logs/GNN_fine/ckpts").glob("*.ckpt")
    ours = torch.load(checkpoint, weights_only=True)["state_dict"]
    expected = torch.load(theirs["checkpoint"], weights_only=False)["state_dict"]
    same = {name for name, weight in ours.items() if name in expected and torch.equal(weight, expected[name])}
    parameters = {name for name in ours if name.startswith("model.encoder.")}
    assert parameters
    assert parameters <= same
    assert "model.tasks.0.net.net.0.weight" not in same


def test_a_training_of_ours_begins_with_its_config(salt, run):
    over = {"trainer": {"logger": False, "max_epochs": 1}, "data": {"num_train": 300, "num_val": 100}}
    options = [f"--{part}.{key}={json.dumps(value)}" for part, of in over.items() for key, value in of.items()]
    answer = salt("fit", "--config", run / "config.yaml", *options)
    assert answer.code == 0, answer.err
