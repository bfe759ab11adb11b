"""Regression from the YAML file to the columns of the evaluation file."""

import math
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import yaml

from salt.training.module import SaltModule

DENSE = {"input_size": 8, "hidden_layers": [4]}
TASKS = {
    "ratio": {
        "class_path": "salt.models.RegressionTask",
        "init_args": {
            "input_name": "jets",
            "targets": ["HadronConeExclTruthLabelPt", "HadronConeExclTruthLabelLxy"],
            "target_denominators": ["pt", "mass"],
            "custom_output_names": ["truth_pt", "Lxy"],
            "sample_weight": "phi",
            "loss": "torch.nn.L1Loss",
        },
    },
    "gauss": {
        "class_path": "salt.models.GaussianRegressionTask",
        "init_args": {
            "input_name": "jets",
            "targets": ["eta", "HadronConeExclTruthLabelPt"],
            "norm_params": {"mean": [0.5, 6e4], "std": [2, 1e5]},
            "loss": "GaussianNLLLoss",
        },
    },
    "function": {
        "class_path": "salt.models.RegressionTask",
        "init_args": {
            "input_name": "tracks",
            "targets": "pt",
            "scaler": {
                "class_path": "salt.utils.scalers.RegressionTargetScaler",
                "init_args": {"scales": {"pt": {"op": "log", "x_scale": 1e-3, "op_scale": 0.5, "op_off": 1}}},
            },
            "loss": {"class_path": "torch.nn.HuberLoss", "init_args": {"delta": 0.5, "reduction": "none"}},
        },
    },
    "track_ratio": {
        "class_path": "salt.models.RegressionTask",
        "init_args": {"input_name": "tracks", "targets": "pt", "target_denominators": "d0", "loss": "MSELoss"},
    },
}


@pytest.fixture
def regression(overlay):
    """A config with these tasks, by default all."""

    def write(*names, **changes):
        tasks = [
            {**TASKS[name], "init_args": {"name": name, "dense_config": DENSE, **TASKS[name]["init_args"], **changes}}
            for name in names or TASKS
        ]
        model = {
            "class_path": "salt.models.SaltModel",
            "init_args": {
                "init_nets": [{"input_name": "tracks", "dense_config": {"output_size": 8, "hidden_layers": [8]}}],
                "pool_net": {"class_path": "salt.models.GlobalAttentionPooling", "init_args": {"input_size": 8}},
                "tasks": {"class_path": "torch.nn.ModuleList", "init_args": {"modules": tasks}},
            },
        }
        variables = {"jets": ["pt_btagJes"], "tracks": ["d0", "z0SinTheta"]}
        data = {"variables": variables, "batch_size": 200, "num_train": 600, "num_val": 400, "num_test": 300}
        trainer = {"max_epochs": 1, "log_every_n_steps": 1, "default_root_dir": "logs"}
        return overlay("regression.yaml", name="reg", model={"model": model}, data=data, trainer=trainer)

    return write


@pytest.fixture
def tested(monkeypatch):
    """The raw numbers of each batch that is tested, and the places of its jets."""
    seen, step = [], SaltModule.test_step

    def recorded(self, batch, batch_idx):
        seen.append((self(batch.inputs), batch))
        return step(self, batch, batch_idx)

    monkeypatch.setattr(SaltModule, "test_step", recorded)
    return seen


def fit(salt, config, *options):
    answer = salt("fit", "--config", config, "-ls", "run", *options)
    assert answer.code == 0, answer.err
    return Path("logs/reg_run")


def evaluation(run):
    (path,) = (run / "ckpts").glob("*__test_*.h5")
    with h5py.File(path) as file:
        return {name: file[name][:] for name in file}


def raw_of_jets(tested, task):
    """(N, K) raw numbers in the order of the file."""
    index = np.concatenate([batch.index for _, batch in tested])
    return np.concatenate([preds[task] for preds, _ in tested])[np.argsort(index)].astype(np.float64)


def softplus(x):
    return np.log1p(np.exp(x))


