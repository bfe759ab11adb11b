import os
import re
import subprocess
import sys
from pathlib import Path

import lightning
import pytest
import torch

from salt.callbacks.finite import FiniteCheck, NotFiniteError
from salt.cli.files import PACKAGED
from salt.data import SaltDataModule
from salt.models import ClassificationTask, GlobalAttentionPooling, SaltModel
from salt.ragged import Ragged
from salt.training.diagnosis import subset
from salt.training.module import SaltModule
from salt.types import Batch, Schema

BAD = (123, 877)
"""Jets of the sample that are given a momentum at which a float32 network overflows."""


@pytest.fixture
def bad_file(dataset):
    """The sample, with two jets beyond all measure."""

    def edit(name, records):
        if name == "jets":
            records = records.astype([(n, "f4" if t == "<f2" else t) for n, t in records.dtype.descr])
            records["pt_btagJes"][list(BAD)] = 3e38
            return records
        return None

    return dataset(edit)


@pytest.fixture
def module():
    torch.manual_seed(1)
    schema = Schema({"jets": ["pt_btagJes"], "tracks": ["d0"]})
    tasks = [
        ClassificationTask(n, "jets", "flavour_label", {"input_size": 8, "output_size": 4}) for n in ("good", "bad")
    ]
    nets = [{"input_name": "tracks", "dense_config": {"output_size": 8}}]
    model = SaltModel(schema, nets, torch.nn.ModuleList(tasks), pool_net=GlobalAttentionPooling(8))
    return SaltModule(model, norm_dict=PACKAGED / "norm_dict.yaml")


@pytest.fixture
def fit(tmp_path, module):
    def run(check, **options):
        sample = str(PACKAGED / "sample.h5")
        labels = {"jets": ["flavour_label"]}
        data = SaltDataModule(module.model.schema.variables, sample, sample, batch_size=500, labels=labels, seed=3)
        quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
        options = {"max_epochs": 2, "accelerator": "cpu", "devices": 1} | quiet | options
        trainer = lightning.Trainer(default_root_dir=tmp_path, callbacks=[check], **options)
        trainer.fit(module, datamodule=data)

    return run


