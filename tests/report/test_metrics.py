"""Numbers by hand, against counting, and at the edges."""

import numpy as np
import pytest

from salt.report.metrics import Ranking, area, discriminant, rejection_ratios, rejections


def test_the_discriminant_is_the_log_ratio_of_the_probabilities():
    found = discriminant(np.log([0.8]), np.log([0.1]), np.log([0.1]), 0.05)
    assert found == pytest.approx([np.log(0.8 / (0.05 * 0.1 + 0.95 * 0.1))])


@pytest.mark.parametrize(("fraction", "expected"), [(0.0, 0.8 / 0.15), (1.0, 0.8 / 0.05)])
def test_the_discriminant_takes_either_background_alone(fraction, expected):
    assert discriminant(np.log([0.8]), np.log([0.05]), np.log([0.15]), fraction) == pytest.approx([np.log(expected)])


def test_the_discriminant_of_a_jet_without_votes_is_zero():
    assert discriminant(np.zeros(3), np.zeros(3), np.zeros(3), 0.05) == pytest.approx(np.zeros(3), abs=1e-12)


def test_rejection_by_hand():
    signal = np.arange(1.0, 11.0)  # half of them are 6 and above
    background = np.array([0.5, 1.5, 2.5, 3.5, 5.5, 6.5, 7.5, 0.1])  # two of eight reach 6
    found = rejections(signal, background, np.array([0.5]))
    assert found.value == pytest.approx([4.0])
    assert found.error == pytest.approx([np.sqrt(0.25 * 0.75 / 8) / 0.25**2])
    assert not found.is_limit[0]


def test_a_whole_number_of_signal_jets_is_not_missed_by_rounding():
    signal = np.arange(10.0, 0.0, -1.0)
    background = np.array([3.5, 4.0, 4.5])  # 0.7 * 10 is 7.000000000000001: the cut is at 4, not at 3
    assert Ranking(signal, background).accepted(np.array([0.7])) == pytest.approx([2 / 3])


def test_equal_scores_are_split_to_reach_the_efficiency():
    signal = np.array([2.0, 1.0, 1.0, 1.0])  # 50 %: the first, and one of three equals
    background = np.array([3.0, 1.0, 1.0, 1.0, 0.0])
    assert Ranking(signal, background).accepted(np.array([0.5])) == pytest.approx([(1 + 3 / 3) / 5])


def test_a_tagger_that_knows_nothing_accepts_background_as_signal():
    efficiencies = np.array([0.1, 0.6, 0.99])
    assert Ranking(np.zeros(7), np.zeros(11)).accepted(efficiencies) == pytest.approx(efficiencies)


def test_no_background_left_is_a_lower_limit():
    found = rejections(np.array([5.0, 6.0]), np.zeros(100), np.array([0.5]))
    assert found.is_limit[0]
    assert found.value[0] == pytest.approx(1 / (1 - 0.05 ** (1 / 100)))
    assert np.isnan(found.error[0])


def test_rejections_do_not_depend_on_the_order_of_the_jets():
    generator = np.random.default_rng(1)
    signal, background = generator.normal(1, 1, 300).round(1), generator.normal(0, 1, 500).round(1)
    points = np.array([0.6, 0.85])
    shuffled = rejections(generator.permutation(signal), generator.permutation(background), points)
    assert np.array_equal(shuffled.value, rejections(signal, background, points).value)


@pytest.mark.parametrize("digits", [1, 6])
def test_the_area_equals_counting_all_pairs(digits):
    generator = np.random.default_rng(2)
    signal, background = generator.normal(1, 1, 70).round(digits), generator.normal(0, 1, 90).round(digits)
    above = (signal[:, None] > background).mean() + 0.5 * (signal[:, None] == background).mean()
    assert area(signal, background)[0] == pytest.approx(above)


def test_the_area_equals_the_integral_of_the_curve_with_ties():
    generator = np.random.default_rng(3)
    signal, background = generator.normal(1, 1, 200).round(1), generator.normal(0, 1, 200).round(1)
    efficiencies = np.linspace(0, 1, 200_001)[1:]
    accepted = Ranking(signal, background).accepted(efficiencies)
    assert area(signal, background)[0] == pytest.approx(1 - accepted.mean(), abs=1e-4)


