"""Training files of umami's layout, with the keys of the old configs."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import yaml

from salt.training.module import SaltModule

JETS = ["pt_btagJes", "absEta_btagJes"]
TRACKS = ["d0", "z0SinTheta", "ptfrac"]
CLASSES = ["ujets", "cjets", "bjets"]

MODEL = {
    "class_path": "salt.models.SaltModel",
    "init_args": {
        "init_nets": [{"input_name": "tracks", "dense_config": {"output_size": 8}}],
        "pool_net": {"class_path": "salt.models.GlobalAttentionPooling", "init_args": {"input_size": 8}},
        "tasks": {
            "class_path": "torch.nn.ModuleList",
            "init_args": {
                "modules": [
                    {
                        "class_path": "salt.models.ClassificationTask",
                        "init_args": {
                            "name": "jets_classification",
                            "input_name": "jets",
                            "label": "labels",
                            "loss": "torch.nn.CrossEntropyLoss",
                            "dense_config": {"input_size": 8, "output_size": 3},
                        },
                    }
                ]
            },
        },
    },
}


def write_umami(path, num_jets=60, seed=3):
    """A file of umami's layout whose tracks begin with their jet's variables; its inputs are far from 0 and 1."""
    generator = np.random.default_rng(seed)
    valid = np.arange(4) < generator.integers(0, 5, num_jets)[:, None]
    jets = generator.normal(5, 3, size=(num_jets, 2))
    tracks = np.concatenate([np.repeat(jets[:, None], 4, axis=1), generator.normal(size=(num_jets, 4, 3))], axis=2)
    tracks[~valid] = 0
    with h5py.File(path, "w") as file:
        file["jets/inputs"] = jets.astype("f2")
        file["jets/inputs"].attrs["jet_variables"] = JETS
        file["jets/labels"] = generator.integers(0, 3, num_jets).astype("u1")
        file["jets/labels"].attrs["label_classes"] = CLASSES
        file["tracks_loose/inputs"] = tracks.astype("f2")
        file["tracks_loose/inputs"].attrs["variables"] = [f"jet_{name}" for name in JETS] + TRACKS
        file["tracks_loose/valid"] = valid
    return path


def write_plain(path, num_jets=60):
    """The same variables as structured datasets."""
    generator = np.random.default_rng(5)
    jets = np.zeros(num_jets, [(name, "f4") for name in JETS] + [("labels", "u1")])
    tracks = np.zeros((num_jets, 4), [(name, "f4") for name in TRACKS] + [("valid", "?")])
    jets["labels"] = generator.integers(0, 3, num_jets)
    tracks["valid"] = True
    with h5py.File(path, "w") as file:
        file["jets"], file["tracks_loose"] = jets, tracks
    return path


def scale_dict():
    """As umami writes it: no entry for z0SinTheta, which was not scaled."""
    entry = {"shift": 100.0, "scale": 0.01, "default": None}
    return {
        "jets": dict.fromkeys(JETS, entry),
        "tracks_loose": dict.fromkeys(["d0", "ptfrac"], entry),
        "tracks_loose_origin_weights": {"0": 1.5},
    }


@pytest.fixture
def folder(tmp_path):
    """A training and a validation file, a scale dict, and an old config without variables."""
    for name, seed in {"train.h5": 3, "val.h5": 4}.items():
        write_umami(tmp_path / name, seed=seed)
    (tmp_path / "scales.json").write_text(json.dumps(scale_dict()))
    data = {
        "train_file": "train.h5",
        "val_file": "val.h5",
        "inputs": {"jet": "jets", "track": "tracks_loose"},
        "scale_dict": "scales.json",
        "num_jets_train": 50,
        "batched_read": True,
        "batch_size": 10,
    }
    content = {"name": "old", "model": {"model": MODEL}, "data": data, "trainer": {"log_every_n_steps": 1}}
    (tmp_path / "old.yaml").write_text(yaml.safe_dump(content))
    return tmp_path


def fit(salt, *options):
    return salt("fit", "--config=old.yaml", "-ls=x", "--trainer.max_epochs=1", *options)


@pytest.fixture
def seen(monkeypatch):
    """What the model is given in each training step: un-normalised and normalised."""
    pairs = []
    step = SaltModule.training_step

    def look(self, batch, batch_idx):
        pairs.append((batch.inputs, self.norm(batch.inputs)))
        return step(self, batch, batch_idx)

    monkeypatch.setattr(SaltModule, "training_step", look)
    return pairs


def test_an_old_config_trains_on_an_old_file(salt, folder):
    answer = fit(salt)
    assert answer.code == 0, answer.err
    assert list(Path("logs/old_x/ckpts").glob("epoch=000-*.ckpt"))


def test_the_saved_config_has_the_new_keys_and_what_the_file_says(salt, folder):
    fit(salt)
    config = yaml.safe_load(Path("logs/old_x/config.yaml").read_text())
    data = config["data"]
    assert data["variables"] == {"jets": JETS, "tracks": TRACKS}
    assert (data["global_object"], data["input_map"]) == ("jets", {"jets": "jets", "tracks": "tracks_loose"})
    assert data["num_train"] == 50
    assert json.loads(Path(data["norm_dict"]).read_text()) == scale_dict()
    assert not {"inputs", "scale_dict", "num_jets_train"} & data.keys()
    (task,) = config["model"]["model"]["init_args"]["tasks"]["init_args"]["modules"]
    assert task["init_args"]["class_names"] == CLASSES


def test_it_is_said_what_was_rewritten_filled_in_and_left_out(salt, folder):
    err = fit(salt, "--trainer.fast_dev_run=1").err
    assert "read data.scale_dict scales.json (old.yaml) as data.norm_dict scales.json" in err
    assert f"filled data.variables.tracks = d0, z0SinTheta, ptfrac from {folder / 'train.h5'}" in err
    assert "left out of data.variables.tracks: jet_pt_btagJes, jet_absEta_btagJes, the jet's own" in err
    assert err.count("is of umami's layout, and normalised already: the model does not do it again") == 1


def test_normalised_inputs_are_not_normalised_again(salt, folder, seen):
    fit(salt, "--trainer.fast_dev_run=1")
    (raw, given), *_ = seen
    assert torch.equal(raw["jets"], given["jets"])
    assert torch.equal(raw["tracks"].values, given["tracks"].values)
    assert raw["jets"].mean() > 3


def test_plain_inputs_are_normalised_with_the_scale_dict(salt, folder, seen):
    for name in ("train.h5", "val.h5"):
        write_plain(folder / name)
    scales = scale_dict()
    scales["tracks_loose"]["z0SinTheta"] = {"shift": None, "scale": None}
    (folder / "scales.json").write_text(json.dumps(scales))
    variables = json.dumps({"jets": JETS, "tracks": TRACKS})
    answer = fit(salt, "--trainer.fast_dev_run=1", f"--data.variables={variables}")
    assert answer.code == 0, answer.err
    (_, given), *_ = seen
    assert torch.allclose(given["jets"], torch.tensor(-10000.0))
    assert (given["tracks"].values[:, 1] == 0).all()  # z0SinTheta, of which the scale dict says nothing


def test_the_jets_variables_stay_where_the_model_does_not_add_them(salt, folder):
    net = MODEL["init_args"]["init_nets"][0] | {"attach_global": False}
    (folder / "over.yaml").write_text(yaml.safe_dump({"model": {"model": {"init_args": {"init_nets": [net]}}}}))
    fit(salt, "--config=over.yaml")
    config = yaml.safe_load(Path("logs/old_x/config.yaml").read_text())
    assert config["data"]["variables"]["tracks"] == [f"jet_{name}" for name in JETS] + TRACKS


def test_variables_that_the_config_names_are_not_added_to(salt, folder):
    fit(salt, '--data.variables={"jets": ["pt_btagJes"], "tracks": ["d0"]}')
    config = yaml.safe_load(Path("logs/old_x/config.yaml").read_text())
    assert config["data"]["variables"] == {"jets": ["pt_btagJes"], "tracks": ["d0"]}


def test_a_file_of_this_layout_needs_no_dictionary(salt, folder):
    answer = fit(salt, "--data.scale_dict=null")
    assert answer.code == 0, answer.err
    found = {path.name for path in Path("logs/old_x").iterdir()} - {"diff.patch"}
    assert found == {"config.yaml", "metadata.yaml", "state.yaml", "ckpts", "metrics.csv"}


def test_such_a_run_is_tested_on_a_file_of_its_layout(salt, folder):
    fit(salt)
    answer = salt("test", "logs/old_x", write_umami(folder / "test.h5", seed=9))
    assert answer.code == 0, answer.err


def test_such_a_run_is_not_tested_on_plain_inputs(salt, folder):
    fit(salt)
    answer = salt("test", "logs/old_x", write_plain(folder / "test.h5"))
    assert answer.code == 2
    assert "test.h5 (data.test_file) is of another layout, and not normalised, but " in answer.error
    assert "train.h5 (data.train_file) is of umami's layout, and normalised: no model is right for both" in answer.error


def test_validation_jets_have_to_be_of_the_same_layout(salt, folder):
    answer = fit(salt, f"--data.val_file={write_plain(folder / 'plain.h5')}")
    assert answer.code == 2
    assert "mend: name files of one layout for data.train_file and data.val_file" in answer.error


def test_a_plain_file_does_not_name_its_variables(salt, folder):
    answer = fit(salt, f"--data.train_file={write_plain(folder / 'plain.h5')}")
    assert answer.code == 2
    assert "plain.h5 (data.train_file) is not of umami's layout" in answer.error
    assert "mend: name them: data.variables: {jets: [...], tracks: [...]}" in answer.error


def test_one_file_does_not_mix_the_layouts(salt, folder):
    with h5py.File("train.h5", "r+") as file, h5py.File(write_plain(folder / "plain.h5")) as plain:
        del file["tracks_loose"]
        plain.copy("tracks_loose", file)
    answer = fit(salt)
    assert answer.code == 2
    assert "is of umami's layout, and normalised, but dataset 'tracks_loose' of" in answer.error


def test_the_run_remembers_that_its_inputs_came_normalised(salt, folder):
    fit(salt)
    assert yaml.safe_load(Path("logs/old_x/config.yaml").read_text())["model"]["norm"]["already"] is True
    (folder / "train.h5").unlink()
    answer = salt("test", "logs/old_x", write_plain(folder / "test.h5"))
    assert answer.code == 2
    assert f"normalised already (model.norm.already), but {folder / 'test.h5'} (data.test_file)" in answer.error


def test_weights_for_inputs_that_came_normalised_are_not_put_to_others(salt, folder):
    fit(salt)
    (folder / "train.h5").unlink()
    options = ["--model.norm.already=false", "--data.norm_dict=null"]
    answer = salt("test", "logs/old_x", write_plain(folder / "test.h5"), *options)
    assert answer.code == 2
    assert "the checkpoint was trained with inputs that are normalised already" in answer.error
