import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import multiclass_calibration_error

from salt.metrics.classification import Calibrated, Classification, Flavours, Origins
from salt.metrics.monitor import MIN_JETS
from salt.metrics.options import FLAVOUR_TAGGING, Discriminant, MetricOptions
from salt.report import metrics as report
from salt.report.command import parser

NAMES = ["bjets", "cjets", "ujets", "taujets"]


def truth(labels):
    return labels["label"]


@pytest.fixture
def answers():
    """Logits and classes of 3000 jets, and each jet's bin."""
    generator = torch.Generator().manual_seed(3)
    classes = torch.randint(0, 4, (3000,), generator=generator)
    raw = torch.randn(3000, 4, generator=generator) + 1.5 * torch.nn.functional.one_hot(classes, 4)
    return raw, classes, torch.randint(0, 4, (3000,), generator=generator)


def flavours(weight=None, discriminants=FLAVOUR_TAGGING, **options):
    return Flavours(truth, NAMES, weight, discriminants, MetricOptions(**options))


def filled(monitor, raw, classes, bins=None):
    monitor.add(raw, {"label": classes}, None, bins)
    return monitor


def test_accuracy_and_confusion_of_a_hand_made_case():
    raw = torch.eye(3)[[0, 1, 2, 2, 0] * 2]
    monitor = filled(Classification(truth, "abc"), raw, torch.tensor([0, 1, 2, 1, -1] * 2))
    assert monitor.counts["confusion"].tolist() == [[2, 0, 0], [0, 2, 2], [0, 0, 2]]
    assert monitor.figures() is not None
    assert filled(monitor, raw, torch.tensor([0, 1, 2, 1, -1] * 2)).figures() == {"accuracy": 0.75}


@pytest.mark.parametrize("make", [flavours, lambda: Calibrated(truth, NAMES, None), lambda: Origins(truth, NAMES)])
def test_figures_depend_neither_on_batches_nor_on_order(make, answers):
    raw, classes, _ = answers
    whole, parts = filled(make(), raw, classes), make()
    order = torch.randperm(3000, generator=torch.Generator().manual_seed(1))
    for rows in order.split(700):
        filled(parts, raw[rows], classes[rows])
    assert whole.figures() == parts.figures()


def test_areas_and_rejections_agree_with_the_report(answers):
    raw, classes, _ = answers
    logs = torch.log_softmax(raw.double(), -1).numpy()
    fraction = parser().parse_args(["RUN"]).fc
    scores = report.discriminant(logs[:, 0], logs[:, 1], logs[:, 2], fraction)
    found = filled(flavours(working_points=(0.6, 0.85)), raw, classes).figures()
    for number, name in ((1, "cjets"), (2, "ujets")):
        signal, background = (scores[classes.numpy() == k] for k in (0, number))
        assert found[f"auc_bjets_vs_{name}"] == pytest.approx(report.area(signal, background)[0], abs=1e-4)
        values = report.rejections(signal, background, np.array([0.6, 0.85])).value
        assert [found[f"rejection_{name}_at_{p}"] for p in (60, 85)] == pytest.approx(values, rel=0.01)


def test_a_flavour_tagger_has_few_figures_by_default():
    assert sorted(flavours().figures()) == [
        "accuracy", "auc_bjets_vs_cjets", "auc_bjets_vs_ujets", "auc_cjets_vs_ujets", "calibration_error",
        "rejection_cjets_at_70", "rejection_cjets_at_77", "rejection_ujets_at_70", "rejection_ujets_at_77",
    ]  # fmt: skip


def test_other_discriminants_can_be_asked_for(answers):
    wanted = [Discriminant("bjets", {"ujets": 1.0}), Discriminant("taujets", {"ujets": 1.0, "bjets": 0.0})]
    found = filled(flavours(discriminants=wanted, working_points=(0.775,)), *answers[:2]).figures()
    rejections = [name for name in found if "rejection" in name]
    assert rejections == [
        "rejection_ujets_at_77.5",
        "rejection_ujets_at_77.5_for_taujets",
        "rejection_bjets_at_77.5_for_taujets",
    ]
    raw, classes, _ = answers
    scores = (raw[:, 3] - raw[:, 2]).numpy()
    exact = report.area(scores[classes == 3], scores[classes == 0])[0]
    assert found["auc_taujets_vs_bjets"] == pytest.approx(exact, abs=1e-4)