def test_the_error_of_the_area_by_hand():
    # beaten: 1, 1/2 and beating: 1/2, 1, each with sample variance 1/8
    value, error = area(np.array([3.0, 1.0]), np.array([2.0, 0.0]))
    assert value == pytest.approx(0.75)
    assert error == pytest.approx(np.sqrt(0.125 / 2 + 0.125 / 2))


def test_the_error_of_the_area_is_the_spread_over_repeated_samples():
    generator = np.random.default_rng(4)
    found = [area(generator.normal(1, 1, 200), generator.normal(0, 1, 300)) for _ in range(400)]
    values, errors = np.array(found).T
    assert errors.mean() == pytest.approx(values.std(), rel=0.1)


def test_the_area_of_a_single_jet_has_no_error():
    assert np.isnan(area(np.array([1.0]), np.array([0.0, 2.0]))[1])


def test_the_binomial_error_is_the_spread_at_a_fixed_cut():
    generator = np.random.default_rng(5)
    signal = np.linspace(0, 1, 1001)  # 20 % are above 0.8
    found = [rejections(signal, generator.random(2000), np.array([0.2])) for _ in range(400)]
    assert np.mean([one.error for one in found]) == pytest.approx(np.std([one.value for one in found]), rel=0.1)


def test_a_tagger_against_itself_has_the_ratio_one():
    generator = np.random.default_rng(6)
    signal, background = generator.normal(2, 1, 400), generator.normal(0, 1, 400)
    found = rejection_ratios((signal, signal), (background, background), np.array([0.7]), generator, 50)
    for part in (found.value, found.median, found.low, found.high):
        assert part == pytest.approx([1.0])


def test_the_interval_of_a_ratio_is_seeded_and_holds_the_ratio():
    generator = np.random.default_rng(7)
    signal, background = generator.normal(1.5, 1, (2, 800)), generator.normal(0, 1, (2, 900))
    pairs = (signal[0] + 1, signal[1]), (background[0], background[1])
    first, second = (rejection_ratios(*pairs, np.array([0.6, 0.7]), np.random.default_rng(1), 200) for _ in range(2))
    expected = [rejections(s, b, np.array([0.6, 0.7])).value for s, b in zip(*pairs, strict=True)]
    assert first.value == pytest.approx(expected[0] / expected[1])
    assert np.array_equal(first.low, second.low)
    assert (first.low < first.value).all()
    assert (first.value < first.high).all()
    assert (first.low < first.median).all()


def test_the_interval_covers_the_truth_as_often_as_it_says():
    generator = np.random.default_rng(8)
    covered = 0
    for _ in range(100):  # two uniform taggers: the true ratio is 1
        signal, background = generator.random((2, 400)), generator.random((2, 400))
        found = rejection_ratios(tuple(signal), tuple(background), np.array([0.3]), generator, 150)
        covered += bool(found.low[0] <= 1 <= found.high[0])
    assert 87 <= covered <= 100


def test_a_ratio_to_no_background_is_unbounded_and_not_a_crash():
    generator = np.random.default_rng(9)
    signal, background = np.array([5.0, 6.0, 7.0]), np.zeros(20)
    worse = np.linspace(0, 10, 20)
    found = rejection_ratios((signal, signal), (background, worse), np.array([0.5]), generator, 100)
    assert np.isposinf(found.value[0])
    assert np.isposinf(found.high[0])
    both = rejection_ratios((signal, signal), (background, background), np.array([0.5]), generator, 100)
    assert np.isnan(both.value[0])
    assert np.isnan(both.median[0])


def test_rejections_agree_with_those_of_the_field():
    from ftag.utils.metrics import calculate_rejection

    generator = np.random.default_rng(10)
    signal, background = generator.normal(2, 1, 5001), generator.normal(0, 1, 20_000)
    for point in (0.6, 0.7, 0.77, 0.85):
        found = rejections(signal, background, np.array([point]))
        assert calculate_rejection(signal, background, point) == pytest.approx(found.value[0], abs=0.2 * found.error[0])
