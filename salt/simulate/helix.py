"""Perigee parameters of a charged particle in the solenoid's field.

Shapes: T tracks. Lengths in mm, momenta in GeV, field along +z.
"""

from __future__ import annotations

import numpy as np

from salt.simulate.events import Array

FIELD = 2.0  # T, the ATLAS inner detector's
CURVATURE = 0.299792458e-3  # GeV / (T mm): pT = CURVATURE * FIELD * radius for unit charge


def perigee(
    pt: Array, eta: Array, phi: Array, charge: Array, x: Array, y: Array, z: Array
) -> tuple[Array, Array, Array]:
    """Closest approach to the z axis in the transverse plane.

    The perigee is at (-d0 sin phi0, d0 cos phi0, z0), ATLAS's sign convention. A positive charge turns clockwise.

    Parameters
    ----------
    pt, eta, phi, charge : Array
        (T,) momentum [GeV] and charge at the production vertex.
    x, y, z : Array
        (T,) production vertex relative to the reference point [mm].

    Returns
    -------
    tuple[Array, Array, Array]
        d0 [mm], z0 [mm] and phi0 [rad], each (T,).
    """
    radius = pt / (CURVATURE * FIELD)
    centre_x = x + charge * radius * np.sin(phi)
    centre_y = y - charge * radius * np.cos(phi)
    distance = np.hypot(centre_x, centre_y)
    d0 = charge * (radius - distance)
    phi0 = np.arctan2(charge * centre_x, -charge * centre_y)
    turned = (phi0 - phi + np.pi) % (2 * np.pi) - np.pi
    arc = charge * radius * turned
    return d0, z - arc * np.sinh(eta), phi0


def lifetime_sign(parameter: Array, towards_jet: Array) -> Array:
    """Absolute value of a parameter, positive where the track passes the vertex on the jet's side.

    Parameters
    ----------
    parameter : Array
        (T,) d0 or z0.
    towards_jet : Array
        (T,) sin(phi of the jet - phi of the track) for d0, eta of the jet - eta of the track for z0.
    """
    return np.abs(parameter) * np.where(parameter * towards_jet >= 0, 1.0, -1.0)
