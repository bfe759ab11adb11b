"""Numbers by hand, for two or three jets."""

import math

import pytest
import torch
from torch import nn

from salt.metrics.options import MetricOptions
from salt.models import ClassificationTask


def task(outputs=2, label="flavour", **options):
    torch.manual_seed(1)
    return ClassificationTask("task", "jets", label, {"input_size": 4, "output_size": outputs}, **options).double()


def raw(*rows):
    return torch.tensor(rows, dtype=torch.float64, requires_grad=True)


def labels(*values, **more):
    return {"flavour": torch.tensor(values), **{k: torch.tensor(v, dtype=torch.float64) for k, v in more.items()}}


def mean(total_and_count):
    total, count = total_and_count
    return float((total / count).detach())


LOGITS = raw([0.0, math.log(3)], [math.log(4), 0.0])
"""Probabilities 1/4, 3/4 and 4/5, 1/5."""


def test_the_loss_is_the_cross_entropy():
    assert mean(task().loss(LOGITS, labels(0, 1), None)) == pytest.approx((math.log(4) + math.log(5)) / 2)


def test_class_weights_weigh_sum_and_count():
    learner = task(loss=nn.CrossEntropyLoss(weight=torch.tensor([1.0, 3.0])))
    assert mean(learner.loss(LOGITS, labels(0, 1), None)) == pytest.approx((math.log(4) + 3 * math.log(5)) / 4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_class_weights_stay_exact_in_a_model_of_16_bits(dtype):
    model = task(loss=nn.CrossEntropyLoss(weight=torch.tensor([1.001, 3.003]))).to(dtype)
    assert model.net.net[0].weight.dtype is dtype
    total, count = model.loss(raw([1.0, 2.0], [0.5, -1.0]).to(dtype), labels(0, 1), None)
    assert count.item() == pytest.approx(1.001 + 3.003, abs=1e-6)
    assert total.dtype is torch.float32


def test_class_weights_are_double_in_a_model_that_is():
    model = task(loss=nn.CrossEntropyLoss(weight=torch.tensor([1.0, 3.0]))).double()
    assert model.loss(raw([1.0, 2.0]).double(), labels(0), None)[0].dtype is torch.float64


def test_smoothing_mixes_in_all_classes():
    learner = task(loss=nn.CrossEntropyLoss(label_smoothing=0.5))
    assert mean(learner.loss(LOGITS[:1], labels(1), None)) == pytest.approx(0.75 * math.log(4 / 3) + 0.25 * math.log(4))


def test_what_has_no_class_has_no_loss_and_no_gradient():
    x = raw([0.0, math.log(3)], [1.0, 2.0])
    total, count = task().loss(x, labels(0, -2), None)
    total.backward()
    assert (float(total.detach()), int(count)) == (pytest.approx(math.log(4)), 1)
    assert x.grad[1].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("loss", ["CrossEntropyLoss", "BCEWithLogitsLoss"])
@pytest.mark.parametrize("sample_weight", [None, "w"])
@pytest.mark.parametrize("rows", [0, 2])
def test_nothing_to_learn_from_gives_no_loss(loss, sample_weight, rows):
    outputs = 2 if loss == "CrossEntropyLoss" else 1
    x = torch.zeros(rows, outputs, dtype=torch.float64, requires_grad=True)
    total, count = task(outputs, loss=loss, sample_weight=sample_weight).loss(
        x, labels(*[-1] * rows, w=[1.0] * rows), None
    )
    total.backward()
    assert (float(total.detach()), int(count), float(x.grad.abs().sum())) == (0.0, 0, 0.0)


def test_sample_weights_multiply_the_losses_and_not_the_count():
    learner = task(sample_weight="w")
    total, count = learner.loss(raw(*LOGITS.tolist(), [9.0, 0.0]), labels(0, 1, -1, w=[0.5, 2.0, 7.0]), None)
    assert float(total.detach()) == pytest.approx(0.5 * math.log(4) + 2 * math.log(5))
    assert int(count) == 2
    assert learner.required_labels() == ["flavour", "w"]


def test_sample_weights_go_with_class_weights():
    learner = task(sample_weight="w", loss=nn.CrossEntropyLoss(weight=torch.tensor([1.0, 3.0])))
    total, count = learner.loss(LOGITS, labels(0, 1, w=[0.5, 2.0]), None)
    assert float(total.detach()) == pytest.approx(0.5 * math.log(4) + 3 * 2 * math.log(5))
    assert int(count) == 2


def test_values_that_the_map_does_not_name_stay_as_they_are():
    learner = task(3, label_map={-2: 2, 5: 1, 15: -1}, class_names=["a", "b", "c"])
    assert learner.classes(torch.tensor([0, 1, -2, 5, 15, -1, -7])).tolist() == [0, 1, 2, 1, -1, -1, -1]


def test_values_are_mapped_all_at_once():
    learner = task(3, label_map={0: 1, 1: 2, 2: 0}, class_names=["a", "b", "c"])
    assert learner.classes(torch.tensor([0, 1, 2])).tolist() == [1, 2, 0]


def test_a_value_without_class_is_named():
    learner = task(label_map={5: 0, 4: 1}, class_names=["b", "c"])
    with pytest.raises(
        ValueError, match="label flavour of 'jets' has the value 15, but task 'task' knows the classes 0 to 1"
    ):
        learner.loss(LOGITS, labels(5, 15), None)


def test_objects_have_classes_too():
    classes = {"flavour": torch.tensor([[0, 1]])}
    assert mean(task().loss(LOGITS[None], classes, None)) == pytest.approx((math.log(4) + math.log(5)) / 2)


def test_classes_of_the_truth_source_have_names():
    names = task(7, label="ftagTruthSourceLabel").class_names
    assert (names[0], names[3], names[-1]) == ("NoTruth", "StrangeMesonDecay", "Other")


def test_the_number_of_outputs_is_that_of_the_classes_where_it_is_left_out():
    learner = ClassificationTask("task", "jets", "flavour", {"input_size": 4}, class_names=["b", "c", "u"])
    assert learner.net.output_size == 3


# --- one class against all else -------------------------------------------------------------------------------------


ONE = raw([math.log(3)], [0.0])
"""Probabilities 3/4 and 1/2."""


def one(**options):
    return task(1, loss="BCEWithLogitsLoss", class_names=["bjets"], **options)


def test_one_class_has_a_binary_cross_entropy():
    assert mean(one().loss(ONE, labels(1, 0), None)) == pytest.approx((math.log(4 / 3) + math.log(2)) / 2)


def test_one_class_has_one_probability():
    assert {k: v.tolist() for k, v in one().outputs(ONE, {}, None).items()} == {"pb": [pytest.approx(0.75), 0.5]}


def test_a_label_may_be_a_probability():
    total, _ = one().loss(ONE[:1], labels(0.25), None)
    assert float(total.detach()) == pytest.approx(0.25 * math.log(4 / 3) + 0.75 * math.log(4))


def test_what_has_no_class_is_left_out_of_one_class_too():
    total, count = one().loss(ONE, labels(1.0, -1.0), None)
    assert (float(total.detach()), int(count)) == (pytest.approx(math.log(4 / 3)), 1)


def test_a_positive_weight_is_that_of_torch():
    learner = task(1, loss=nn.BCEWithLogitsLoss(pos_weight=torch.tensor(3.0)), class_names=["b"])
    assert mean(learner.loss(ONE, labels(1, 0), None)) == pytest.approx((3 * math.log(4 / 3) + math.log(2)) / 2)


def test_one_class_is_monitored_against_all_else():
    generator = torch.Generator().manual_seed(2)
    truth = torch.randint(0, 2, (4000,), generator=generator)
    scores = (2.0 * truth + torch.randn(4000, generator=generator))[:, None]
    monitor = one().monitor(MetricOptions(), True)
    monitor.add(scores - 1, {"flavour": truth}, None, None)
    found = monitor.figures()
    assert found["accuracy"] == pytest.approx(0.841, abs=0.02)
    assert found["auc"] == pytest.approx(0.921, abs=0.02)  # of two Gaussians two widths apart
    assert one().confusion().class_names == ["not bjets", "bjets"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"outputs": 2, "loss": "BCEWithLogitsLoss"}, "for one class against all else, but there are 2"),
        ({"loss": "MSELoss"}, "loss MSELoss is not known for classification"),
        ({"class_names": ["a", "b", "c"]}, r"3 classes \(a, b, c\) for dense_config.output_size 2"),
    ],
)
def test_what_does_not_fit_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        task(**options)


def test_labels_of_one_class_are_0_and_1():
    one().check_labels({"flavour": (0, 1)})
    with pytest.raises(ValueError, match="has the value 2"):
        one().check_labels({"flavour": (0, 2)})
