"""The callbacks that watch a training, in fits of a small model on the sample."""

import csv
import json
import re
from datetime import datetime

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.loggers import CSVLogger

from salt.callbacks import (
    ConfusionMatrixCallback,
    GradientLogger,
    GradientLoggerCallback,
    PerformanceWriter,
    WeightLogger,
    WeightLoggerCallback,
)
from salt.callbacks.confusion import draw
from salt.callbacks.physics import PhysicsMetrics
from salt.cli.files import PACKAGED
from salt.data import SaltDataModule
from salt.models import ClassificationTask, GlobalAttentionPooling, SaltModel, VertexingTask
from salt.training.module import SaltModule
from salt.types import Schema

NAMES = ["bjets", "cjets", "ujets", "taujets"]
SCHEMA = Schema({"jets": ["pt_btagJes"], "tracks": ["d0", "z0SinTheta"]})


@pytest.fixture
def fit(tmp_path):
    def run(*callbacks, logger=False, **options):
        torch.manual_seed(1)
        net = {"input_size": 8, "output_size": 4}
        tasks = [
            ClassificationTask("tag", "jets", "flavour_label", net, class_names=NAMES),
            VertexingTask("vertex", "tracks", "ftagTruthVertexIndex", {"input_size": 16, "output_size": 1}),
        ]
        nets = [{"input_name": "tracks", "dense_config": {"output_size": 8, "hidden_layers": [4]}}]
        model = SaltModel(SCHEMA, nets, torch.nn.ModuleList(tasks), pool_net=GlobalAttentionPooling(8))
        module = SaltModule(model, norm_dict=PACKAGED / "norm_dict.yaml")
        sample = str(PACKAGED / "sample.h5")
        data = SaltDataModule(SCHEMA.variables, sample, sample, batch_size=500, labels=model.required_labels(), seed=3)
        quiet = dict.fromkeys(("enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
        options = {"max_epochs": 2, "accelerator": "cpu", "devices": 1, "log_every_n_steps": 1} | quiet | options
        trainer = lightning.Trainer(
            default_root_dir=tmp_path / "run", logger=logger, callbacks=list(callbacks), **options
        )
        trainer.fit(module, datamodule=data)
        return trainer

    return run


@pytest.fixture
def table(tmp_path):
    """A logger, and what it wrote: name -> values."""
    logger = CSVLogger(tmp_path, "", "csv")

    def read():
        logger.save()
        with (tmp_path / "csv" / "metrics.csv").open() as file:
            rows = list(csv.DictReader(file))
        return {name: [float(row[name]) for row in rows if row[name]] for name in rows[0]}

    return logger, read


# --- physics --------------------------------------------------------------------------------------------------------


def test_every_validation_logs_its_figures(fit, table):
    fit(PhysicsMetrics(), logger=table[0])
    logged = table[1]()
    for name in ("tag_auc_bjets_vs_ujets", "tag_rejection_cjets_at_70", "tag_calibration_error", "vertex_purity"):
        assert len(logged[f"val/{name}"]) == 2, name
    assert 0.5 < logged["val/tag_auc_bjets_vs_ujets"][-1] < 1


def test_figures_can_be_switched_off(fit):
    names = fit(PhysicsMetrics(enabled=False)).callback_metrics
    assert {name for name in names if name.startswith("val/")} == {"val/loss", "val/tag_loss", "val/vertex_loss"}


def test_bins_in_momentum_are_logged_on_request(fit):
    logged = fit(PhysicsMetrics(pt_bins=[20, 60]), max_epochs=1).callback_metrics
    assert "val/tag_auc_bjets_vs_ujets_pt_20_60" in logged


def test_what_there_are_too_few_jets_for_is_said_once_and_not_logged(fit, caplog):
    logged = fit(PhysicsMetrics(pt_bins=[3000, 6000])).callback_metrics
    assert "val/tag_accuracy" in logged
    assert not any("pt_3000" in name for name in logged)
    said = [record.getMessage() for record in caplog.records if "too little to tell" in record.getMessage()]
    assert len(said) == 1
    assert "val/tag_auc_bjets_vs_ujets_pt_3000_6000" in said[0]


def test_an_early_stopping_may_wait_for_a_figure(fit):
    stop = EarlyStopping("val/tag_auc_bjets_vs_ujets", mode="max", patience=1, min_delta=1.0)
    trainer = fit(PhysicsMetrics(), stop, max_epochs=5)
    assert trainer.current_epoch == 2


def test_an_early_stopping_that_waits_for_it_to_get_worse_is_refused(fit):
    with pytest.raises(ValueError, match="set mode to 'max'"):
        fit(PhysicsMetrics(), EarlyStopping("val/tag_auc_bjets_vs_ujets"))


def test_an_early_stopping_on_a_figure_that_is_not_there_is_refused_before_the_training(fit):
    with pytest.raises(ValueError, match="unknown metric 'val/tag_auc_bjets_vs_hjets'"):
        fit(PhysicsMetrics(), EarlyStopping("val/tag_auc_bjets_vs_hjets", mode="max"))


# --- gradients and weights ------------------------------------------------------------------------------------------


def test_gradients_are_logged_under_upstreams_names(fit, table):
    fit(GradientLogger(3), logger=table[0])
    logged = table[1]()
    assert len(logged["gradient_total_magnitude"]) == 3  # steps 0, 3, 6 of 8
    assert logged["gradient_total_magnitude"][0] > logged["gradient_average_magnitude"][0] > 0
    assert {
        "gradients_grad/model.tasks.0.net.net.0.weight_mean",
        "gradients_grad/model.tasks.0.net.net.0.bias_std",
    } <= {*logged}


def test_weights_are_logged_under_upstreams_names(fit, table):
    trainer = fit(WeightLogger(4), logger=table[0])
    logged = table[1]()
    for name, p in trainer.lightning_module.state_dict().items():
        if f"weights_weights/{name}_mean" in logged:
            assert logged[f"weights_weights/{name}_mean"][1] == pytest.approx(float(p.mean()))
            assert logged[f"weights_weights/{name}_std"][1] == pytest.approx(float(p.std()) if p.numel() > 1 else 0)
    assert len(logged) > 2 * 10


def test_accumulated_batches_are_one_step_of_the_weights(fit, table):
    fit(WeightLogger(1), logger=table[0], accumulate_grad_batches=2)
    assert all(len(v) == 4 for name, v in table[1]().items() if name.startswith("weights"))


def test_without_a_logger_nothing_is_measured(fit):
    fit(GradientLogger(1), WeightLogger(1))


def test_upstreams_names_of_these_are_known():
    assert (GradientLoggerCallback, WeightLoggerCallback) == (GradientLogger, WeightLogger)
    assert (GradientLoggerCallback().log_every_n_steps, WeightLoggerCallback().log_every_n_steps) == (50, 50)


def test_every_zero_steps_is_refused():
    for of in (GradientLogger, WeightLogger):
        with pytest.raises(ValueError, match="log_every_n_steps"):
            of(0)


# --- performance ----------------------------------------------------------------------------------------------------


def test_the_performance_file_has_the_metrics_of_each_epoch(fit, tmp_path):
    trainer = fit(PhysicsMetrics(), PerformanceWriter(add_metrics=["val/tag_accuracy"]))
    lines = [json.loads(line) for line in (tmp_path / "run" / "performance_metric.json").read_text().splitlines()]
    assert [list(line) for line in lines] == [["epoch", "train/loss", "val/loss", "val/tag_accuracy", "timestamp"]] * 2
    assert [line["epoch"] for line in lines] == [0, 1]
    assert all(datetime.fromisoformat(line["timestamp"]).tzinfo for line in lines)  # else Katib knows no time
    assert lines[1]["val/loss"] == f"{float(trainer.callback_metrics['val/loss']):.5f}"


def test_katib_finds_the_metrics_on_standard_output(fit, tmp_path, capsys):
    fit(PerformanceWriter(str(tmp_path / "there"), ["val/tag_loss"], std_out=True), max_epochs=1)
    lines = capsys.readouterr().out.splitlines()
    start = lines.index("epoch 0:")
    names = [line.partition("=")[0] for line in lines[start + 1 : start + 4]]
    assert names == ["train/loss", "val/loss", "val/tag_loss"]
    assert (tmp_path / "there" / "performance_metric.json").is_file()


KATIB = [r"([\w|-]+)\s*=\s*([+-]?\d*(\.\d+)?([Ee][+-]?\d+)?)", r"([\w|-]+)\s*=\s*((-?\d+)(\.\d+)?)"]
"""DefaultFilter of Katib, today's and an older one (pkg/metricscollector/v1beta1/common/const.go)."""


def collected(lines, wanted, katib):
    """What Katib's collector makes of lines: name, value, and whether there is a time."""
    for line in lines:
        first, _, rest = line.partition(" ")
        for found in re.finditer(katib, line):
            if found[1] in wanted:
                try:
                    has_time = bool(rest) and datetime.fromisoformat(first).tzinfo is not None
                except ValueError:
                    has_time = False
                yield found[1], found[2], has_time


@pytest.mark.parametrize("katib", KATIB)
def test_katib_with_its_default_filter_tells_validation_and_training_apart(fit, capsys, katib):
    trainer = fit(PhysicsMetrics(), PerformanceWriter(add_metrics=["val/tag_accuracy"], std_out=True))
    lines = capsys.readouterr().out.splitlines()
    found = list(collected(lines, {"val_loss", "train_loss", "val_tag_accuracy"}, katib))
    assert [name for name, _, _ in found] == ["train_loss", "val_loss", "val_tag_accuracy"] * 2
    assert all(has_time for _, _, has_time in found)
    assert found[-2][1] == f"{float(trainer.callback_metrics['val/loss']):.5f}"


def test_a_metric_that_nobody_logs_is_said_once_and_left_out(fit, caplog, tmp_path):
    fit(PerformanceWriter(add_metrics=["val/tag_acuracy"]))
    assert sum("unknown metric 'val/tag_acuracy'" in record.getMessage() for record in caplog.records) == 1
    assert "acuracy" not in (tmp_path / "run" / "performance_metric.json").read_text()


def test_a_trial_writes_no_performance_and_no_picture(fit, tmp_path):
    fit(PerformanceWriter(), ConfusionMatrixCallback("tag"), fast_dev_run=2)
    assert not (tmp_path / "run").exists()


# --- confusion ------------------------------------------------------------------------------------------------------


def test_each_validation_draws_a_confusion_matrix(fit, tmp_path):
    fit(ConfusionMatrixCallback("tag", {"bjets": "b jets"}))
    files = sorted((tmp_path / "run" / "figures").iterdir())
    assert [file.name for file in files] == ["confusion_tag_epoch=000.png", "confusion_tag_epoch=001.png"]
    assert files[0].read_bytes()[:4] == b"\x89PNG"


def test_a_logger_that_shows_pictures_gets_it(fit, tmp_path):
    pytest.importorskip("tensorboard")
    from lightning.pytorch.loggers import TensorBoardLogger
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logger = TensorBoardLogger(tmp_path, "", "tb")
    fit(ConfusionMatrixCallback("tag"), logger=logger)
    events = EventAccumulator(str(tmp_path / "tb"), size_guidance={"images": 0}).Reload()
    assert len(events.Images("confusion_tag")) == 2


def test_the_picture_says_names_shares_and_counts():
    figure = draw(torch.tensor([[3, 1], [0, 0]]).numpy(), ["b", "light"])
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ["75.0 %\n3", "25.0 %\n1", "0.0 %\n0", "0.0 %\n0"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["b", "light"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("tga",), "unknown task 'tga'.*'?tag'?"),
        (("vertex",), "unknown task 'vertex'"),
        (("tag", ["b", "c"]), "has 2 names, but task 'tag' has the 4 classes"),
        (("tag", {"bjet": "b"}), "unknown class 'bjet'"),
    ],
)
def test_wrong_names_are_refused(fit, arguments, words):
    with pytest.raises(ValueError, match=words):
        fit(ConfusionMatrixCallback(*arguments))
