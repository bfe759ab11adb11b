"""Numbers by hand, for two or three jets."""

import math

import pytest
import torch
from torch import nn

from salt.metrics.options import MetricOptions
from salt.models import GaussianRegressionTask, RegressionTask
from salt.tasks.scaling import RegressionTargetScaler

NAN = math.nan


def column(*values):
    return torch.tensor(values, dtype=torch.float64)


def task(targets="pt", kind=RegressionTask, **options):
    torch.manual_seed(1)
    return kind("task", "jets", targets, {"input_size": 4}, **options).double()


def raw(*rows):
    return torch.tensor(rows, dtype=torch.float64, requires_grad=True)


def mean(total_and_count):
    total, count = total_and_count
    return float((total / count).detach())


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (None, (4 + 9) / 2),
        ("MSELoss", (4 + 9) / 2),
        ("L1Loss", (2 + 3) / 2),
        (nn.HuberLoss(delta=2.0), (2 + 4) / 2),  # 2 ** 2 / 2 where |x| <= 2, else 2 (|x| - 1)
        (nn.SmoothL1Loss(beta=1.0, reduction="none"), (1.5 + 2.5) / 2),
    ],
)
def test_the_loss_is_that_of_torch(loss, expected):
    assert mean(task(loss=loss).loss(raw([1.0], [5.0]), {"pt": column(3.0, 2.0)}, None)) == expected


def test_targets_that_are_no_number_are_left_out_of_sum_and_count():
    x = raw([1.0, 7.0], [5.0, 1.0], [2.0, 2.0])
    labels = {"a": column(3.0, NAN, math.inf), "b": column(NAN, 4.0, -math.inf)}
    total, count = task(["a", "b"]).loss(x, labels, None)
    assert (float(total.detach()), int(count)) == (4 + 9, 2)
    total.backward()
    assert x.grad.tolist() == [[-4.0, 0.0], [0.0, -6.0], [0.0, 0.0]]


@pytest.mark.parametrize("kind", [RegressionTask, GaussianRegressionTask])
def test_a_batch_without_any_target_gives_no_loss_and_no_gradient(kind):
    x = torch.full((2, 1 if kind is RegressionTask else 2), 1e30, requires_grad=True)
    total, count = task(kind=kind).loss(x, {"pt": column(NAN, NAN)}, None)
    total.backward()
    assert (float(total.detach()), int(count), x.grad.abs().sum()) == (0.0, 0, 0.0)


@pytest.mark.parametrize("kind", [RegressionTask, GaussianRegressionTask])
def test_a_batch_without_any_row_gives_no_loss(kind):
    width = 1 if kind is RegressionTask else 2
    total, count = task(kind=kind).loss(torch.empty(0, width, requires_grad=True), {"pt": column()}, None)
    assert (float(total.detach()), int(count)) == (0.0, 0)


def test_ratios_are_learnt_and_values_are_given():
    learner = task(target_denominators="pt_reco")
    labels = {"pt": column(30.0, 50.0), "pt_reco": column(10.0, 100.0)}
    assert mean(learner.loss(raw([2.0], [1.5]), labels, None)) == (1 + 1) / 2
    assert learner.outputs(raw([2.0], [1.5]), {"pt_reco": labels["pt_reco"]}, None)["pt"].tolist() == [20.0, 150.0]


def test_a_denominator_of_zero_leaves_a_target_out():
    labels = {"pt": column(30.0, 50.0, 0.0), "pt_reco": column(10.0, 0.0, 0.0)}
    total, count = task(target_denominators="pt_reco").loss(raw([2.0], [1.5], [1.0]), labels, None)
    assert (float(total.detach()), int(count)) == (1.0, 1)


def test_without_the_denominator_the_ratio_is_given():
    assert task(target_denominators="pt_reco").outputs(raw([2.0]), {}, None)["pt"].tolist() == [2.0]


def test_two_targets_have_each_their_own_denominator_and_name():
    learner = task(["a", "b"], target_denominators=["c", "d"], custom_output_names=["A", "B"])
    columns = {"c": column(10.0), "d": column(100.0)}
    assert mean(learner.loss(raw([1.0, 2.0]), {"a": column(20.0), "b": column(500.0), **columns}, None)) == (1 + 9) / 2
    assert {k: v.tolist() for k, v in learner.outputs(raw([1.0, 2.0]), columns, None).items()} == {
        "A": [10.0],
        "B": [200.0],
    }
    assert learner.required_labels() == ["a", "b", "c", "d"]
    assert learner.required_columns() == ["c", "d"]


