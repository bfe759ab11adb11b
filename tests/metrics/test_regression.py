import numpy as np
import pytest
import torch

from salt.metrics.regression import Regression


def values(raw, labels, layout):
    return raw, labels["pt"]


def filled(raw, true, is_relative=True):
    monitor = Regression(values, is_relative)
    monitor.add(raw, {"pt": true}, None, None)
    return monitor


@pytest.fixture
def answers():
    generator = torch.Generator().manual_seed(2)
    true = 10 + 100 * torch.rand(20_000, generator=generator)
    return true * (1.03 + 0.1 * torch.randn(20_000, generator=generator)), true


def test_resolution_and_bias_are_quantiles_of_the_residuals(answers):
    residuals = ((answers[0] - answers[1]) / answers[1]).double().numpy()
    low, median, high = np.quantile(residuals, [0.158655, 0.5, 0.841345])
    found = filled(*answers).figures()
    assert found["resolution"] == pytest.approx((high - low) / 2, rel=2e-3)
    assert found["bias"] == pytest.approx(median, rel=2e-3)


def test_absolute_residuals_have_the_unit_of_the_target(answers):
    found = filled(answers[1] - 5.0, answers[1], is_relative=False).figures()
    assert found["bias"] == pytest.approx(-5.0, rel=2e-3)


def test_figures_depend_neither_on_batches_nor_on_order(answers):
    order = torch.randperm(20_000, generator=torch.Generator().manual_seed(1))
    parts = Regression(values)
    for rows in order.split(3000):
        parts.add(answers[0][rows], {"pt": answers[1][rows]}, None, None)
    assert parts.figures() == filled(*answers).figures()


def test_what_has_no_truth_does_not_count(answers):
    raw, true = (torch.cat([x, torch.full((500,), fill)]) for x, fill in zip(answers, (1.0, float("nan")), strict=True))
    assert filled(raw, true).figures() == filled(*answers).figures()


def test_a_few_wild_answers_do_not_matter(answers):
    raw = answers[0].clone()
    raw[:10] = 1e30
    assert filled(raw, answers[1]).figures()["resolution"] == pytest.approx(
        filled(*answers).figures()["resolution"], rel=0.01
    )


def test_too_few_answers_have_no_figures():
    assert filled(torch.ones(9), torch.ones(9)).figures() == {"resolution": None, "bias": None}


def test_perfect_answers_have_no_width_and_no_bias():
    assert filled(torch.ones(90), torch.ones(90)).figures() == pytest.approx({"resolution": 0, "bias": 0}, abs=2e-6)
