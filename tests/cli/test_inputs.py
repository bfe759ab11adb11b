"""What a model may have for inputs, through the program: configs of each kind train, and are tested."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml

JETS = ["pt_btagJes", "eta_btagJes"]
TRACKS = ["d0", "z0SinTheta", "dphi", "deta"]
MASS = {"mass": {"train": [5, 40], "test": 16}}


def head(width, **more):
    """A classifier of jets."""
    arguments = {"name": "jets_classification", "input_name": "jets", "label": "flavour_label"}
    dense = {"input_size": width, "output_size": 4, "hidden_layers": [8]}
    return {"class_path": "salt.models.ClassificationTask", "init_args": {**arguments, "dense_config": dense, **more}}


def config(init_nets, variables, width, encoder=True, pooled=True, data=None, **model):
    """All that base.yaml leaves open."""
    if encoder:
        arguments = {"num_layers": 2, "embed_dim": 8, "attn_kwargs": {"num_heads": 2}}
        model["encoder"] = {"class_path": "salt.models.Transformer", "init_args": arguments}
    if pooled:
        model["pool_net"] = {"class_path": "salt.models.GlobalAttentionPooling", "init_args": {"input_size": 8}}
    tasks = {"class_path": "torch.nn.ModuleList", "init_args": {"modules": [head(width)]}}
    model = {"init_nets": init_nets, "tasks": tasks, **model}
    return {
        "name": "small",
        "model": {"model": {"class_path": "salt.models.SaltModel", "init_args": model}},
        "data": {
            "variables": variables,
            "batch_size": 100,
            "num_train": 400,
            "num_val": 200,
            "num_test": 200,
            **(data or {}),
        },
    }


def net(stream, **more):
    return {"input_name": stream, "dense_config": {"output_size": 8, "hidden_layers": [8]}, **more}


def layers(**sizes):
    """Entries of featurewise_nets: layer -> its number of features."""
    dense = [{"hidden_layers": [4], "output_size": size} for size in sizes.values()]
    return [
        {"layer": layer, "dense_config_scale": of, "dense_config_bias": of}
        for layer, of in zip(sizes, dense, strict=True)
    ]


BOTH = {"jets": JETS, "tracks": TRACKS}
PARAMETRISED = {**BOTH, "parameters": ["mass"]}
SUBJETS = config([], BOTH, 18)
SUBJETS["model"]["model"] = {
    "class_path": "salt.models.R21Xbb",
    "init_args": {"tasks": SUBJETS["model"]["model"]["init_args"]["tasks"]},
}
CONFIGS = {
    "the first subjets": SUBJETS,
    "the global object alone": config(
        [net("jets", attach_global=False)], {"jets": JETS}, 8, encoder=False, pooled=False
    ),
    "deep sets": config([net("tracks")], BOTH, 8, encoder=False),
    "tracks alone": config([net("tracks", attach_global=False)], BOTH, 8, encoder=False),
    "tracks without jets": config([net("tracks")], {"tracks": TRACKS}, 8),
    "variables after the pooling": config([net("tracks")], {**BOTH, "global": ["mass", "eta"]}, 10),
    "parameters in front": config([net("tracks")], PARAMETRISED, 8, data={"parameters": MASS}),
    "parameters everywhere": config(
        [net("tracks")],
        PARAMETRISED,
        8,
        data={"parameters": MASS},
        featurewise_nets=layers(input=6, encoder=8, **{"global": 8}),
    ),
    "encoded positions": config(
        [net("tracks", pos_enc={"class_path": "salt.models.PositionalEncoder",
                                "init_args": {"variables": ["dphi", "deta"], "dim": 8}})],
        BOTH, 8,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_trains_and_is_tested(salt, overlay, name):
    answer = salt(
        "fit", "--config", overlay(**CONFIGS[name]), "--trainer.max_epochs=1", "--trainer.log_every_n_steps=2"
    )
    assert answer.code == 0, answer.err
    (run,) = Path("logs").iterdir()
    answer = salt("test", "--config", run / "config.yaml")
    assert answer.code == 0, answer.err
    (file,) = run.glob("ckpts/*test*.h5")
    with h5py.File(file) as out:
        assert np.isfinite(out["jets"]["small_pb"]).all()
        assert out["jets"]["small_pb"].std() > 0


def test_inputs_can_be_clipped_and_scaled_by_what_wild_values_do_not_move(salt, overlay, dataset):
    def fit(*options):
        return salt("fit", "--config", overlay(**CONFIGS["deep sets"]), "--trainer.fast_dev_run=2", *options)

    answer = fit("--model.norm.clip=0.5")
    assert answer.code == 0, answer.err
    assert "it takes a median and an iqr" in fit("--model.norm.robust=true").error
    made = yaml.safe_load(dataset().with_name("norm_dict.yaml").read_text())
    for entry in (entry for of in made.values() for entry in of.values()):
        entry |= {"median": entry["mean"], "iqr": entry["std"]}
    Path("robust.yaml").write_text(yaml.safe_dump(made))
    answer = fit("--model.norm.robust=true", "--data.norm_dict=robust.yaml")
    assert answer.code == 0, answer.err