class Spoil(torch.autograd.Function):
    """The same numbers, whose gradient is not finite."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * float("nan")


def spoil(monkeypatch, module, at, change):
    """Change the loss of the second task from batch number `at` of the training on."""
    task, count = module.model.heads()[1], [0]
    loss = task.loss

    def spoiled(raw, labels, layout):
        total, number = loss(raw, labels, layout)
        count[0] += module.training
        return (change(total) if count[0] > at else total), number

    monkeypatch.setattr(task, "loss", spoiled)


def test_a_run_stops_at_jets_beyond_all_measure_and_names_them(salt, bad_file, tmp_path):
    options = ("--data.train_file=mine/sample.h5", "--data.val_file=mine/sample.h5", "--data.batch_size=500")
    dicts = ("--data.norm_dict=mine/norm_dict.yaml", "--data.class_dict=mine/class_dict.yaml")
    more = ("--trainer.num_sanity_val_steps=0", "--trainer.log_every_n_steps=1", "-ls", "bad")
    answer = salt("fit", "--config", "gnn.yaml", *options, *dicts, *more)
    assert answer.code == 2
    found = re.search(
        r"the loss is not finite: jets_classification \(nan\).* in batch (\d) of the training of epoch 0", answer.error
    )
    assert found, answer.error
    rows = re.search(r"which are the rows ([\d, ]+) of data.train_file \S*mine/sample.h5", answer.error)[1]
    assert set(map(int, rows.split(", "))) <= set(BAD)
    assert "weights: all finite" in answer.error
    run = tmp_path / "logs" / "GNN_bad"
    saved = torch.load(run / "bad_batch.pt", weights_only=True)
    assert f"torch.load('{run}/bad_batch.pt', weights_only=True)" in answer.error
    assert saved["index"][saved["jets"]].tolist() == list(map(int, rows.split(", ")))
    assert (saved["stage"], saved["epoch"], saved["batch"]) == ("training", 0, int(found[1]))
    assert (saved["inputs"]["jets"][saved["jets"], 0] > 1e38).all()
    assert len(saved["inputs"]["tracks"]) == saved["lengths"]["tracks"].sum()
    assert list(run.glob("ckpts/*.ckpt")) == []


def test_the_task_and_the_batch_are_named_and_the_weights_are_those_before_the_step(fit, module, monkeypatch, tmp_path):
    spoil(monkeypatch, module, 2, lambda total: total + float("inf"))
    with pytest.raises(
        NotFiniteError, match=r"the loss is not finite: bad \(inf\) in batch 2 of the training of epoch 0"
    ):
        fit(FiniteCheck())
    assert all(bool(p.isfinite().all()) for p in module.parameters())
    saved = torch.load(tmp_path / "bad_batch.pt", weights_only=True)
    assert saved["losses"] == {"bad": float("inf")}
    assert len(saved["index"]) == 500


def test_gradients_that_are_not_finite_stop_the_run_before_they_spoil_the_weights(fit, module, monkeypatch):
    spoil(monkeypatch, module, 1, Spoil.apply)
    with pytest.raises(NotFiniteError, match=r"gradients are not finite, though all losses are, in batch 1") as error:
        fit(FiniteCheck())
    assert all(bool(p.isfinite().all()) for p in module.parameters())
    assert "gradients: not finite: model" in str(error.value)


def test_a_late_look_names_the_batch_before(fit, module, monkeypatch):
    spoil(monkeypatch, module, 1, lambda total: total * float("nan"))
    with pytest.raises(NotFiniteError, match=r"bad \(nan\) in batch 1 of the training of epoch 0") as error:
        fit(FiniteCheck(late=True))
    assert "the step was taken before it was looked at" in str(error.value)


def test_no_checkpoint_is_saved_of_a_step_that_was_not_looked_at(fit, module, monkeypatch, tmp_path):
    class Saving(lightning.Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            trainer.save_checkpoint(tmp_path / f"{batch_idx}.ckpt")

    spoil(monkeypatch, module, 1, lambda total: total * float("nan"))
    monkeypatch.setattr(lightning.Trainer, "__init__", _with(Saving(), lightning.Trainer.__init__))
    with pytest.raises(NotFiniteError, match="batch 1"):
        fit(FiniteCheck(late=True))
    assert [path.name for path in tmp_path.glob("*.ckpt")] == ["0.ckpt"]


def _with(callback, init):
    def made(self, *args, callbacks, **options):
        init(self, *args, callbacks=[*callbacks, callback], **options)

    return made


@pytest.mark.parametrize("late", [False, True])
def test_a_validation_is_looked_at_too(fit, module, monkeypatch, late):
    task = module.model.heads()[1]
    loss = task.loss
    monkeypatch.setattr(task, "loss", lambda *x: (loss(*x)[0] * (1 if module.training else float("nan")), loss(*x)[1]))
    with pytest.raises(NotFiniteError, match=r"bad \(nan\) in batch 0 of the validation of epoch 0"):
        fit(FiniteCheck(late), num_sanity_val_steps=0)


def test_micro_batches_are_looked_at(fit, module, monkeypatch):
    spoil(monkeypatch, module, 1, lambda total: total + float("inf"))
    with pytest.raises(NotFiniteError, match="batch 1 of the training"):
        fit(FiniteCheck(), accumulate_grad_batches=4)


def test_a_run_of_finite_losses_is_left_alone(fit, tmp_path):
    fit(FiniteCheck(late=True))
    assert not (tmp_path / "bad_batch.pt").exists()


def test_a_trial_saves_nothing(fit, module, monkeypatch, tmp_path):
    spoil(monkeypatch, module, 0, lambda total: total + float("inf"))
    with pytest.raises(NotFiniteError) as error:
        fit(FiniteCheck(), fast_dev_run=3)
    assert "saved" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_some_jets_of_a_batch_keep_their_tracks_and_labels():
    tracks = Ragged.from_lengths(torch.arange(6.0)[:, None], torch.tensor([1, 0, 3, 2]))
    labels = {"jets": {"a": torch.arange(4)}, "tracks": {"b": torch.arange(6)}}
    part = subset(
        Batch({"jets": torch.arange(4.0)[:, None], "tracks": tracks}, labels, torch.arange(4)), torch.tensor([1, 3])
    )
    assert part.inputs["jets"].flatten().tolist() == [1, 3]
    assert part.inputs["tracks"].values.flatten().tolist() == [4, 5]
    assert part.inputs["tracks"].segments.lengths.tolist() == [0, 2]
    assert (part.labels["jets"]["a"].tolist(), part.labels["tracks"]["b"].tolist()) == ([1, 3], [4, 5])
    assert part.index.tolist() == [1, 3]


@pytest.mark.slow
def test_all_ranks_stop_where_one_meets_what_is_not_finite(bad_file, tmp_path):
    options = ["--data.train_file=mine/sample.h5", "--data.val_file=mine/sample.h5", "--data.batch_size=400"]
    dicts = ["--data.norm_dict=mine/norm_dict.yaml", "--data.class_dict=mine/class_dict.yaml"]
    more = ["--trainer.num_sanity_val_steps=0", "--trainer.devices=2", "-ls", "bad"]
    command = [sys.executable, "-m", "salt", "fit", "--config", "gnn.yaml", *options, *dicts, *more]
    environment = {k: v for k, v in os.environ.items() if k not in {"LOCAL_RANK", "RANK", "WORLD_SIZE"}}
    found = subprocess.run(
        command, cwd=tmp_path, env=environment | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=200
    )
    assert found.returncode == 2, found.stderr
    assert found.stderr.count("salt: error:") == 2
    assert "the loss is not finite" in found.stderr
    assert list(Path(tmp_path).glob("logs/*/*bad_batch.pt"))