def test_bins_in_momentum_hold_their_own_jets_and_all_jets_count_in_the_whole(answers):
    raw, classes, bins = answers
    found = filled(flavours(pt_bins=(20, 60, 250)), raw, classes, bins).figures()
    of_first = filled(flavours(), raw[bins == 0], classes[bins == 0]).figures()
    assert found["auc_bjets_vs_ujets_pt_20_60"] == of_first["auc_bjets_vs_ujets"]
    assert found["rejection_cjets_at_70_pt_20_60"] == of_first["rejection_cjets_at_70"]
    assert found["auc_bjets_vs_ujets"] == filled(flavours(), raw, classes).figures()["auc_bjets_vs_ujets"]


def test_calibration_errors_are_those_of_torchmetrics(answers):
    raw, classes, _ = answers
    exact = multiclass_calibration_error(3 * raw, classes, num_classes=4, n_bins=15, norm="l1")
    found = filled(Calibrated(truth, NAMES, None), 3 * raw, classes).figures()
    assert found["calibration_error"] == pytest.approx(float(exact), abs=1e-6)


def test_class_weights_count_as_that_many_jets(answers):
    raw, classes, _ = answers
    twice = classes == 2
    weighted = filled(Calibrated(truth, NAMES, torch.tensor([1.0, 1.0, 2.0, 1.0])), raw, classes).figures()
    doubled = filled(
        Calibrated(truth, NAMES, None), torch.cat([raw, raw[twice]]), torch.cat([classes, classes[twice]])
    ).figures()
    assert weighted["calibration_error"] == pytest.approx(doubled["calibration_error"], abs=1e-6)


def test_the_mean_area_is_that_of_each_class_against_all_others(answers):
    raw, classes, _ = answers
    probabilities = raw.softmax(-1).numpy()
    exact = [report.area(probabilities[classes == k, k], probabilities[classes != k, k])[0] for k in range(4)]
    assert filled(Origins(truth, NAMES), raw, classes).figures()["auc"] == pytest.approx(np.mean(exact), abs=1e-5)


def test_what_is_nearly_certain_is_still_ordered():
    classes = torch.arange(100) % 2
    raw = torch.stack([torch.zeros(100), torch.linspace(5, 13, 100) + classes], -1)
    ours = filled(Origins(truth, "ab"), raw, classes).figures()["auc"]
    scores = raw[:, 1].numpy()
    assert ours == pytest.approx(report.area(scores[classes == 1], scores[classes == 0])[0], abs=1e-3)


def test_without_jets_of_a_class_its_figures_are_absent_and_the_others_there(answers):
    raw, classes, _ = answers
    kept = classes != 1
    found = filled(flavours(), raw[kept], classes[kept]).figures()
    assert {name for name, value in found.items() if value is None} == {name for name in found if "cjets" in name}


def test_nothing_at_all_has_no_figures():
    for monitor in (flavours(pt_bins=(20, 60)), Origins(truth, NAMES), Calibrated(truth, NAMES, None)):
        filled(monitor, torch.empty(0, 4), torch.empty(0, dtype=torch.int64))
        assert set(monitor.figures().values()) == {None}


def test_figures_begin_where_there_are_enough_jets():
    raw = torch.eye(4)[[0, 2] * MIN_JETS]
    classes = torch.tensor([0, 2] * MIN_JETS)
    few = filled(flavours(), raw[:-1], classes[:-1]).figures()
    assert few["auc_bjets_vs_ujets"] is None
    assert filled(flavours(), raw, classes).figures()["auc_bjets_vs_ujets"] == 1.0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"working_points": (70,)}, "metrics.working_points: 70 is no efficiency"),
        ({"pt_bins": (60, 20)}, "no rising edges"),
        ({"pt_bins": (60,)}, "no rising edges"),
        ({"discriminants": {"bjets": {"cjets": 0}}}, "metrics.discriminants.bjets"),
        ({"discriminants": {"bjets": {}}}, "metrics.discriminants.bjets"),
    ],
)
def test_senseless_options_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        MetricOptions(**options)
