import numpy as np
import pytest
from scipy import stats

from salt.data.draws import bits, normals, uniforms

JETS = np.arange(20_000)


def test_a_number_depends_on_its_jet_and_row_alone():
    jets, rows = np.repeat(np.arange(50), 3), np.tile(np.arange(3), 50)
    drawn = normals(7, "noise", jets, rows)
    chosen = np.array([140, 3, 77, 3])
    assert (normals(7, "noise", jets[chosen], rows[chosen]) == drawn[chosen]).all()


@pytest.mark.parametrize("draw", [bits, uniforms, normals])
@pytest.mark.parametrize("other", [(8, "noise", JETS), (7, "more noise", JETS), (7, "noise", JETS + 1)])
def test_another_key_purpose_or_jet_has_other_numbers(draw, other):
    assert (draw(7, "noise", JETS) != draw(*other)).mean() > 0.99


def test_numbers_are_the_same_in_every_process():
    assert bits(1, "noise", np.array([0, 5]), np.array([0, 2])).tolist() == [357849283915227240, 2713189274103221961]


def test_keys_may_be_of_any_size():
    assert bits(2**70, "noise", JETS).dtype == np.uint64


@pytest.mark.parametrize("key", [0, 1, 2**63])
def test_uniform_and_normal_numbers_are_distributed_as_such(key):
    assert stats.kstest(uniforms(key, "a", JETS), "uniform").pvalue > 1e-3
    assert stats.kstest(normals(key, "a", JETS), "norm").pvalue > 1e-3


def test_neighbouring_jets_rows_keys_and_purposes_are_independent():
    first = normals(3, "a", JETS, np.zeros_like(JETS))
    for other in [(3, "a", JETS + 1, 0), (3, "a", JETS, 1), (4, "a", JETS, 0), (3, "b", JETS, 0)]:
        second = normals(other[0], other[1], other[2], np.full_like(JETS, other[3]))
        assert abs(np.corrcoef(first, second)[0, 1]) < 5 / np.sqrt(len(JETS))


def test_no_number_is_out_of_range():
    drawn = uniforms(5, "a", np.arange(10**6))
    assert 0 <= drawn.min() < 1e-4
    assert 1 - 1e-4 < drawn.max() < 1
    assert np.isfinite(normals(5, "a", np.arange(10**6))).all()
