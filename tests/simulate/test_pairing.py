import numpy as np

from salt.simulate import pairing


def test_pairs_are_those_of_the_same_event():
    left, right = pairing.pairs(np.array([1, 0, 2]), np.array([0, 0, 1, 3]))
    assert list(zip(left, right, strict=True)) == [(0, 2), (1, 0), (1, 1)]


def test_no_objects_make_no_pairs():
    left, right = pairing.pairs(np.zeros(0, int), np.array([0, 1]))
    assert len(left) == len(right) == 0


def test_nearest_stays_in_the_event_and_in_the_cone():
    left = (np.array([0, 0, 1]), np.array([0.0, 2.0, 0.0]), np.zeros(3))
    right = (np.array([0, 0]), np.array([0.3, 0.1]), np.zeros(2))
    np.testing.assert_array_equal(pairing.nearest(left, right, np.full(2, 0.4)), [1, -1, -1])


def test_nearest_heeds_each_cone_of_its_own():
    left = (np.array([0]), np.zeros(1), np.zeros(1))
    right = (np.array([0, 0]), np.array([0.1, 0.3]), np.zeros(2))
    np.testing.assert_array_equal(pairing.nearest(left, right, np.array([0.05, 0.4])), [1])


def test_azimuths_wrap():
    assert np.isclose(pairing.delta_phi(np.array([3.1]), -3.1)[0], 6.2 - 2 * np.pi)
