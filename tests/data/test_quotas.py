"""Shapes: C classes, K bins."""

import numpy as np
import pytest

from salt.data import quotas


def generator(seed=1):
    return np.random.default_rng(seed)


def test_countup_takes_what_the_rarest_class_of_each_bin_has():
    available = np.array([[5, 9, 0, 4], [7, 2, 8, 4]])
    assert quotas.countup(available, np.ones(2), generator()).tolist() == [[5, 2, 0, 4]] * 2


def test_countup_keeps_the_fractions_in_each_bin():
    available = np.array([[10, 40, 6], [100, 30, 12]])
    assert quotas.countup(available, np.array([1, 2]), generator()).tolist() == [[10, 15, 6], [20, 30, 12]]


def test_fractions_are_relative_to_each_other():
    available = generator().integers(0, 1000, (3, 50))
    for scale in (1, 0.1, 1 / 3):
        wanted = quotas.countup(available, np.array([1, 1, 2]) * scale, generator())
        assert wanted.tolist() == quotas.countup(available, np.array([1, 1, 2]), generator()).tolist()


def test_parts_of_jets_sum_up_right_over_many_bins():
    wanted = quotas.countup(np.ones((2, 10_000), int), np.array([1, 3]), generator())
    assert wanted[1].sum() == 10_000
    assert wanted[0].sum() == pytest.approx(10_000 / 3, abs=200)


@pytest.mark.parametrize("shortage", [0, 0.01])
def test_pdf_gives_all_classes_the_distribution_of_the_target(shortage):
    available = np.array([[1000, 4000, 5000], [30_000, 20_000, 10_000]])
    wanted = quotas.pdf(available, np.ones(2), 0, shortage, generator())
    assert wanted.tolist() == [[1000, 4000, 5000]] * 2


def test_pdf_without_shortage_ends_where_a_class_is_used_up():
    available = np.array([[1000, 4000, 5000], [30_000, 20_000, 2500]])
    assert quotas.pdf(available, np.ones(2), 0, 0, generator()).tolist() == [[500, 2000, 2500]] * 2


def test_pdf_takes_more_where_few_may_be_missing():
    available = np.array([[5000, 4990, 10], [30_000, 30_000, 1]])
    strict, loose = (quotas.pdf(available, np.ones(2), 0, shortage, generator()) for shortage in (0, 0.001))
    assert strict.tolist() == [[500, 499, 1]] * 2
    assert loose.tolist() == [[5000, 4990, 10], [5000, 4990, 1]]


@pytest.mark.parametrize("shortage", [0, 0.003, 0.02, 0.3])
def test_no_class_is_short_of_more_jets_than_said(shortage):
    available = generator().poisson(np.geomspace(3000, 3, 60) * [[1], [2]]) + 1
    wanted = quotas.pdf(available, np.array([1, 2]), 0, shortage, generator())
    shape = available[0] / available[0].sum()
    scale = wanted[0].sum()  # the target is short of none
    missing = np.maximum(2 * scale * shape - wanted[1], 0).sum() / (2 * scale)
    assert missing <= shortage + 60 / scale
    assert (wanted <= available).all()


def test_pdf_keeps_the_fractions():
    available = np.array([[1000, 4000, 5000], [30_000, 20_000, 10_000]])
    assert quotas.pdf(available, np.array([2, 1]), 0, 0, generator())[1].tolist() == [500, 2000, 2500]
    assert quotas.pdf(available, np.array([1, 2]), 0, 0, generator()).tolist() == [
        [1000, 4000, 5000],
        [2000, 8000, 10_000],
    ]


def test_pdf_leaves_out_bins_that_a_class_has_no_jets_in():
    available = np.array([[1000, 4000, 5000], [30_000, 0, 10_000]])
    assert quotas.pdf(available, np.ones(2), 0, 0, generator()).tolist() == [[1000, 0, 5000]] * 2


def test_pdf_without_any_common_bin_gives_nothing():
    assert not quotas.pdf(np.array([[3, 0], [0, 4]]), np.ones(2), 0, 0.01, generator()).any()


def test_a_draw_takes_as_many_of_each_cell_as_asked_and_none_twice(monkeypatch):
    monkeypatch.setattr(quotas, "CHUNK", 70)  # many chunks, the last one not full
    cells = generator().integers(-1, 5, 1000)
    wanted = np.array([0, 1, 50, 100, (cells == 4).sum()])
    index = quotas.draw(cells, wanted, generator())
    assert (np.diff(index) > 0).all()
    assert np.bincount(cells[index], minlength=5).tolist() == wanted.tolist()


def test_a_draw_takes_each_jet_of_a_cell_as_often(monkeypatch):
    monkeypatch.setattr(quotas, "CHUNK", 7)
    cells = np.array([0, 1, -1] * 10)
    taken = np.zeros(30)
    for seed in range(2000):
        taken[quotas.draw(cells, np.array([3, 5]), generator(seed))] += 1
    assert taken[0::3] == pytest.approx(np.full(10, 600), abs=90)
    assert taken[1::3] == pytest.approx(np.full(10, 1000), abs=100)
    assert not taken[2::3].any()


def test_a_draw_of_all_takes_all():
    cells = np.array([0, 1, -1, 0])
    assert quotas.draw(cells, np.array([2, 1]), generator()).tolist() == [0, 1, 3]
