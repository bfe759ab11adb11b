"""A model that finds objects, from its YAML file to the evaluation file."""

import contextlib
import csv
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml

from tests.conftest import SAMPLE, run_salt

CONFIG = """
name: MF
model:
  model:
    class_path: salt.models.SaltModel
    init_args:
      init_nets: [{input_name: tracks, dense_config: {output_size: 16, hidden_layers: [16]}}]
      encoder:
        class_path: salt.models.Transformer
        init_args: {embed_dim: 16, num_layers: 1, out_dim: 16, attn_kwargs: {num_heads: 2}, drop_registers: true}
      mask_decoder:
        class_path: salt.models.maskformer.MaskDecoder
        init_args:
          num_objects: 5
          embed_dim: 16
          num_layers: 2
          aux_loss: true
          md_config: {mask_attention: true, bidirectional_ca: true, n_heads: 2}
          class_net: {class_path: salt.models.Dense, init_args: {input_size: 16, output_size: 4}}
          mask_net: {class_path: salt.models.Dense, init_args: {input_size: 16, output_size: 16}}
          loss_config:
            num_classes: 3
            loss_weights: {object_class_ce: 2.0, mask_ce: 10.0, mask_dice: 2.0, regression: 2.0}
      pool_net: {class_path: salt.models.GlobalAttentionPooling, init_args: {input_size: 16}}
      tasks:
        class_path: torch.nn.ModuleList
        init_args:
          modules:
            - class_path: salt.models.ClassificationTask
              init_args:
                name: jets_classification
                input_name: jets
                label: flavour_label
                loss: {class_path: torch.nn.CrossEntropyLoss}
                dense_config: {input_size: 16, output_size: 4, hidden_layers: [8]}
            - class_path: salt.models.RegressionTask
              init_args:
                name: regression
                targets: [pt, Lxy]
                input_name: objects
                weight: 0.5
                scaler:
                  class_path: salt.tasks.scaling.RegressionTargetScaler
                  init_args: {scales: {pt: {op: log, op_scale: 0.2}, Lxy: {op: log, x_off: 1}}}
                loss: {class_path: torch.nn.L1Loss, init_args: {reduction: none}}
                dense_config: {input_size: 16, output_size: 2, hidden_layers: [8]}
data:
  variables: {jets: [pt_btagJes, eta_btagJes], tracks: [d0, z0SinTheta, dphi, deta, qOverP]}
  mf_config:
    object:
      name: truth_hadrons
      id_label: barcode
      class_label: flavour
      object_classes:
        b: {raw: 5, mapped: 0}
        c: {raw: 4, mapped: 1}
        tau: {raw: 15, mapped: 2}
        null: {raw: -1, mapped: 3}
    constituent: {name: tracks, id_label: ftagTruthParentBarcode}
  batch_size: 200
  num_train: 1000
  num_val: 600
trainer:
  max_epochs: 1
  log_every_n_steps: 2
  callbacks:
    - {class_path: salt.callbacks.Checkpoint, init_args: {monitor_loss: val/loss}}
    - {class_path: salt.callbacks.PredictionWriter, init_args: {write_tracks: true, write_objects: true}}
    - {class_path: salt.callbacks.MaskformerMetrics}
"""


