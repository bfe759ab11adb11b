"""Pairs of objects of the same event, without a loop over events.

Shapes: L left objects, R right objects, N pairs.
"""

from __future__ import annotations

import numpy as np

from salt.simulate.events import Array


def delta_phi(phi: Array, other: Array | float) -> Array:
    """Difference of two azimuths in [-pi, pi) [rad]."""
    return (phi - other + np.pi) % (2 * np.pi) - np.pi


def pairs(left: Array, right: Array) -> tuple[Array, Array]:
    """All pairs with equal keys.

    Parameters
    ----------
    left : Array
        (L,) integer keys, in any order.
    right : Array
        (R,) integer keys, ascending.

    Returns
    -------
    tuple[Array, Array]
        (N,) rows of the left and of the right, ordered by the left row.
    """
    begin = np.searchsorted(right, left, side="left")
    counts = np.searchsorted(right, left, side="right") - begin
    rows = np.repeat(np.arange(len(left)), counts)
    before = np.cumsum(counts) - counts
    return rows, np.arange(len(rows)) - before[rows] + begin[rows]


def nearest(left: tuple[Array, Array, Array], right: tuple[Array, Array, Array], radius: Array) -> Array:
    """Nearest right object of the same event in dR = sqrt(deta^2 + dphi^2).

    Parameters
    ----------
    left, right : tuple[Array, Array, Array]
        Event, eta and phi of each object; the right's events ascend.
    radius : Array
        (R,) greatest dR that counts.

    Returns
    -------
    Array
        (L,) row of the right object, or -1.
    """
    rows, others = pairs(left[0], right[0])
    found = np.full(len(left[0]), -1)
    distance = np.hypot(left[1][rows] - right[1][others], delta_phi(left[2][rows], right[2][others]))
    close = distance < radius[others]
    rows, others, distance = rows[close], others[close], distance[close]
    if len(rows):
        first = np.flatnonzero(np.diff(rows, prepend=-1))
        least = np.repeat(np.minimum.reduceat(distance, first), np.diff(first, append=len(rows)))
        best = distance == least
        found[rows[best]] = others[best]
    return found
