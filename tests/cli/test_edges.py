"""A config that asks for features of pairs of tracks, from the YAML to the evaluation file."""

from copy import deepcopy
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

FIT = (
    "--trainer.max_epochs=2",
    "--trainer.log_every_n_steps=1",
    "--data.num_train=400",
    "--data.num_val=200",
    "--data.batch_size=100",
)
EDGES = {
    "data": {
        "variables": {"jets": ["pt_btagJes", "eta_btagJes"], "tracks": ["d0", "pt", "eta", "phi"]},
        "edge_constructors": [{"input_name": "tracks", "edge_features": ["dR", "z", "kt", "isSelfLoop"]}],
    },
    "model": {
        "model": {
            "init_args": {
                "edge_init_nets": [{"input_name": "tracks", "dense_config": {"output_size": 8, "hidden_layers": [8]}}],
                "encoder": {"init_args": {"edge_embed_dim": 8, "update_edges": True}},
            }
        }
    },
}


@pytest.fixture
def write(overlay):
    """Write the overlay, changed."""

    def changed(change):
        content = deepcopy(EDGES)
        change(content["data"], content["model"]["model"]["init_args"])
        return overlay(**content)

    return changed


def fit(salt, file, *options):
    return salt("fit", "--config", "gnn.yaml", "--config", file, *options)


def test_a_model_that_looks_at_pairs_trains_and_is_evaluated(salt, overlay):
    answer = fit(salt, overlay(**EDGES), *FIT, "-ls", "run")
    assert answer.code == 0, answer.err
    assert "not read" not in answer.err
    run = Path("logs") / "GNN_run"
    first, second = (
        torch.load(path, weights_only=True)["state_dict"] for path in sorted((run / "ckpts").glob("*.ckpt"))
    )
    trained = {name for name, value in first.items() if not torch.equal(value, second[name])}
    last = "model.encoder.layers.1.attn.fn.linear_e_out.weight"
    assert {"model.edge_init_nets.0.net.net.0.weight", last.replace("layers.1", "layers.0")} < trained
    assert last in first.keys() - trained
    answer = salt("test", run, "--data.num_test=200")
    assert answer.code == 0, answer.err
    (file,) = (run / "ckpts").glob("*__test_*.h5")
    with h5py.File(file) as scores:
        assert np.isfinite(scores["jets"]["GNN_pb"]).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda data, model: data["edge_constructors"][0]["edge_features"].append("dr"),
            "unknown edge feature 'dr' (data.edge_constructors); there are dR, kt",
        ),
        (
            lambda data, model: data["variables"]["tracks"].remove("phi"),
            "is made of eta, phi, but data.variables.tracks has no phi",
        ),
        (
            lambda data, model: data["edge_constructors"][0].pop("edge_features"),
            "data.edge_constructors (over.yaml): Missing required keys: {'edge_features'}",
        ),
        (
            lambda data, model: data.pop("edge_constructors"),
            "edge_init_nets has one for 'tracks', but data.edge_constructors makes features of pairs of no stream",
        ),
        (
            lambda data, model: (
                data["edge_constructors"].append({"input_name": "flows", "edge_features": ["z"]}),
                model["edge_init_nets"].append({"input_name": "flows", "dense_config": {}}),
            ),
            "data.edge_constructors makes features of pairs of 'flows', but data.variables has no such stream",
        ),
        (
            lambda data, model: model["encoder"]["init_args"].update(edge_embed_dim=16),
            "edge_init_nets[0].dense_config.output_size is 8",
        ),
    ],
)
def test_what_does_not_fit_together_is_told_with_the_keys(salt, write, change, message):
    answer = fit(salt, write(change), "--trainer.fast_dev_run=1")
    assert answer.code == 2
    assert message in answer.error


@pytest.mark.filterwarnings("ignore:Precision bf16-mixed")  # of the model summary
def test_it_trains_in_bfloat16(salt, overlay):
    answer = fit(salt, overlay(**EDGES), "--trainer.fast_dev_run=1", "--trainer.precision=bf16-mixed")
    assert answer.code == 0, answer.err


def test_features_that_no_net_embeds_are_told(salt, overlay):
    answer = fit(salt, overlay(data=EDGES["data"]), "--trainer.fast_dev_run=1", "--data.batch_size=50")
    assert answer.code == 0, answer.err
    assert "data.edge_constructors of tracks is not read: edge_init_nets has none for it" in answer.err
