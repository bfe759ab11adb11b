import math

import pytest
import torch

from salt.tasks.scaling import Normal, Ratio, RegressionTargetScaler, make_scales

X = torch.tensor([0.5, 1.0, 3.0], dtype=torch.float64)
OPTIONS = {"x_scale": 2.0, "x_off": 3.0, "op_scale": 5.0, "op_off": 7.0}


@pytest.mark.parametrize(
    ("op", "function"), [("log", torch.log), ("exp", torch.exp), ("linear", lambda x: x)], ids=["log", "exp", "linear"]
)
def test_a_scaler_is_a_function_of_a_line_on_a_line(op, function):
    scaler = RegressionTargetScaler({"pt": {"op": op, **OPTIONS}})
    torch.testing.assert_close(scaler.scale("pt", X), 5 * function(2 * X + 3) + 7)


@pytest.mark.parametrize("op", ["log", "exp", "linear"])
def test_the_inverse_gives_back_what_was_scaled(op):
    scaler = RegressionTargetScaler({"pt": {"op": op, **OPTIONS}})
    torch.testing.assert_close(scaler.inverse("pt", scaler.scale("pt", X)), X)


def test_scales_and_offsets_change_nothing_by_default():
    assert torch.equal(RegressionTargetScaler({"pt": {"op": "linear"}}).scale("pt", X), X)


@pytest.mark.parametrize(
    ("scales", "message"),
    [
        (
            {"pt": {"op": "lgo"}},
            "unknown op 'lgo' in the scales of a RegressionTargetScaler, target 'pt'; nearest: log",
        ),
        ({"pt": {"op": "log", "xscale": 1}}, "unknown key 'xscale' .*; nearest: x_scale"),
        ({"pt": {"op": "log", "op_scale": 0}}, "x_scale and op_scale must not be 0"),
    ],
)
def test_a_wrong_scale_is_refused(scales, message):
    with pytest.raises(ValueError, match=message):
        RegressionTargetScaler(scales)


def test_a_target_without_scale_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match=r"unknown target 'Pt' .*; nearest: pt"):
        make_scales(["Pt"], None, None, RegressionTargetScaler({"mass": {}, "pt": {}}))


def test_mean_and_width_are_taken_off_and_put_on():
    scale = Normal(mean=2.0, std=4.0)
    assert scale.learnt(torch.tensor(10.0), {}) == 2.0
    assert scale.physical(torch.tensor(2.0), {}) == 10.0
    assert scale.width(torch.tensor(0.5), {}) == 2.0


def test_a_ratio_needs_its_column_and_stays_one_without():
    scale, columns = Ratio("pt"), {"pt": torch.tensor([10.0, -4.0])}
    assert scale.learnt(torch.tensor([5.0, 2.0]), columns).tolist() == [0.5, -0.5]
    assert scale.physical(torch.tensor([0.5, -0.5]), columns).tolist() == [5.0, 2.0]
    assert scale.width(torch.tensor([0.5, 0.5]), columns).tolist() == [5.0, 2.0]
    assert scale.physical(torch.tensor([0.5]), {}).tolist() == [0.5]


def test_each_target_has_its_own_mean_and_width():
    first, second = make_scales(["a", "b"], None, {"mean": [1, 2], "std": [3, 4]}, None)
    assert first.physical(torch.tensor(1.0), {}) == 4.0
    assert second.physical(torch.tensor(1.0), {}) == 6.0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("d", {"mean": 0, "std": 1}, None), "target_denominators and norm_params are given, but .* one way"),
        (("d", None, None), r"target_denominators has 1 entries for 2 targets \(a, b\)"),
        ((None, {"mean": [0, 1], "std": 1}, None), "norm_params.std has 1 entries for 2 targets"),
        ((None, {"mean": [0, 1], "sdt": [1, 1]}, None), "unknown key 'sdt' in norm_params; nearest: std"),
        ((None, {"mean": [0, 1], "std": [1, 0]}, None), "std must not be 0"),
        ((None, {"mean": [0, math.nan], "std": [1, 1]}, None), "both finite"),
    ],
)
def test_wrong_ways_to_scale_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        make_scales(["a", "b"], *given)
