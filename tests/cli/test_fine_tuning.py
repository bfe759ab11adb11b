"""model.init_from and model.mup_config on the command line."""

import json
from pathlib import Path

import pytest
import torch
import yaml

from salt.cli.mup import main as setup_mup

FEW = ("--data.num_train=200", "--data.num_val=100", "--trainer.max_epochs=1", "--data.batch_size=50",
       "--trainer.log_every_n_steps=1")  # fmt: skip

EMBED_DIM = {
    "apply_to": ["init_nets", "encoder"],
    "parameter_name": ["output_size", "embed_dim"],
    "parameter_base": 32,
    "parameter_delta": 8,
}


@pytest.fixture
def fit(salt, overlay, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(suffix, *options, **model):
        files = ("--config", overlay(model=model)) if model else ()
        return salt("fit", "--config", "gnn.yaml", *files, *FEW, "-ls", suffix, *options)

    return run


def checkpoint(run):
    (path,) = Path("logs", run, "ckpts").glob("*.ckpt")
    return path


def weights(run):
    return torch.load(checkpoint(run), weights_only=True)["state_dict"]


def written(run):
    return yaml.safe_load(Path("logs", run, "config.yaml").read_text())["model"]


def equal(first, second, beginning):
    names = [name for name in first if name.startswith(beginning)]
    assert names
    return all(torch.equal(first[name], second[name]) for name in names)


def test_a_training_begins_with_the_weights_of_a_run_and_keeps_its_encoder(fit, salt):
    assert fit("a").code == 0
    answer = fit("b", init_from={"ckpt": "logs/GNN_a", "freeze": ["encoder.*"]})
    assert answer.code == 0, answer.err
    assert "salt: weights of" in answer.err
    assert "model.init_from.freeze: 19 parameters do not learn: encoder.* (19)" in answer.err
    first, second = weights("GNN_a"), weights("GNN_b")
    assert equal(first, second, "model.encoder.")
    assert not equal(first, second, "model.tasks.0")
    assert not equal(first, second, "model.init_nets.")
    assert written("GNN_b")["init_from"]["ckpt"] == str(checkpoint("GNN_a").absolute())

    checkpoint("GNN_a").unlink()  # it is needed no more
    answer = salt("fit", "--resume", "logs/GNN_b", "--trainer.max_epochs=2")
    assert answer.code == 0, answer.err
    latest = torch.load(max(Path("logs/GNN_b/ckpts").glob("*.ckpt")), weights_only=True)["state_dict"]
    assert equal(first, latest, "model.encoder.")
    assert not equal(second, latest, "model.tasks.0")


@pytest.mark.parametrize(
    ("init_from", "words"),
    [
        ({"ckpt": "logs/nowhere"}, ["no checkpoint or run", "logs/nowhere", "model.init_from.ckpt"]),
        ({"ckpt": "logs/GNN_a", "freeze": ["encodr.*"]}, ["the pattern 'encodr.*' matches no parameter", "encoder"]),
        ({"ckpt": "logs/GNN_a", "frieze": []}, ["unknown key model.init_from.frieze", "freeze"]),
        ({"include": ["*"]}, ["ckpt", "is not given"]),
    ],
)
def test_what_cannot_be_loaded_is_refused_before_there_is_a_run(fit, init_from, words):
    if init_from.get("ckpt") == "logs/GNN_a":
        fit("a")
    answer = fit("b", init_from=init_from)
    assert answer.code == 2
    assert [word for word in words if word not in answer.error] == []
    assert not Path("logs/GNN_b").exists()


def test_a_head_of_other_classes_is_refused_with_the_pattern_that_leaves_it_out(fit):
    assert fit("a").code == 0
    path = checkpoint("GNN_a")
    content = torch.load(path, weights_only=True)
    content["state_dict"]["model.tasks.0.net.net.4.weight"] = torch.zeros(3, 32)
    torch.save(content, path)
    answer = fit("b", init_from={"ckpt": str(path)})
    assert answer.code == 2
    assert "tasks.0.net.net.4.weight: (3, 32) there, (4, 32) here" in answer.error
    assert "model.init_from.exclude: [tasks.0.net.net.4.*]" in answer.error


def test_another_optimiser_does_not_go_on_with_the_state_of_the_first(fit, salt):
    assert fit("a").code == 0
    answer = salt("fit", "--resume", "logs/GNN_a", "--trainer.max_epochs=2", "--model.optimizer=lion")
    assert answer.code == 2
    assert "a training with the optimiser AdamW; model.optimizer is Lion" in answer.error


# --- muP ------------------------------------------------------------------------------------------------------------


def test_shapes_are_made_where_they_are_missing_and_taken_where_they_are_there(fit):
    mup = {"shape_path": "shapes", "embed_dim": EMBED_DIM}
    first = fit("a", mup_config=mup)
    assert first.code == 0, first.err
    assert "made shapes/storeshapes (model.mup_config): 20 of 43 parameters grow" in first.err
    assert "muP: 9 matrices are 2 times as wide as those of the base" in first.err
    assert written("GNN_a")["mup_config"] == {"shape_path": str(Path("shapes").absolute()), "embed_dim": EMBED_DIM}
    second = fit("b", mup_config=mup)
    assert second.code == 0, second.err
    assert "made shapes" not in second.err
    assert equal(weights("GNN_a"), weights("GNN_b"), "")


def test_widths_that_follow_from_those_that_change_grow_with_them(overlay, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mup = {"shape_path": "shapes", "embed_dim": EMBED_DIM}
    encoder = {"init_args": {"out_dim": None}}  # all that comes after is as wide as the encoder
    file = overlay(model={"mup_config": mup, "model": {"init_args": {"encoder": encoder}}})
    assert setup_mup(["--config", "gnn.yaml", "--config", str(file)]) == 0
    shapes = yaml.safe_load(Path("shapes/storeshapes").read_text())
    assert shapes["pool_net.gate_nn.weight"] == [None, 32]
    assert shapes["tasks.0.net.net.0.weight"] == [None, 32]
    assert shapes["tasks.2.net.net.0.weight"] == [None, 96]  # two tracks, and their jet


def test_setup_mup_writes_shapes_without_any_data(overlay, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content = {"model": {"mup_config": {"shape_path": "shapes", "embed_dim": EMBED_DIM}}}
    file = overlay(**content, data={"train_file": "nowhere.h5", "val_file": "nowhere.h5"})
    assert setup_mup(["-c", "gnn.yaml", "--config", str(file)]) == 0
    assert yaml.safe_load(Path("shapes/storeshapes").read_text())["encoder.registers"] == [None, 32]
    assert not Path("logs").exists()


def test_setup_mup_of_a_config_without_widths_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert setup_mup(["--config", "gnn.yaml"]) == 2
    assert "model.mup_config is not given" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"apply_to": ["init_nets", "encodr"]}, "unknown argument 'encodr'"),
        ({"parameter_name": ["output_size", "width"]}, "encoder has no width"),
        ({"apply_to": ["encoder"], "parameter_name": ["embed_dim"]}, "in a model of another width"),
        ({"parameter_delta": 32}, "are both 32"),
    ],
)
def test_widths_that_cannot_be_are_refused(fit, changes, words):
    answer = fit("a", f"--model.mup_config={json.dumps({'shape_path': 'shapes', 'embed_dim': EMBED_DIM | changes})}")
    assert answer.code == 2
    assert words in answer.error
    assert not Path("shapes").exists()