def edited(**data):
    content = yaml.safe_load(CONFIG)
    content["data"].update(data)
    return content


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A sample, and its norms."""
    folder = tmp_path_factory.mktemp("sample")
    for name in ("sample.h5", "norm_dict.yaml"):
        shutil.copy(SAMPLE.with_name(name), folder)
    sample = str(folder / "sample.h5")
    norms = str(folder / "norm_dict.yaml")
    return {"train_file": sample, "val_file": sample, "test_file": sample, "norm_dict": norms}


@pytest.fixture(scope="module")
def run(tmp_path_factory, files):
    """A run of the config."""
    with contextlib.chdir(tmp_path_factory.mktemp("run")):
        Path("mf.yaml").write_text(yaml.safe_dump(edited(**files)))
        answer = run_salt("fit", "--config", "mf.yaml")
        assert answer.code == 0, answer.err
        (run,) = Path("logs").absolute().iterdir()
    return run


def test_objects_are_learnt_measured_and_written(salt, run, files):
    with (run / "metrics.csv").open() as file:
        logged = {name for row in csv.DictReader(file) for name, value in row.items() if value}
    losses = {"object_class_ce", "mask_ce", "mask_dice"}
    losses |= {f"{name}_layer_1" for name in losses} | {"regression", "jets_classification"}
    assert {f"val/{name}_loss" for name in losses} <= logged
    figures = {"class_exact_match", "class_accuracy_macro", "b_eff", "notnull_eff", "query_loose_match_eff"}
    assert {f"val/{name}" for name in figures} | {"val/regression_pt_resolution"} <= logged

    answer = salt("test", run)
    assert answer.code == 0, answer.err
    with h5py.File(next((run / "ckpts").glob("*__test_sample.h5"))) as file, h5py.File(files["test_file"]) as source:
        objects, tracks, masks = file["truth_hadrons"][:], file["tracks"][:], file["object_masks"][:]
        truth, of = source["truth_hadrons"][:], source["tracks"][:]
        assert {"truth_hadrons", "tracks", "object_masks", "jets"} == set(file)
    names = [f"MF_{name}" for name in ("pt", "Lxy", "pb", "pc", "ptau", "pnull")]
    assert objects.dtype.names == (*truth.dtype.names, *names, "class_label")
    assert np.array_equal(objects["barcode"], truth["barcode"])
    assert np.array_equal(objects["class_label"], np.select([truth["flavour"] == 5, truth["flavour"] == 4], [0, 1], 3))
    sums = sum(objects[f"MF_p{name}"] for name in ("b", "c", "tau", "null"))
    assert np.allclose(sums, 1, atol=1e-5)
    assert masks.shape == (len(of), 5, 40)
    expected = (of["ftagTruthParentBarcode"][:, None] == truth["barcode"][..., None]) & truth["valid"][..., None]
    assert np.array_equal(masks["truth_mask"], expected & of["valid"][:, None])
    assert masks["truth_mask"].any()
    index, valid = tracks["MF_MaskIndex"], of["valid"]
    assert (index[~valid] == -1).all()
    assert ((index[valid] == -2) | ((index[valid] >= 0) & (index[valid] < 5))).all()
    live = np.where(objects["MF_pnull"][..., None] > 0.5, -np.inf, masks["mask_logits"])
    best = np.where(live.max(1) > 0, live.argmax(1), -2)
    assert np.array_equal(index[valid], best[valid])


def test_a_file_without_truth_is_tested_without_it(salt, run, files, tmp_path):
    path = tmp_path / "unlabelled.h5"
    shutil.copy(files["test_file"], path)
    with h5py.File(path, "r+") as file:
        del file["truth_hadrons"]
    answer = salt("test", run, path)
    assert answer.code == 0, answer.err
    with h5py.File(next((run / "ckpts").glob("*unlabelled.h5"))) as file:
        assert file["truth_hadrons"].dtype.names == tuple(f"MF_{n}" for n in ("pt", "Lxy", "pb", "pc", "ptau", "pnull"))
        assert file["object_masks"].dtype.names == ("mask_logits",)


def test_a_null_class_that_is_not_the_last_is_told(salt, overlay, files):
    content = edited(**files)
    classes = content["data"]["mf_config"]["object"]["object_classes"]
    classes[None]["mapped"], classes["tau"]["mapped"] = 2, 3
    answer = salt("fit", "--config", overlay(**content))
    assert answer.code != 0
    assert "object_classes: null is mapped to 2, but must come last: map it to 3" in answer.err


def test_metrics_of_a_model_that_finds_nothing_are_told(salt, overlay):
    callbacks = {"callbacks": [{"class_path": "salt.callbacks.MaskformerMetrics"}]}
    answer = salt("fit", "--config", "simple.yaml", "--config", overlay(trainer=callbacks))
    assert answer.code != 0
    assert "the model has no mask_decoder" in answer.err
