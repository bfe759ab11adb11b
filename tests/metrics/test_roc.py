import numpy as np
import pytest
import torch
from scipy import stats

from salt.metrics import roc
from salt.report import metrics as report


@pytest.fixture
def scores():
    """Discriminants of signal and background, as a tagger's: wide, skewed, overlapping."""
    generator = np.random.default_rng(5)
    return generator.normal(2, 3, 20_000), generator.gumbel(-2, 1.5, 50_000)


def counts(values):
    return np.bincount(roc.score_bins(torch.from_numpy(values)).numpy(), minlength=roc.NUM_BINS)


def test_a_hand_counted_area():
    # signal 1, 1, 0 against background 0, 1: of 6 pairs 2 are ordered rightly, 3 are ties
    assert roc.area(np.array([1, 2]), np.array([1, 1])) == pytest.approx((2 + 0.5 * 3) / 6)


def test_hand_counted_rejections():
    signal, background = np.array([0, 2, 2]), np.array([6, 3, 1])
    # 25 % of the signal is half of the top bin: half a background jet of 10; 75 % takes that bin, and half of the next
    assert roc.rejections(signal, background, [0.25, 0.5, 0.75]) == pytest.approx([20, 10, 4])


def test_areas_agree_with_exact_ones(scores):
    signal, background = scores
    exact = stats.mannwhitneyu(signal, background).statistic / (len(signal) * len(background))
    assert roc.area(counts(signal), counts(background)) == pytest.approx(exact, abs=1e-5)


def test_areas_and_rejections_of_binned_scores_are_those_of_the_report(scores):
    signal, background = (roc.score_bins(torch.from_numpy(x)).numpy() for x in scores)
    points = np.array([0.3, 0.6, 0.7, 0.77, 0.85, 0.999])
    ours = [np.bincount(x, minlength=roc.NUM_BINS) for x in (signal, background)]
    assert roc.area(*ours) == pytest.approx(report.area(signal, background)[0], rel=1e-12)
    np.testing.assert_allclose(roc.rejections(*ours, points), report.rejections(signal, background, points).value)


def test_a_rejection_that_nothing_passes_is_the_limit_of_the_report():
    signal, background = np.array([5.0, 6.0, 7.0]), np.zeros(40)
    ours = roc.rejections(counts(signal), counts(background), [0.5])
    assert ours == pytest.approx(report.rejections(signal, background, np.array([0.5])).value)


def test_scores_beyond_the_limits_are_counted_in_the_outermost_bins():
    bins = roc.score_bins(torch.tensor([-float("inf"), -99.0, float("nan"), 99.0, float("inf")]))
    assert bins.tolist() == [0, 0, 0, roc.NUM_BINS - 1, roc.NUM_BINS - 1]


def test_no_background_has_no_area():
    assert np.isnan(roc.area(np.array([3, 4]), np.array([0, 0])))
