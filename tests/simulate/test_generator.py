import numpy as np
import pytest

from salt.simulate import generator
from salt.simulate.chunk import seeds


@pytest.mark.parametrize("process", list(generator.PROCESSES.values()), ids=lambda process: process.name)
def test_events_depend_on_the_seed_alone(process):
    first = generator.generate(process, 3, seed=11)
    generator.generate(process, 5, seed=12)
    again = generator.generate(process, 3, seed=11)
    np.testing.assert_array_equal(first.px, again.px)
    np.testing.assert_array_equal(first.mother, again.mother)


def test_zprime_decays_to_bottom_charm_light_and_tau_alike():
    events = generator.generate(generator.ZPRIME, 200, seed=1)
    products = np.flatnonzero((np.abs(events.status) == 23) & (np.abs(events.code[events.mother]) == 32))
    codes = np.abs(events.code[products])
    shares = [np.isin(codes, codes_of).mean() for codes_of in ((5,), (4,), (1, 2), (15,))]
    np.testing.assert_allclose(shares, 0.25, atol=0.1)


def test_only_the_biased_process_carries_weights():
    weighted = generator.generate(generator.DIJET, 20, seed=1).weight
    plain = generator.generate(generator.TTBAR, 20, seed=1).weight
    assert len(np.unique(weighted)) > 1
    assert set(plain) == {1.0}


def test_setting_that_pythia_does_not_know_is_named():
    with pytest.raises(ValueError, match="No:such"):
        generator.make_generator(generator.Process("wrong", 99, ("No:such = on",)))


def test_chunks_have_seeds_of_their_own():
    made = {
        seeds(seed, process, number)[0]
        for seed in (1, 2)
        for process in generator.PROCESSES.values()
        for number in range(50)
    }
    assert len(made) == 300
    assert min(made) >= 1
    assert max(made) <= 900_000_000


def test_energy_is_conserved():
    events = generator.generate(generator.TTBAR, 5, seed=3)
    total = np.bincount(events.event[events.final], events.energy[events.final])
    np.testing.assert_allclose(total, 13_000, rtol=1e-4)
