"""Tracks: reconstructed from candidates, given to jets, selected, sorted.

Shapes: T tracks, J jets. Lengths in mm, momenta in GeV.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from salt.simulate import candidates, columns, helix, hits, pairing, resolution
from salt.simulate.candidates import Candidates
from salt.simulate.events import Array
from salt.simulate.jets import Jets
from salt.simulate.resolution import Uncertainties

# dR of a track to its jet shrinks with the jet's pT: CONE[0] + exp(CONE[1] + CONE[2] pT[GeV]), 0.45 at 20 GeV and 0.26
# at 150 GeV (ATLAS, arXiv:1512.01094).
CONE = (0.239, -1.220, -0.0164)
# Selection of ATLAS's GN2 tracks (ATL-PHYS-PUB-2022-027).
MIN_PT, MAX_ETA, MAX_D0, MAX_Z0_SIN_THETA, MIN_HITS = 0.5, 2.5, 3.5, 5.0, 8

# Efficiency: plateau x slow turn-on in pT x loss towards the forward region, for late decays and in dense cores.
PLATEAU, TURN_ON, TURN_ON_PT = 0.94, 0.30, 0.6
FORWARD_LOSS, LATE_LOSS, ELECTRON_LOSS = 0.10, 0.5, 0.08
CORE, LOSS_PER_NEIGHBOUR = 0.02, 0.06  # dR within which tracks compete

PRIMARY_VERTEX_XY, PRIMARY_VERTEX_Z = 0.007, 0.025  # mm, resolution of the reconstructed primary vertex
FAKES_PER_TRACK = 0.012
FAKE_D0, FAKE_PT = 1.2, 0.8  # mm, GeV: widths


@dataclass(frozen=True, slots=True)
class Tracks:
    """Measured tracks, ordered by jet and then by falling |signed d0 significance|.

    Parameters
    ----------
    jet : Array
        (T,) row of the jet.
    pt, eta, phi, charge : Array
        (T,) measured momentum [GeV].
    d0, z0_sin_theta : Array
        (T,) relative to the reconstructed primary vertex [mm].
    signed_d0, signed_z0 : Array
        (T,) significances with the lifetime sign.
    uncertainties, hits, truth
        Of the same tracks.
    """

    jet: Array
    pt: Array
    eta: Array
    phi: Array
    charge: Array
    d0: Array
    z0_sin_theta: Array
    signed_d0: Array
    signed_z0: Array
    uncertainties: Uncertainties
    hits: hits.Hits
    truth: Candidates

    def __len__(self) -> int:
        return len(self.jet)

    def select(self, rows: Array) -> Tracks:
        """The tracks at some rows, or where a mask is true."""
        nested = {"uncertainties", "hits", "truth"}
        columns = {field.name: getattr(self, field.name) for field in fields(self)}
        return Tracks(**{name: c.select(rows) if name in nested else c[rows] for name, c in columns.items()})


def cone(jets: Jets) -> Array:
    """(J,) greatest dR of a track to its jet."""
    return CONE[0] + np.exp(CONE[1] + CONE[2] * jets.pt)


def fakes(jet: Array, jets: Jets, rng: np.random.Generator) -> tuple[Array, Candidates]:
    """Wrong combinations of hits, in proportion to the true tracks of a jet.

    Returns
    -------
    tuple[Array, Candidates]
        Row of the jet, and the fakes. Their x holds d0 and their z holds z0.
    """
    rows = np.repeat(np.arange(len(jets)), rng.poisson(FAKES_PER_TRACK * np.bincount(jet, minlength=len(jets))))
    num = len(rows)
    distance, angle = cone(jets)[rows] * np.sqrt(rng.random(num)), rng.uniform(-np.pi, np.pi, num)
    eta = jets.eta[rows] + distance * np.cos(angle)
    fake = Candidates(
        event=jets.event[rows],
        pt=MIN_PT + rng.exponential(FAKE_PT, num),
        eta=eta,
        phi=pairing.delta_phi(jets.phi[rows], -distance * np.sin(angle)),
        charge=rng.choice([-1, 1], num),
        x=rng.normal(0, FAKE_D0, num),
        y=np.zeros(num),
        z=rng.uniform(-MAX_Z0_SIN_THETA, MAX_Z0_SIN_THETA, num) * np.cosh(eta),
        origin=np.full(num, candidates.FAKE),
        heavy=np.full(num, -1),
        electron=np.zeros(num, bool),
    )
    return rows, fake


def neighbours(jet: Array, eta: Array, phi: Array) -> Array:
    """(T,) number of other tracks of the same jet within the core's dR. Jets ascend."""
    left, right = pairing.pairs(jet, jet)
    near = np.hypot(eta[left] - eta[right], pairing.delta_phi(phi[left], phi[right])) < CORE
    return np.bincount(left[near], minlength=len(jet)) - 1