def test_columns_are_physical_values(salt, regression, tested):
    run = fit(salt, regression("ratio", "gauss", "function"))
    assert salt("test", run).code == 0
    written = evaluation(run)
    jets, tracks = written["jets"], written["tracks"]
    ratio, gauss = raw_of_jets(tested, "ratio"), raw_of_jets(tested, "gauss")
    expected = {
        "reg_truth_pt": ratio[:, 0] * jets["pt"],
        "reg_Lxy": ratio[:, 1] * jets["mass"],
        "gauss_eta": 0.5 + 2 * gauss[:, 0],
        "gauss_HadronConeExclTruthLabelPt": 6e4 + 1e5 * gauss[:, 1],
        "gauss_eta_stddev": 2 * np.sqrt(softplus(gauss[:, 2])),
        "gauss_HadronConeExclTruthLabelPt_stddev": 1e5 * np.sqrt(softplus(gauss[:, 3])),
    }
    assert list(jets.dtype.names[-6:]) == list(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(jets[name], values, rtol=1e-5, err_msg=name)
    preds, batch = tested[0]
    ragged = batch.inputs["tracks"]
    for place, number in list(enumerate(batch.index.tolist()))[::29]:
        rows = slice(int(ragged.offsets[place]), int(ragged.offsets[place + 1]))
        of_jet, valid = tracks[number], tracks[number]["valid"]
        raw = preds["function"][rows, 0].double().numpy()
        np.testing.assert_allclose(of_jet["reg_pt"][valid], 1000 * np.exp((raw - 1) / 0.5), rtol=1e-4)
        assert np.isnan(of_jet["reg_pt"][~valid]).all()


def test_denominators_of_constituents_are_read_from_the_file(salt, regression, tested):
    run = fit(salt, regression("track_ratio"), "--data.num_test=50")
    assert salt("test", run, "--data.num_test=50").code == 0
    tracks = evaluation(run)["tracks"]
    preds, batch = tested[0]
    ragged = batch.inputs["tracks"]
    for place, number in enumerate(batch.index.tolist()):
        rows = slice(int(ragged.offsets[place]), int(ragged.offsets[place + 1]))
        of_jet = tracks[number][tracks[number]["valid"]]
        np.testing.assert_allclose(of_jet["reg_pt"], preds["track_ratio"][rows, 0].numpy() * of_jet["d0"], rtol=1e-6)


@pytest.mark.parametrize("verb", ["test", "predict"])
def test_without_the_denominator_the_ratio_is_written_and_that_is_told(salt, regression, tested, dataset, verb):
    def without_truth(name, records):
        kept = [field for field in records.dtype.names if "ruth" not in field and field not in {"mass", "phi"}]
        return records[kept]

    run = fit(salt, regression("ratio"))
    shutil.move(dataset(without_truth), "new.h5")
    answer = salt(verb, run, "new.h5")
    assert answer.code == 0, answer.err
    told = "new.h5 (data.test_file) has no mass in 'jets': what task 'ratio' says is written as a ratio to it"
    assert answer.err.count(told) == 1
    jets, raw = evaluation(run)["jets"], raw_of_jets(tested, "ratio")
    np.testing.assert_allclose(jets["reg_truth_pt"], raw[:, 0] * jets["pt"], rtol=1e-6)
    np.testing.assert_allclose(jets["reg_Lxy"], raw[:, 1], rtol=1e-6)


def test_targets_that_are_no_number_change_nothing(salt, regression, dataset):
    """Half of the jets without target: the same as if they did not exist, for a loss that jets do not share."""

    def edit(name, records):
        if name == "jets":
            records["HadronConeExclTruthLabelPt"][::2] = np.nan
        return records

    file = dataset(edit)
    config = regression("gauss", targets="HadronConeExclTruthLabelPt", norm_params={"mean": 0, "std": 1e5})
    options = [f"--data.{key}_file={file}" for key in ("train", "val")]
    options += [f"--data.norm_dict={file.with_name('norm_dict.yaml')}", "--data.class_dict=null"]
    run = fit(salt, config, *options)
    metrics = (run / "metrics.csv").read_text().splitlines()
    names = metrics[0].split(",")
    values = [float(line.split(",")[names.index("val/gauss_loss")] or "nan") for line in metrics[1:]]
    logged = [value for value in values if not math.isnan(value)][-1]
    (path,) = (run / "ckpts").glob("epoch=*.ckpt")
    weights = torch.load(path, weights_only=True)["state_dict"]
    assert all(torch.isfinite(value).all() for value in weights.values())
    assert logged == pytest.approx(_loss_by_hand(file, weights), rel=1e-5)


def _loss_by_hand(file, weights):
    """The Gaussian likelihood of the 200 jets with a target among the first 400."""
    w = {name.removeprefix("model."): value.double() for name, value in weights.items()}

    def dense(x, prefix):
        x = (x @ w[f"{prefix}.0.weight"].T + w[f"{prefix}.0.bias"]).relu()
        return x @ w[f"{prefix}.2.weight"].T + w[f"{prefix}.2.bias"]

    norms = yaml.safe_load(file.with_name("norm_dict.yaml").read_text())

    def inputs(records, stream, names):
        columns = [
            (records[name].astype("f8") - norms[stream][name]["mean"]) / norms[stream][name]["std"] for name in names
        ]
        return torch.tensor(np.stack(columns, -1))

    with h5py.File(file) as opened:
        jets, tracks = opened["jets"][:400], opened["tracks"][:400]
    losses = []
    for jet, of_jet in zip(jets, tracks, strict=True):
        if np.isnan(jet["HadronConeExclTruthLabelPt"]):
            continue
        x = inputs(of_jet[of_jet["valid"]], "tracks", ["d0", "z0SinTheta"])
        own = inputs(jet[None], "jets", ["pt_btagJes"]).expand(len(x), 1)
        x = dense(torch.cat([own, x], 1), "init_nets.0.net.net")
        gate = (x @ w["pool_net.gate_nn.weight"].T + w["pool_net.gate_nn.bias"]).softmax(0)
        mean, variance = dense((gate * x).sum(0), "tasks.0.net.net")
        variance = torch.nn.functional.softplus(variance)
        target = float(jet["HadronConeExclTruthLabelPt"]) / 1e5
        losses.append(float(0.5 * (variance.log() + (mean - target) ** 2 / variance)))
    return np.mean(losses)


def test_resolutions_are_logged_for_each_target(salt, regression):
    run = fit(salt, regression("ratio", "gauss"))
    names = (run / "metrics.csv").read_text().splitlines()[0].split(",")
    assert "val/ratio_HadronConeExclTruthLabelPt_resolution" in names
    assert "val/gauss_eta_bias" in names
    assert "val/gauss_eta_pull_width" in names


def test_a_target_that_is_not_in_the_file_is_answered_with_the_nearest(salt, regression):
    answer = salt("fit", "--config", regression("gauss", targets=["etta", "phi"]), "--trainer.fast_dev_run=1")
    assert answer.code == 2
    assert "unknown target 'etta'" in answer.error
    assert "modules[0].init_args.targets; nearest: eta" in answer.error


@pytest.mark.parametrize(("argument", "kind"), [("target_denominators", "denominator"), ("sample_weight", "weight")])
def test_what_else_is_not_in_the_file_is_answered_with_the_nearest(salt, regression, argument, kind):
    asked = ["ptt", "mass"] if argument == "target_denominators" else "ptt"
    answer = salt("fit", "--config", regression("ratio", **{argument: asked}), "--trainer.fast_dev_run=1")
    assert answer.code == 2
    assert f"unknown {kind} 'ptt'" in answer.error
    assert f"init_args.{argument}; nearest: pt" in answer.error


def test_an_unknown_loss_is_answered_with_the_nearest(salt, regression):
    answer = salt("fit", "--config", regression("ratio", loss="L2Loss"), "--trainer.fast_dev_run=1")
    assert answer.code == 2
    assert "unknown loss 'L2Loss' in torch.nn" in answer.error
    assert "nearest: L1Loss" in answer.error
