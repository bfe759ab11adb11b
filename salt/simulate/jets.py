"""Jets: clustered, measured and labelled.

Shapes: J jets, H hadrons. Momenta in GeV, lengths in mm.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from salt.simulate import ancestry, pairing
from salt.simulate.events import ELECTRON, MUON, NEUTRINOS, TAU, Array, Events

RADIUS = 0.4
MIN_PT, MAX_ETA = 20.0, 2.5  # of measured jets, as in the open dataset Zenodo 10.5281/zenodo.10371998
MIN_TRUE_PT = 8.0  # a jet below does not fluctuate above MIN_PT
# Relative pT resolution sqrt((NOISE/pT)^2 + STOCHASTIC^2/pT + CONSTANT^2), after ATLAS's jet energy resolution
# at mean pile-up (arXiv:2007.02645): about 20 % at 20 GeV and 8 % at 100 GeV.
NOISE, STOCHASTIC, CONSTANT = 2.5, 0.65, 0.04
ANGLE, ANGLE_CONSTANT = 0.3, 0.003  # resolution of eta and phi: ANGLE / pT[GeV] + ANGLE_CONSTANT

HADRON_MIN_PT, HADRON_RADIUS = 5.0, 0.3  # ATLAS's exclusive cone labelling
FLAVOUR_NAMES = ("bjets", "cjets", "ujets", "taujets")
FLAVOUR_BY_LABEL = {5: 0, 4: 1, 0: 2, 15: 3}  # HadronConeExclTruthLabelID -> index into FLAVOUR_NAMES


@dataclass(frozen=True, slots=True)
class Jets:
    """Measured jets, ordered by event.

    Parameters
    ----------
    event : Array
        (J,) event.
    pt, eta, phi, mass : Array
        (J,) as measured [GeV].
    """

    event: Array
    pt: Array
    eta: Array
    phi: Array
    mass: Array

    def __len__(self) -> int:
        return len(self.event)

    def select(self, rows: Array) -> Jets:
        """The jets at some rows, or where a mask is true."""
        return Jets(*(getattr(self, field.name)[rows] for field in fields(self)))


@dataclass(frozen=True, slots=True)
class Hadrons:
    """Weakly decaying hadrons and taus, each with its nearest jet.

    Parameters
    ----------
    row : Array
        (H,) row in the events.
    label : Array
        (H,) 5, 4 or 15.
    code : Array
        (H,) PDG code.
    pt, eta, phi, mass, lxy : Array
        (H,) momentum [GeV] and transverse distance from collision to decay [mm].
    jet : Array
        (H,) row of the jet.
    """

    row: Array
    label: Array
    code: Array
    pt: Array
    eta: Array
    phi: Array
    mass: Array
    lxy: Array
    jet: Array


def visible(events: Events) -> Array:
    """Rows of the particles that are clustered: no neutrinos, muons or prompt electrons."""
    size = np.abs(events.code)
    rows = np.flatnonzero(events.final & ~np.isin(size, (*NEUTRINOS, MUON)))
    electrons = rows[size[rows] == ELECTRON]
    nothing = np.zeros(len(size), np.int64)
    above = ancestry.trace(events, electrons, nothing, nothing.astype(bool))
    prompt = electrons[~above.from_hadron]
    return rows[~np.isin(rows, prompt)]


def cluster(events: Events) -> Jets:
    """Anti-kt jets of the visible particles, before measurement."""
    import awkward as ak
    import fastjet

    rows = visible(events)
    counts = np.bincount(events.event[rows], minlength=events.num_events)
    columns = {"px": events.px, "py": events.py, "pz": events.pz, "E": events.energy}
    flat = ak.zip({name: column[rows] for name, column in columns.items()}, with_name="Momentum4D")
    definition = fastjet.JetDefinition(fastjet.antikt_algorithm, RADIUS)
    found = fastjet.ClusterSequence(ak.unflatten(flat, counts), definition).inclusive_jets(min_pt=MIN_TRUE_PT)
    per_event = ak.to_numpy(ak.num(found))

    def column(values: Any) -> Array:
        return ak.to_numpy(ak.flatten(values))

    px, py, pz, energy = (column(found[name]) for name in ("px", "py", "pz", "E"))
    pt = np.hypot(px, py)
    jets = Jets(
        event=np.repeat(np.arange(events.num_events), per_event),
        pt=pt,
        eta=np.arcsinh(pz / pt),
        phi=np.arctan2(py, px),
        mass=np.sqrt(np.maximum(energy**2 - pt**2 - pz**2, 0)),
    )
    return jets.select(np.lexsort((-jets.pt, jets.event)))


def measure(jets: Jets, generator: np.random.Generator) -> Jets:
    """Smear jets by the calorimeter's resolution and keep those in acceptance."""
    relative = np.sqrt((NOISE / jets.pt) ** 2 + STOCHASTIC**2 / jets.pt + CONSTANT**2)
    scale = np.maximum(1 + relative * generator.standard_normal(len(jets)), 0.05)
    angle = ANGLE / jets.pt + ANGLE_CONSTANT
    measured = Jets(
        event=jets.event,
        pt=jets.pt * scale,
        eta=jets.eta + angle * generator.standard_normal(len(jets)),
        phi=pairing.delta_phi(jets.phi + angle * generator.standard_normal(len(jets)), 0.0),
        mass=jets.mass * scale,
    )
    return measured.select((measured.pt > MIN_PT) & (np.abs(measured.eta) < MAX_ETA))


def match_hadrons(events: Events, quark: Array, weak: Array, jets: Jets) -> Hadrons:
    """Give each heavy hadron and tau with pT > 5 GeV to its nearest jet within dR 0.3."""
    size = np.abs(events.code)
    last_tau = (size == TAU) & (np.abs(events.code[events.daughter]) != TAU) & ~events.final
    rows = np.flatnonzero(weak | last_tau)
    rows = rows[events.pt(rows) > HADRON_MIN_PT]
    eta, phi = events.eta(rows), events.phi(rows)
    radius = np.full(len(jets), HADRON_RADIUS)
    jet = pairing.nearest((events.event[rows], eta, phi), (jets.event, jets.eta, jets.phi), radius)
    rows, eta, phi, jet = (column[jet >= 0] for column in (rows, eta, phi, jet))
    decay = events.daughter[rows]
    momentum = events.px[rows] ** 2 + events.py[rows] ** 2 + events.pz[rows] ** 2
    return Hadrons(
        row=rows,
        label=np.where(weak[rows], quark[rows], TAU),
        code=events.code[rows],
        pt=events.pt(rows),
        eta=eta,
        phi=phi,
        mass=np.sqrt(np.maximum(events.energy[rows] ** 2 - momentum, 0)),
        lxy=np.hypot(events.x[decay], events.y[decay]),
        jet=jet,
    )


def label(hadrons: Hadrons, num_jets: int) -> tuple[Array, Array]:
    """HadronConeExclTruthLabelID of each jet, 5 before 4 before 15 before 0, and the hardest such hadron.

    Returns
    -------
    tuple[Array, Array]
        (J,) labels, and (J,) rows into `hadrons`, -1 for light jets.
    """
    priority = np.select([hadrons.label == ancestry.BOTTOM, hadrons.label == ancestry.CHARM], [0, 1], 2)
    order = np.lexsort((-hadrons.pt, priority, hadrons.jet))
    jet, first = np.unique(hadrons.jet[order], return_index=True)
    leading = np.full(num_jets, -1)
    leading[jet] = order[first]
    labels = np.zeros(num_jets, np.int64)
    labels[jet] = hadrons.label[order[first]]
    return labels, leading
