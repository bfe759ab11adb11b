"""How well tracks are measured.

Shapes: T tracks. Lengths in mm, momenta in GeV. Each uncertainty is sqrt(constant^2 + (scattering / pT)^2): the
detector's own and that of multiple scattering. sigma(d0) is 66, 19 and 14 micrometres at pT 1-2, 5-10 and > 20 GeV.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from salt.simulate.events import Array
from salt.simulate.hits import Hits

D0 = (0.0125, 0.064)  # mm, mm GeV
Z0_SIN_THETA = (0.032, 0.110)
PHI = (0.00010, 0.0012)  # rad, rad GeV
THETA = (0.00030, 0.0012)
RELATIVE_MOMENTUM = (0.012, 0.00035)  # constant, and per GeV of pT

NO_INNERMOST_HIT, NO_NEXT_HIT = 1.8, 1.15  # factors on sigma(d0) and sigma(z0)
SPREAD = 0.05  # of the uncertainties of similar tracks
# Tails of (measured - true) / uncertainty: (fraction, width), as the prototype had them (physics.md).
TAILS = ((0.06, 2.2), (0.01, 6.0))
SHARED_WIDTH = 1.4  # a cluster shared in the innermost layer sits between two particles


@dataclass(frozen=True, slots=True)
class Uncertainties:
    """Standard deviations, each (T,): d0 and z0 sin(theta) [mm], phi and theta [rad], relative momentum."""

    d0: Array
    z0_sin_theta: Array
    phi: Array
    theta: Array
    momentum: Array

    def select(self, rows: Array) -> Uncertainties:
        """The uncertainties of some tracks."""
        return Uncertainties(*(getattr(self, field.name)[rows] for field in fields(self)))


def estimate(pt: Array, eta: Array, hits: Hits, rng: np.random.Generator) -> Uncertainties:
    """Uncertainties that the track fit would report."""
    path = np.sqrt(np.cosh(eta))  # material crossed at an angle: 1 / sqrt(sin theta)

    def uncertainty(constants: tuple[float, float]) -> Array:
        spread = np.exp(SPREAD * rng.standard_normal(len(pt)))
        return spread * np.hypot(constants[0], constants[1] * path / pt)

    lever = np.where(hits.innermost > 0, 1, NO_INNERMOST_HIT) * np.where(hits.next_to_innermost > 0, 1, NO_NEXT_HIT)
    return Uncertainties(
        d0=lever * uncertainty(D0),
        z0_sin_theta=lever * uncertainty(Z0_SIN_THETA),
        phi=uncertainty(PHI),
        theta=uncertainty(THETA) / np.cosh(eta),
        momentum=np.hypot(RELATIVE_MOMENTUM[0], RELATIVE_MOMENTUM[1] * pt) * path,
    )


def pull_width(hits: Hits, rng: np.random.Generator) -> Array:
    """(T,) width of (measured - true) / uncertainty: 1 for most tracks, more in the tails."""
    draw = rng.random(len(hits.pixel))
    width = np.ones(len(draw))
    edge = 0.0
    for fraction, tail in TAILS:
        width[(draw >= edge) & (draw < edge + fraction)] = tail
        edge += fraction
    return width * np.where(hits.innermost_shared > 0, SHARED_WIDTH, 1)
