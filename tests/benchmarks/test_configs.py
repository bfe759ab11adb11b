"""Files are made of what a config asks for, and configs are tried on them."""

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml

ROOT = Path(__file__).parents[2]


def config(**data):
    """Of a classifier of jets and of their constituents `muons`, called `soft` here, with labels of its own."""
    dense = {"hidden_layers": [4], "activation": "ReLU"}
    jets = {"name": "flavours", "input_name": "jets", "label": "flavour", "dense_config": {**dense, "output_size": 3}}
    muons = {
        "name": "types", "input_name": "soft", "label": "type", "label_map": {-7: 0, 11: 1}, "class_names": ["a", "b"],
        "use_class_dict": True, "dense_config": {**dense, "output_size": 2},
    }  # fmt: skip
    for task in (jets, muons):
        task["dense_config"]["input_size"] = 6
    modules = [{"class_path": "salt.models.ClassificationTask", "init_args": task} for task in (jets, muons)]
    arguments = {
        "init_nets": [{"input_name": "soft", "dense_config": {**dense, "output_size": 6}}],
        "pool_net": {"class_path": "salt.models.GlobalAttentionPooling", "init_args": {"input_size": 6}},
        "tasks": {"class_path": "torch.nn.ModuleList", "init_args": {"modules": modules}},
    }
    of_data = {
        "variables": {"jets": ["pt"], "soft": ["dr"]},
        "input_map": {"soft": "muons"},
        "selections": {"soft": ["quality < 3"]},
    }
    return {
        "model": {"model": {"class_path": "salt.models.SaltModel", "init_args": arguments}},
        "data": {**of_data, **data},
    }


@pytest.fixture
def make(monkeypatch, tmp_path):
    """Make the files of a config."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    from config_data import make_files

    return lambda content: make_files(content, tmp_path / "files", jets=50)


def records(path):
    with h5py.File(path) as file:
        return {name: dataset[:] for name, dataset in file.items()}, {name: dict(d.attrs) for name, d in file.items()}


def test_files_hold_variables_labels_and_what_is_cut_on(make):
    found, attributes = records(make(config())["train_file"])
    assert set(found["jets"].dtype.names) == {"pt", "flavour"}
    assert set(found["muons"].dtype.names) == {"dr", "type", "quality", "valid"}
    assert {-7, 11} <= set(np.unique(found["muons"]["type"][found["muons"]["valid"]]))
    assert list(attributes["jets"]["flavour"]) == ["bjets", "cjets", "ujets"]


def test_there_are_weights_of_classes_and_widths_of_variables(make):
    files = make(config())
    assert yaml.safe_load(files["class_dict"].read_text())["muons"] == {"type": [1.0, 1.25]}
    assert yaml.safe_load(files["norm_dict"].read_text()).keys() == {"jets", "muons"}


def test_a_target_that_is_made_of_others_is_not_in_the_files(make):
    entry = {
        "input_name": "jets", "sel_label": "pdg", "opp": "==", "value": 15, "custom_target": "flavour", "source": "e",
    }  # fmt: skip
    found, _ = records(make(config(multi_target=[entry]))["val_file"])
    assert set(found["jets"].dtype.names) == {"pt", "pdg", "e"}
    assert 15 in found["jets"]["pdg"]


def test_every_jet_has_a_class_that_is_worked_out(make):
    from salt.data.labeller import Labeller

    names = ["hbb", "qcdbb", "qcdcx"]
    labels = {"use_labeller": True, "class_names": names}
    jets = records(make(config(labeller_config=labels))["test_file"])[0]["jets"]
    assert set(Labeller(names).compute(jets)) == {0, 1, 2}


def test_constituents_have_the_numbers_of_their_objects(make):
    objects = {"null": {"raw": -1, "mapped": 1}, "b": {"raw": 5, "mapped": 0}}
    of = {"name": "hadrons", "id_label": "barcode", "class_label": "flavour", "object_classes": objects}
    content = config(mf_config={"object": of, "constituent": {"name": "soft", "id_label": "parent"}})
    found, _ = records(make(content)["train_file"])
    hadrons, muons = found["hadrons"], found["muons"]
    assert hadrons.shape == (50, 5)
    assert set(np.unique(hadrons["flavour"])) == {-1, 5}
    assert ((hadrons["barcode"] == -1) == (hadrons["flavour"] == -1)).all()
    theirs = (muons["parent"][:, :, None] == hadrons["barcode"][:, None]).any(-1)
    assert (theirs | (muons["parent"] == -1)).all()
    assert (muons["parent"] > 0).any()


def tried(folder, *options):
    command = [sys.executable, ROOT / "benchmarks" / "configs.py", "--configs", folder, *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=240)


@pytest.mark.slow
def test_each_config_has_a_line_and_one_that_fails_the_exit_code(tmp_path):
    (tmp_path / "good.yaml").write_text(yaml.safe_dump(config()))
    wrong = config()
    wrong["model"]["model"]["init_args"]["poolnet"] = None
    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump(wrong))

    done = tried(tmp_path, "--no-peer")
    assert done.returncode == 1, done.stderr
    assert [line.split() for line in done.stdout.splitlines()[2:4]] == [
        ["good", "ok", "ok", "ok"],
        ["wrong", "-", "-", "-"],
    ]
    assert "unknown key model.model.init_args.poolnet" in done.stdout
    assert "here: 1 of 2 parse, fit and test" in done.stdout
    assert tried(tmp_path, "--no-peer", "--only", "good").returncode == 0


@pytest.mark.peers
def test_upstream_runs_the_same_config_on_the_same_files(tmp_path):
    (tmp_path / "good.yaml").write_text(yaml.safe_dump(config()))
    done = tried(tmp_path)
    assert done.stdout.splitlines()[2].split()[1:6] == ["ok", "ok", "ok", "|", "ok"], done.stdout + done.stderr
