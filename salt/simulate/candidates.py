"""Charged particles that may become tracks, with the truth about them.

Shapes: T candidates. Lengths in mm, momenta in GeV.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from salt.simulate import ancestry
from salt.simulate.events import (
    ELECTRON,
    NEGATIVE_WHEN_POSITIVE_CODE,
    PHOTON,
    STABLE_CHARGED,
    Array,
    Events,
)

# ATLAS's classes of track origins (physics.md; ftagTruthOriginLabel).
PILEUP, FAKE, PRIMARY, FROM_B, FROM_BC, FROM_C, FROM_TAU, OTHER_SECONDARY = range(8)

MIN_PT = 0.45  # GeV, a little below the selection at 0.5: momenta are smeared later
MAX_ETA = 2.6
MAX_RADIUS = 85.0  # mm: beyond, too few pixel layers are left for a good track

# Material of the beam pipe and the first pixel layers: radius [mm] and thickness [radiation lengths] at eta = 0.
# Rounded from the ATLAS IBL technical design report (CERN-LHCC-2010-013) and the detector paper (2008 JINST 3 S08003).
MATERIAL = ((24.0, 0.006), (33.25, 0.019), (50.5, 0.028))
PAIR_PRODUCTION = 7 / 9  # conversion probability per radiation length
MIN_PHOTON_PT = 1.0  # GeV


@dataclass(frozen=True, slots=True)
class Candidates:
    """Charged particles at their production vertices.

    Parameters
    ----------
    event : Array
        (T,) event.
    pt, eta, phi, charge : Array
        (T,) momentum [GeV] at production and charge.
    x, y, z : Array
        (T,) production vertex relative to the hard collision [mm].
    origin : Array
        (T,) ftagTruthOriginLabel.
    heavy : Array
        (T,) row, in the events, of the bottom or charm hadron above, or -1.
    electron : Array
        (T,) whether it radiates as electrons do.
    """

    event: Array
    pt: Array
    eta: Array
    phi: Array
    charge: Array
    x: Array
    y: Array
    z: Array
    origin: Array
    heavy: Array
    electron: Array

    def __len__(self) -> int:
        return len(self.event)

    def select(self, rows: Array) -> Candidates:
        """The candidates at some rows, or where a mask is true."""
        return Candidates(*(getattr(self, field.name)[rows] for field in fields(self)))


def concatenate(parts: list[Candidates]) -> Candidates:
    """One collection out of several; the order of the parts is kept."""
    return Candidates(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Candidates)))


def origin_labels(above: ancestry.Ancestry) -> Array:
    """Give particles of the hard collision their ftagTruthOriginLabel: the first rule that holds."""
    rules = (
        (above.from_bottom & above.from_charm, FROM_BC),
        (above.from_bottom, FROM_B),
        (above.from_charm, FROM_C),
        (above.from_tau, FROM_TAU),
        (above.from_strange, OTHER_SECONDARY),
    )
    return np.select([rule for rule, _ in rules], [label for _, label in rules], PRIMARY)


def charged(events: Events, quark: Array, weak: Array) -> Candidates:
    """Final charged particles of the events."""
    size = np.abs(events.code)
    rows = np.flatnonzero(events.final & np.isin(size, STABLE_CHARGED))
    rows = rows[(events.pt(rows) > MIN_PT) & (np.abs(events.eta(rows)) < MAX_ETA)]
    rows = rows[np.hypot(events.x[rows], events.y[rows]) < MAX_RADIUS]
    above = ancestry.trace(events, rows, quark, weak)
    sign = np.where(np.isin(size[rows], NEGATIVE_WHEN_POSITIVE_CODE), -1, 1)
    return Candidates(
        event=events.event[rows],
        pt=events.pt(rows),
        eta=events.eta(rows),
        phi=events.phi(rows),
        charge=sign * np.sign(events.code[rows]),
        x=events.x[rows],
        y=events.y[rows],
        z=events.z[rows],
        origin=origin_labels(above),
        heavy=above.heavy,
        electron=size[rows] == ELECTRON,
    )


def conversions(events: Events, generator: np.random.Generator) -> Candidates:
    """Electron pairs of photons that convert in the beam pipe or the first pixel layers."""
    rows = np.flatnonzero(events.final & (events.code == PHOTON))
    rows = rows[(events.pt(rows) > MIN_PHOTON_PT) & (np.abs(events.eta(rows)) < MAX_ETA)]
    radius, thickness = np.array(MATERIAL).T
    path = np.cumsum(thickness)[None, :] * np.cosh(events.eta(rows))[:, None]  # (S, layers)
    reached = generator.exponential(1 / PAIR_PRODUCTION, len(rows))[:, None] < path
    converts = reached.any(axis=1)
    rows, layer = rows[converts], reached[converts].argmax(axis=1)
    share = generator.random(len(rows))
    phi, eta, flight = events.phi(rows), events.eta(rows), radius[layer]
    positron = Candidates(
        event=events.event[rows],
        pt=events.pt(rows) * share,
        eta=eta,
        phi=phi,
        charge=np.ones(len(rows), np.int64),
        x=events.x[rows] + flight * np.cos(phi),
        y=events.y[rows] + flight * np.sin(phi),
        z=events.z[rows] + flight * np.sinh(eta),
        origin=np.full(len(rows), OTHER_SECONDARY),
        heavy=np.full(len(rows), -1),
        electron=np.ones(len(rows), bool),
    )
    electron = replace(positron, pt=events.pt(rows) * (1 - share), charge=-positron.charge)
    both = concatenate([positron, electron])
    return both.select((both.pt > MIN_PT) & (np.hypot(both.x, both.y) < MAX_RADIUS))
