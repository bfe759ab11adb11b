import numpy as np

from salt.simulate import ancestry, candidates


def test_quarks_are_read_from_the_codes():
    codes = np.array([511, -5122, 411, 4122, 10423, 553, 443, 5101, 211, 130, 15, 21, 5])
    np.testing.assert_array_equal(ancestry.heaviest_quark(codes), [5, 5, 4, 4, 4, 0, 0, 0, 2, 0, 0, 0, 0])


def test_weakly_decaying_hadrons_are_the_last_of_their_flavour(decay_chain):
    weak = ancestry.weakly_decaying(decay_chain, ancestry.heaviest_quark(decay_chain.code))
    np.testing.assert_array_equal(np.flatnonzero(weak), [1, 3])


def test_tracks_are_labelled_by_the_decays_above(decay_chain):
    quark = ancestry.heaviest_quark(decay_chain.code)
    above = ancestry.trace(decay_chain, np.array([4, 5, 8]), quark, ancestry.weakly_decaying(decay_chain, quark))
    labels = candidates.origin_labels(above)
    assert labels.tolist() == [candidates.FROM_B, candidates.FROM_BC, candidates.PRIMARY]


def test_tracks_belong_to_the_nearest_heavy_hadron(decay_chain):
    quark = ancestry.heaviest_quark(decay_chain.code)
    above = ancestry.trace(decay_chain, np.array([4, 5, 8]), quark, ancestry.weakly_decaying(decay_chain, quark))
    assert above.heavy.tolist() == [1, 3, -1]


def test_charge_follows_the_code(decay_chain):
    quark = ancestry.heaviest_quark(decay_chain.code)
    found = candidates.charged(decay_chain, quark, ancestry.weakly_decaying(decay_chain, quark))
    assert found.charge.tolist() == [1, 1, -1, -1, 1]