def test_a_denominator_of_two_targets_is_asked_for_once():
    assert task(["a", "b"], target_denominators=["c", "c"]).required_columns() == ["c"]


def test_mean_and_width_are_taken_off_the_target_and_put_on_the_output():
    learner = task(norm_params={"mean": 10.0, "std": 5.0})
    assert mean(learner.loss(raw([1.0], [0.0]), {"pt": column(20.0, 10.0)}, None)) == 0.5
    assert learner.outputs(raw([1.0], [0.0]), {}, None)["pt"].tolist() == [15.0, 10.0]


def test_a_scaler_works_for_jets_and_for_objects():
    scaler = RegressionTargetScaler({"pt": {"op": "log", "op_scale": 0.5}, "deta": {"op": "linear", "x_off": 1.0}})
    learner = task(["pt", "deta"], scaler=scaler)
    jets = learner.outputs(raw([0.5, 3.0]), {}, None)
    assert {k: v.tolist() for k, v in jets.items()} == {"pt": [pytest.approx(math.e)], "deta": [2.0]}
    objects = raw([[0.5, 3.0], [0.0, 1.0]])
    assert learner.outputs(objects, {}, None)["pt"].tolist() == [[pytest.approx(math.e), 1.0]]
    labels = {"pt": torch.tensor([[1.0, 0.0]]), "deta": torch.tensor([[2.0, NAN]])}  # log(0) is left out
    total, count = learner.loss(objects, labels, None)
    assert (float(total.detach()), int(count)) == (0.25, 2)


def test_sample_weights_multiply_the_losses_and_not_the_count():
    learner = task(["a", "b"], sample_weight="w")
    labels = {"a": column(3.0, NAN), "b": column(0.0, 4.0), "w": column(0.5, 2.0)}
    total, count = learner.loss(raw([1.0, 1.0], [5.0, 5.0]), labels, None)
    assert (float(total.detach()), int(count)) == (0.5 * (4 + 1) + 2 * 1, 3)
    assert learner.required_labels() == ["a", "b", "w"]


def test_a_weight_that_is_no_number_does_not_matter_where_there_is_no_target():
    x = raw([1.0], [5.0])
    total, _ = task(sample_weight="w").loss(x, {"pt": column(3.0, NAN), "w": column(0.5, NAN)}, None)
    total.backward()
    assert (float(total.detach()), x.grad.tolist()) == (2.0, [[-2.0], [0.0]])


def test_targets_may_be_whole_numbers():
    assert mean(task().loss(raw([1.0]), {"pt": torch.tensor([3])}, None)) == 4.0


def test_raw_numbers_of_16_bits_give_values_and_losses_in_single_precision():
    learner, x = task(target_denominators="d"), torch.tensor([[1.5]], dtype=torch.bfloat16)
    (value,) = learner.outputs(x, {"d": torch.tensor([50_001.0])}, None).values()
    assert (value.dtype, float(value)) == (torch.float32, 75_001.5)
    assert learner.loss(x, {"pt": torch.tensor([1.0]), "d": torch.tensor([1.0])}, None)[0].dtype == torch.float32


# --- Gaussians ------------------------------------------------------------------------------------------------------


def inverse_softplus(y):
    return math.log(math.expm1(y))


TWO = {"kind": GaussianRegressionTask, "targets": ["a", "b"]}
ROW = [10.0, 20.0, inverse_softplus(4.0), inverse_softplus(9.0)]
"""Raw numbers: both means, then both variances, 4 and 9."""


def test_means_and_widths_of_two_targets_are_each_in_their_place():
    found = task(**TWO).outputs(raw(ROW), {}, None)
    assert {k: float(v.detach()) for k, v in found.items()} == pytest.approx(
        {"a": 10.0, "b": 20.0, "a_stddev": 2.0, "b_stddev": 3.0}
    )


def test_the_loss_is_the_negative_logarithm_of_the_gaussians():
    expected = (0.5 * (math.log(4) + 9 / 4) + 0.5 * (math.log(9) + 4 / 9)) / 2
    labels = {"a": column(13.0), "b": column(18.0)}
    assert mean(task(**TWO).loss(raw(ROW), labels, None)) == pytest.approx(expected)
    full = task(**TWO, loss=nn.GaussianNLLLoss(full=True))
    assert mean(full.loss(raw(ROW), labels, None)) == pytest.approx(expected + 0.5 * math.log(2 * math.pi))


