"""Collision events as flat columns.

Shapes: P particles of all events, one after another; E events. Lengths in mm, momenta in GeV.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

# PDG codes (Review of Particle Physics, "Monte Carlo particle numbering scheme").
ELECTRON, MUON, TAU, PHOTON = 11, 13, 15, 22
NEUTRINOS = (12, 14, 16)
STABLE_CHARGED = (11, 13, 211, 321, 2212)
NEGATIVE_WHEN_POSITIVE_CODE = (11, 13)  # the code of e- and mu- is positive


@dataclass(frozen=True, slots=True)
class Events:
    """Generated particles with their ancestry.

    Parameters
    ----------
    num_events : int
        E, events without particles included.
    weight : Array
        (E,) the generator's event weight.
    event : Array
        (P,) event of the particle, ascending.
    mother : Array
        (P,) row of the first mother, or the particle's own row where there is none.
    daughter : Array
        (P,) row of the first daughter, or the particle's own row where there is none.
    code, status : Array
        (P,) PDG code and Pythia status; final particles have a positive status.
    px, py, pz, energy : Array
        (P,) momentum [GeV].
    x, y, z : Array
        (P,) production vertex relative to the hard collision [mm].
    """

    num_events: int
    weight: Array
    event: Array
    mother: Array
    daughter: Array
    code: Array
    status: Array
    px: Array
    py: Array
    pz: Array
    energy: Array
    x: Array
    y: Array
    z: Array

    @property
    def final(self) -> Array:
        """(P,) whether the particle leaves the event."""
        return self.status > 0

    def pt(self, rows: Array) -> Array:
        """Transverse momentum of some rows [GeV]."""
        return np.hypot(self.px[rows], self.py[rows])

    def phi(self, rows: Array) -> Array:
        """Azimuth of some rows [rad]."""
        return np.arctan2(self.py[rows], self.px[rows])

    def eta(self, rows: Array) -> Array:
        """Pseudorapidity of some rows, finite also along the beam."""
        return np.arcsinh(self.pz[rows] / np.maximum(self.pt(rows), 1e-9))


def from_awkward(batch: Any) -> Events:
    """Flatten what `pythia.nextBatch` returns."""
    import awkward as ak

    particles = batch.prt
    counts = ak.to_numpy(ak.num(particles))
    first = np.concatenate([[0], np.cumsum(counts)[:-1]]) if len(counts) else np.zeros(0, np.int64)
    event = np.repeat(np.arange(len(counts)), counts)
    rows = np.arange(len(event))

    def column(values: Any) -> Array:
        flat = ak.to_numpy(ak.flatten(values))
        return np.ma.filled(flat, 0)

    def relative(name: str) -> Array:  # Pythia counts rows inside the event; 0 is "none"
        local = column(particles[name])
        return np.where(local > 0, local + first[event], rows)

    momentum, vertex = particles.p, particles.vProd  # the vertex, too, calls its components px, py, pz
    return Events(
        num_events=len(counts),
        weight=ak.to_numpy(batch.info.weights[:, 0]),
        event=event,
        mother=relative("mother1"),
        daughter=relative("daughter1"),
        code=column(particles.id),
        status=column(particles.status),
        px=column(momentum.px),
        py=column(momentum.py),
        pz=column(momentum.pz),
        energy=column(momentum.e),
        x=column(vertex.px),
        y=column(vertex.py),
        z=column(vertex.pz),
    )


def concatenate(parts: list[Events]) -> Events:
    """One collection of events out of several, renumbered."""
    event_shift = np.cumsum([0] + [part.num_events for part in parts])
    row_shift = np.cumsum([0] + [len(part.event) for part in parts])
    columns: dict[str, Array] = {}
    for field in fields(Events)[1:]:
        shift = {"event": event_shift, "mother": row_shift, "daughter": row_shift}.get(field.name)
        columns[field.name] = np.concatenate(
            [getattr(part, field.name) + (0 if shift is None else shift[i]) for i, part in enumerate(parts)]
        )
    return Events(num_events=int(event_shift[-1]), **columns)
