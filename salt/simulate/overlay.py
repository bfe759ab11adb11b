"""Minimum-bias collisions laid over the hard one: pile-up, and the underlying event.

A pool of minimum-bias events is generated once. Each use turns an event by a random azimuth, mirrors it at random in z
and gives it a vertex, so that a few hundred events serve for many.

Shapes: T tracks, V vertices.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from salt.simulate import ancestry, candidates, generator, pairing
from salt.simulate.candidates import Candidates
from salt.simulate.events import Array

POOL_PARTS = 4  # made in parallel
POOL_PART_EVENTS = 250
POOL_EVENTS = POOL_PARTS * POOL_PART_EVENTS

MEAN_PILEUP = 50.0  # collisions beside the hard one
BEAM_SPOT_Z, BEAM_SPOT_XY = 42.0, 0.011  # mm, size of the luminous region in Run 2
# Events with a hard scale have about twice the charged density of a minimum-bias collision beside the jets (the
# "pedestal": ATLAS, arXiv:1701.05390); the signal is generated without it (generator.py).
UNDERLYING_EVENTS = 2
MAX_Z = 6.0  # mm, |z sin(theta)| of tracks worth keeping: the selection's 5 and a margin


def make_pool(part: int, seed: int) -> Candidates:
    """Charged particles of one part of the pool's events.

    Parameters
    ----------
    part : int
        Between 0 and POOL_PARTS.
    seed : int
        Pythia's seed, another one for each part.
    """
    events = generator.generate(generator.MINIMUM_BIAS, POOL_PART_EVENTS, seed)
    quark = ancestry.heaviest_quark(events.code)
    weak = ancestry.weakly_decaying(events, quark)
    tracks = candidates.charged(events, quark, weak)
    return replace(tracks, event=tracks.event + part * POOL_PART_EVENTS, heavy=np.full(len(tracks), -1))


def place(pool: Candidates, event: Array, vertex: tuple[Array, Array, Array], rng: np.random.Generator) -> Candidates:
    """Put a randomly turned event of the pool at each vertex.

    Parameters
    ----------
    pool : Candidates
        Particles ordered by pool event.
    event : Array
        (V,) event that each vertex joins.
    vertex : tuple[Array, Array, Array]
        x, y, z of the vertices [mm], each (V,).
    rng : np.random.Generator
        Source of randomness.
    """
    choice = rng.integers(POOL_EVENTS, size=len(event))
    turn = rng.uniform(-np.pi, np.pi, len(event))
    mirror = rng.choice([-1.0, 1.0], len(event))
    rows, members = pairing.pairs(choice, pool.event)
    z = vertex[2][rows] + mirror[rows] * pool.z[members]
    near = np.abs(z) < MAX_Z * np.cosh(pool.eta[members])
    rows, members, z = rows[near], members[near], z[near]
    source = pool.select(members)
    cosine, sine = np.cos(turn[rows]), np.sin(turn[rows])
    return replace(
        source,
        event=event[rows],
        eta=mirror[rows] * source.eta,
        phi=pairing.delta_phi(source.phi, -turn[rows]),
        x=vertex[0][rows] + cosine * source.x - sine * source.y,
        y=vertex[1][rows] + sine * source.x + cosine * source.y,
        z=z,
    )


def pileup(pool: Candidates, num_events: int, rng: np.random.Generator) -> Candidates:
    """Particles of the other collisions of each bunch crossing, near enough in z to matter."""
    counts = rng.poisson(MEAN_PILEUP, num_events)
    event = np.repeat(np.arange(num_events), counts)
    z = rng.normal(0, BEAM_SPOT_Z, len(event)) - rng.normal(0, BEAM_SPOT_Z, num_events)[event]
    near = np.abs(z) < MAX_Z * np.cosh(candidates.MAX_ETA)
    event, z = event[near], z[near]
    x, y = rng.normal(0, np.sqrt(2) * BEAM_SPOT_XY, (2, len(event)))
    tracks = place(pool, event, (x, y, z), rng)
    return replace(tracks, origin=np.full(len(tracks), candidates.PILEUP))


def underlying(pool: Candidates, num_events: int, rng: np.random.Generator) -> Candidates:
    """Soft particles of the hard collision itself."""
    event = np.repeat(np.arange(num_events), UNDERLYING_EVENTS)
    nowhere = np.zeros(len(event))
    return place(pool, event, (nowhere, nowhere, nowhere), rng)
