from dataclasses import fields, replace

import numpy as np
import pytest

from salt.simulate import candidates, columns, hits, overlay, pairing, resolution, tracks, vertices
from salt.simulate.candidates import Candidates
from salt.simulate.jets import Jets


def jet(pt=50.0, num=1):
    zeros = np.zeros(num)
    return Jets(np.arange(num), np.full(num, pt), zeros, zeros, zeros)


def particles(num, **changes):
    columns_of = {field.name: np.zeros(num) for field in fields(Candidates)}
    integers = {"event": np.zeros(num, int), "heavy": np.full(num, -1), "charge": np.ones(num, int)}
    integers |= {"origin": np.full(num, candidates.PRIMARY), "electron": np.zeros(num, bool), "pt": np.full(num, 5.0)}
    return Candidates(**{**columns_of, **integers, **changes})


def test_cone_shrinks_with_pt():
    assert tracks.cone(jet(20.0))[0] == pytest.approx(0.45, abs=0.005)
    assert tracks.cone(jet(150.0))[0] == pytest.approx(0.26, abs=0.005)


def test_tracks_outside_the_cone_are_left_out():
    spread = particles(200, eta=np.full(200, 1.0))
    found = tracks.reconstruct(spread, jet(), 1, np.random.default_rng(0))
    assert len(found) == 0


def test_jet_keeps_the_40_most_significant_tracks():
    many = particles(2000, eta=np.random.default_rng(1).uniform(-0.25, 0.25, 2000))
    found = tracks.reconstruct(many, jet(), 1, np.random.default_rng(0))
    size = np.abs(found.signed_d0)
    assert len(found) == columns.MAX_TRACKS == 40
    assert np.all(np.diff(size) <= 0)


def test_tracks_go_missing_in_crowds_at_low_pt_and_when_late():
    nowhere, alone = np.zeros(1), np.zeros(1)
    best = tracks.efficiency(particles(1), nowhere, alone)
    assert tracks.efficiency(particles(1), nowhere, alone + 5) < best
    assert tracks.efficiency(particles(1), nowhere + 60, alone) < best
    assert tracks.efficiency(particles(1, pt=np.array([0.5])), nowhere, alone) < best


def test_neighbours_are_counted_inside_the_jet():
    eta = np.array([0.0, 0.01, 0.3, 0.0])
    assert tracks.neighbours(np.array([0, 0, 0, 1]), eta, np.zeros(4)).tolist() == [1, 1, 0, 0]


def test_late_particles_leave_no_hit_further_in():
    radius = np.repeat([0.0, 40.0, 60.0], 1000)
    drawn = hits.draw(radius, np.zeros(3000), np.zeros(3000, bool), np.random.default_rng(0))
    assert drawn.innermost[:1000].mean() > 0.9
    assert drawn.innermost[1000:].max() == 0
    assert drawn.next_to_innermost[1000:2000].mean() > 0.9
    assert drawn.next_to_innermost[2000:].max() == 0


def test_shared_and_split_hits_are_among_the_hits():
    drawn = hits.draw(np.zeros(5000), np.full(5000, 6), np.zeros(5000, bool), np.random.default_rng(0))
    assert np.all(drawn.innermost_shared + drawn.innermost_split <= drawn.innermost)
    assert np.all(drawn.pixel_shared + drawn.pixel_split <= drawn.pixel)
    assert np.all(drawn.sct_shared <= drawn.sct)
    assert drawn.innermost_shared.mean() > 0.1


def test_track_without_innermost_hit_is_measured_worse():
    radius = np.repeat([0.0, 40.0], 1000)
    rng = np.random.default_rng(0)
    drawn = hits.draw(radius, np.zeros(2000), np.zeros(2000, bool), rng)
    sigma = resolution.estimate(np.full(2000, 5.0), np.zeros(2000), drawn, rng).d0
    assert sigma[1000:].mean() > 1.5 * sigma[:1000].mean()


def test_pulls_have_the_tails_of_the_model():
    drawn = hits.draw(np.zeros(100_000), np.zeros(100_000), np.zeros(100_000, bool), np.random.default_rng(0))
    width = resolution.pull_width(drawn, np.random.default_rng(1))
    assert np.mean(width == 2.2) == pytest.approx(0.06, abs=0.005)
    assert np.mean(width == 6.0) == pytest.approx(0.01, abs=0.002)


def test_vertices_within_a_tenth_of_a_millimetre_are_one():
    x = np.array([0.05, 3.0, 3.05, 3.12, 7.0, 0.0, 3.0])
    origin = np.array([candidates.FROM_B] * 5 + [candidates.PILEUP, candidates.FROM_B])
    of_jet = np.array([0, 0, 0, 0, 0, 0, 1])
    found = tracks.measure(of_jet, particles(7, x=x, origin=origin), jet(num=2), 2, AlwaysFound())
    # 3.00, 3.05 and 3.12 are joined through the middle one; 0.05 is the collision; the other jet counts anew
    assert vertices.vertex_index(found, 2).tolist() == [0, 1, 1, 1, 2, -2, 1]


class AlwaysFound:
    """A source of randomness whose uniform draws find every particle."""

    def __init__(self):
        self._rng = np.random.default_rng(0)

    def random(self, size):
        return np.zeros(size)

    def __getattr__(self, name):
        return getattr(self._rng, name)


def test_converted_photons_make_pairs_on_a_layer(decay_chain):
    num = 2000
    photons = replace(
        decay_chain,
        event=np.zeros(num, int),
        code=np.full(num, 22),
        status=np.full(num, 91),
        px=np.full(num, 20.0),
        py=np.zeros(num),
        pz=np.zeros(num),
        x=np.zeros(num),
        y=np.zeros(num),
        z=np.zeros(num),
    )
    pairs = candidates.conversions(photons, np.random.default_rng(0))
    thickness = sum(layer for _, layer in candidates.MATERIAL)
    assert len(pairs) / 2 / num == pytest.approx(7 / 9 * thickness, rel=0.25)
    assert set(np.round(np.hypot(pairs.x, pairs.y), 2)) == {radius for radius, _ in candidates.MATERIAL}
    assert pairs.charge.sum() == pytest.approx(0, abs=10)


def test_overlay_turns_vertices_and_momenta_alike():
    pool = particles(1, x=np.array([2.0]))
    event = np.zeros(overlay.POOL_EVENTS * 3, int)
    nowhere = np.zeros(len(event))
    placed = overlay.place(pool, event, (nowhere, nowhere, nowhere), np.random.default_rng(0))
    assert len(placed) > 0
    turned = pairing.delta_phi(np.arctan2(placed.y, placed.x), placed.phi)
    np.testing.assert_allclose(turned, 0, atol=1e-9)


def test_pileup_stays_near_the_collision_in_z():
    pool = particles(overlay.POOL_EVENTS, event=np.arange(overlay.POOL_EVENTS))
    placed = overlay.pileup(pool, 50, np.random.default_rng(0))
    assert np.abs(placed.z).max() < overlay.MAX_Z
    assert set(placed.origin) == {candidates.PILEUP}