def efficiency(truth: Candidates, radius: Array, crowd: Array) -> Array:
    """(T,) chance that a particle is found."""
    turn_on = 1 - TURN_ON * np.exp(-(truth.pt - candidates.MIN_PT) / TURN_ON_PT)
    forward = 1 - FORWARD_LOSS * (truth.eta / MAX_ETA) ** 2
    late = 1 - LATE_LOSS * radius / candidates.MAX_RADIUS
    return PLATEAU * turn_on * forward * late * (1 - ELECTRON_LOSS * truth.electron) / (1 + LOSS_PER_NEIGHBOUR * crowd)


def perigees(truth: Candidates, num_events: int, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """True d0, z0 and phi relative to the reconstructed primary vertex of each event."""
    spread = np.array([PRIMARY_VERTEX_XY, PRIMARY_VERTEX_XY, PRIMARY_VERTEX_Z])
    vertex = rng.normal(0, 1, (num_events, 3)) * spread
    x, y, z = (getattr(truth, axis) - vertex[truth.event, i] for i, axis in enumerate(("x", "y", "z")))
    d0, z0, phi = helix.perigee(truth.pt, truth.eta, truth.phi, truth.charge, x, y, z)
    fake = truth.origin == candidates.FAKE
    return np.where(fake, truth.x, d0), np.where(fake, truth.z, z0), np.where(fake, truth.phi, phi)


def measure(jet: Array, truth: Candidates, jets: Jets, num_events: int, rng: np.random.Generator) -> Tracks:
    """Draw hits and measured parameters of the particles that were found. Jets ascend."""
    fake = truth.origin == candidates.FAKE
    radius = np.where(fake, 0, np.hypot(truth.x, truth.y))
    crowd = neighbours(jet, truth.eta, truth.phi)
    found = fake | (rng.random(len(jet)) < efficiency(truth, radius, crowd))
    jet, truth, fake, radius, crowd = jet[found], truth.select(found), fake[found], radius[found], crowd[found]

    layers = hits.draw(radius, crowd, fake, rng)
    sigma = resolution.estimate(truth.pt, truth.eta, layers, rng)
    width = resolution.pull_width(layers, rng)
    d0, z0, phi = perigees(truth, num_events, rng)
    d0_error, z0_error, phi_error, theta_error, momentum_error = rng.standard_normal((5, len(jet)))
    theta = 2 * np.arctan(np.exp(-truth.eta)) + sigma.theta * theta_error
    d0 = d0 + width * sigma.d0 * d0_error
    z0_sin_theta = z0 * np.sin(theta) + width * sigma.z0_sin_theta * z0_error
    phi = pairing.delta_phi(phi + sigma.phi * phi_error, 0.0)
    eta = -np.log(np.tan(theta / 2))
    towards = np.sin(jets.phi[jet] - phi)
    return Tracks(
        jet=jet,
        pt=truth.pt / np.maximum(1 + sigma.momentum * momentum_error, 0.1),
        eta=eta,
        phi=phi,
        charge=truth.charge,
        d0=d0,
        z0_sin_theta=z0_sin_theta,
        signed_d0=helix.lifetime_sign(d0, towards) / sigma.d0,
        signed_z0=helix.lifetime_sign(z0_sin_theta, jets.eta[jet] - eta) / sigma.z0_sin_theta,
        uncertainties=sigma,
        hits=layers,
        truth=truth,
    )


def select(tracks: Tracks) -> Tracks:
    """Apply the selection, sort by |signed d0 significance| inside each jet and keep the first 40 of each."""
    good = (
        (tracks.pt > MIN_PT)
        & (np.abs(tracks.eta) < MAX_ETA)
        & (np.abs(tracks.d0) < MAX_D0)
        & (np.abs(tracks.z0_sin_theta) < MAX_Z0_SIN_THETA)
        & (tracks.hits.pixel + tracks.hits.sct >= MIN_HITS)
    )
    tracks = tracks.select(good)
    order = np.lexsort((-np.abs(tracks.signed_d0), tracks.jet))
    jet = tracks.jet[order]
    rank = np.arange(len(jet)) - np.searchsorted(jet, jet, side="left")
    return tracks.select(order[rank < columns.MAX_TRACKS])


def reconstruct(particles: Candidates, jets: Jets, num_events: int, rng: np.random.Generator) -> Tracks:
    """Tracks of the jets, out of the charged particles of all sources.

    Parameters
    ----------
    particles : Candidates
        In any order.
    jets : Jets
        Ordered by event.
    num_events : int
        E, events of jets and particles.
    rng : np.random.Generator
        Source of randomness.
    """
    axes = (jets.event, jets.eta, jets.phi)
    jet = pairing.nearest((particles.event, particles.eta, particles.phi), axes, cone(jets))
    jet, particles = jet[jet >= 0], particles.select(jet >= 0)
    fake_jet, fake = fakes(jet, jets, rng)
    jet, particles = np.concatenate([jet, fake_jet]), candidates.concatenate([particles, fake])
    order = np.argsort(jet, kind="stable")
    return select(measure(jet[order], particles.select(order), jets, num_events, rng))
