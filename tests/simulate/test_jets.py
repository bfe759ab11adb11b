import numpy as np

from salt.simulate import jets


def hadrons(label, pt, jet):
    num = len(label)
    zeros = np.zeros(num)
    return jets.Hadrons(
        np.arange(num), np.array(label), np.zeros(num, int), np.array(pt), zeros, zeros, zeros, zeros, np.array(jet)
    )


def test_bottom_comes_before_charm_before_tau_before_light():
    found = hadrons(label=[4, 5, 15, 4, 15], pt=[90.0, 10.0, 50.0, 6.0, 30.0], jet=[0, 0, 1, 1, 2])
    labels, _ = jets.label(found, 4)
    assert labels.tolist() == [5, 4, 15, 0]


def test_hardest_hadron_of_the_label_leads():
    found = hadrons(label=[5, 5, 4], pt=[10.0, 20.0, 90.0], jet=[0, 0, 0])
    _, leading = jets.label(found, 2)
    assert leading.tolist() == [1, -1]


def test_measured_jets_are_in_acceptance():
    true = jets.Jets(np.zeros(1000, int), np.full(1000, 21.0), np.full(1000, 2.45), np.zeros(1000), np.ones(1000))
    measured = jets.measure(true, np.random.default_rng(0))
    assert 0 < len(measured) < 1000
    assert measured.pt.min() > 20
    assert np.abs(measured.eta).max() < 2.5