def test_a_gaussian_without_target_has_no_gradient():
    x = raw(ROW)
    total, count = task(**TWO).loss(x, {"a": column(13.0), "b": column(NAN)}, None)
    total.backward()
    assert int(count) == 1
    assert (x.grad[0, [1, 3]] == 0).all()
    assert (x.grad[0, [0, 2]] != 0).all()


def test_widths_are_scaled_as_their_targets():
    norm = {"mean": [1.0, 2.0], "std": [10.0, 100.0]}
    found = task(**TWO, norm_params=norm).outputs(raw(ROW), {}, None)
    assert [float(v.detach()) for v in found.values()] == pytest.approx([101.0, 2002.0, 20.0, 300.0])
    ratios = task(**TWO, target_denominators=["c", "d"])
    found = ratios.outputs(raw(ROW), {"c": column(2.0), "d": column(-3.0)}, None)
    assert [float(v.detach()) for v in found.values()] == pytest.approx([20.0, -60.0, 4.0, 9.0])


def test_upstream_calls_gaussians_after_their_task():
    learner = task(**TWO, custom_output_names=["A", "B"])
    names = [learner.upstream_name(output, "GN2") for output in learner.outputs(raw(ROW), {}, None)]
    assert names == ["task_a", "task_b", "task_a_stddev", "task_b_stddev"]
    assert task().upstream_name("pt", "GN2") == "GN2_pt"


def test_the_smallest_variance_is_that_of_the_loss():
    total, _ = task(kind=GaussianRegressionTask).loss(raw([0.0, -800.0]), {"pt": column(0.0)}, None)
    assert float(total.detach()) == pytest.approx(0.5 * math.log(1e-6))


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "CrossEntropyLoss"}, "task 'task': CrossEntropyLoss gives no loss for each value"),
        ({"custom_output_names": ["a", "b"]}, r"task 'task': 2 custom_output_names for 1 targets \(pt\)"),
        ({"norm_params": {"mean": 0, "std": 0}}, "task 'task': norm_params: .* std must not be 0"),
        ({"kind": GaussianRegressionTask, "loss": "MSELoss"}, "loss MSELoss is not known for Gaussian regression"),
        (
            {"kind": GaussianRegressionTask, "scaler": RegressionTargetScaler({"pt": {}})},
            "a Gaussian does not stay one under a scaler",
        ),
    ],
)
def test_what_does_not_fit_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        task(**options)


def test_a_wrong_number_of_outputs_is_refused():
    with pytest.raises(
        ValueError, match=r"output_size is 3, but 2 targets \(a, b\) need 2: set it to 2, or leave it out"
    ):
        RegressionTask("task", "jets", ["a", "b"], {"input_size": 4, "output_size": 3})


# --- monitors -------------------------------------------------------------------------------------------------------


def test_each_target_has_a_resolution_and_a_bias_in_its_own_unit():
    learner = task(["a", "b"], target_denominators=["c", "d"])
    monitor = learner.monitor(MetricOptions(), True)
    rows = torch.full((100, 2), 2.0)
    labels = {"a": torch.full((100,), 13.0), "b": torch.full((100,), 40.0)}
    labels |= {"c": torch.full((100,), 10.0), "d": torch.full((100,), 10.0)}
    labels["b"][5:] = NAN
    monitor.add(rows, labels, None, None)
    found = monitor.figures()
    assert found["a_bias"] == pytest.approx(7.0, rel=2e-3)
    assert found["b_bias"] is None
    assert set(found) == {"a_resolution", "a_bias", "b_resolution", "b_bias"}


def test_pulls_of_a_right_gaussian_have_the_width_one():
    generator = torch.Generator().manual_seed(4)
    monitor = task(kind=GaussianRegressionTask, norm_params={"mean": 5.0, "std": 3.0}).monitor(MetricOptions(), True)
    rows = torch.tensor([1.0, inverse_softplus(4.0)]).expand(20_000, 2)  # 8 with a width of 6
    monitor.add(rows, {"pt": 8 + 6 * torch.randn(20_000, generator=generator)}, None, None)
    found = monitor.figures()
    assert found["pt_pull_width"] == pytest.approx(1.0, rel=0.02)
    assert found["pt_resolution"] == pytest.approx(6.0, rel=0.02)
    assert abs(found["pt_pull_bias"]) < 0.02
