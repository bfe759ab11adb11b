"""A chunk: 500 events from generation to the columns of the files, from its own seed.

Shapes: J jets, T tracks, H hadrons of the chunk.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from salt.simulate import ancestry, candidates, columns, generator, jets, overlay, pairing, tracks, vertices
from salt.simulate.candidates import Candidates
from salt.simulate.events import Array, Events
from salt.simulate.generator import Process

EVENTS = 500
GEV = 1000.0  # MeV, the unit of the files
BARCODES_PER_EVENT = 100_000  # more than any event has particles, so barcodes are unique in a sample
PYTHIA_SEEDS = 900_000_000


@dataclass(frozen=True, slots=True)
class Chunk:
    """Columns as the files hold them, ragged.

    Parameters
    ----------
    jets : Array
        (J,) of `columns.jet_dtype`.
    tracks : Array
        (T,) of `columns.TRACKS`, one jet after another.
    hadrons : Array
        (H,) of `columns.HADRONS`, one jet after another.
    num_tracks, num_hadrons : Array
        (J,) of each jet.
    """

    jets: Array
    tracks: Array
    hadrons: Array
    num_tracks: Array
    num_hadrons: Array


def seeds(seed: int, process: Process, number: int) -> tuple[int, np.random.Generator]:
    """Pythia's seed and a source of randomness, of their own for each (seed, process, number)."""
    pythia, detector = np.random.SeedSequence(entropy=seed, spawn_key=(process.number, number)).spawn(2)
    return int(pythia.generate_state(1)[0]) % PYTHIA_SEEDS + 1, np.random.default_rng(detector)


def make_pool(seed: int, part: int) -> Candidates:
    """One part of the pool of minimum-bias events."""
    return overlay.make_pool(part, seeds(seed, generator.MINIMUM_BIAS, part)[0])


def simulate(process: Process, seed: int, number: int, pool: Candidates) -> Chunk:
    """Simulate one chunk.

    Parameters
    ----------
    process : Process
        What collides.
    seed : int
        The sample's seed.
    number : int
        Of the chunk in the sample.
    pool : Candidates
        All parts of the minimum-bias pool.
    """
    pythia_seed, rng = seeds(seed, process, number)
    events = generator.generate(process, EVENTS, pythia_seed)
    quark = ancestry.heaviest_quark(events.code)
    weak = ancestry.weakly_decaying(events, quark)
    found = jets.measure(jets.cluster(events), rng)
    particles = candidates.concatenate(
        [
            candidates.charged(events, quark, weak),
            candidates.conversions(events, rng),
            overlay.underlying(pool, events.num_events, rng),
            overlay.pileup(pool, events.num_events, rng),
        ]
    )
    reconstructed = tracks.reconstruct(particles, found, events.num_events, rng)
    hadrons = jets.match_hadrons(events, quark, weak, found)
    first_event = number * EVENTS
    barcode = (first_event + events.event) * BARCODES_PER_EVENT + np.arange(len(events.event)) - first_row(events)
    track_columns = fill_tracks(reconstructed, found, barcode)
    hadron_columns, num_hadrons = fill_hadrons(hadrons, found, barcode)
    num_tracks = np.bincount(reconstructed.jet, minlength=len(found))
    jet_columns = fill_jets(process, events, found, hadrons, first_event)
    jet_columns["n_tracks"] = num_tracks
    return Chunk(jet_columns, track_columns, hadron_columns, num_tracks, num_hadrons)


def first_row(events: Events) -> Array:
    """(P,) row at which the particle's event begins."""
    return np.searchsorted(events.event, np.arange(events.num_events))[events.event]


def fill_jets(process: Process, events: Events, found: jets.Jets, hadrons: jets.Hadrons, first_event: int) -> Array:
    """The columns of the jets."""
    table = np.zeros(len(found), columns.jet_dtype(process.weighted))
    label, leading = jets.label(hadrons, len(found))
    for name in ("pt", "pt_btagJes"):
        table[name] = GEV * found.pt
    for name in ("eta", "eta_btagJes"):
        table[name] = found.eta
    table["phi"], table["mass"] = found.phi, GEV * found.mass
    table["HadronConeExclTruthLabelID"] = label
    table["flavour_label"] = np.select(
        [label == code for code in jets.FLAVOUR_BY_LABEL], [*jets.FLAVOUR_BY_LABEL.values()]
    )
    labelled = leading >= 0
    for name, values in (("Pt", GEV * hadrons.pt), ("Lxy", hadrons.lxy)):
        column = table["HadronConeExclTruthLabel" + name]
        column[:] = np.nan
        column[labelled] = values[leading[labelled]]
    table["HadronConeExclTruthLabelPdgId"][labelled] = hadrons.code[leading[labelled]]
    table["eventNumber"] = first_event + found.event
    rank = np.arange(len(found)) - np.searchsorted(found.event, found.event)
    table["jetFoldHash"] = columns.mix(table["eventNumber"].astype(np.uint64) * np.uint64(64) + rank.astype(np.uint64))
    if process.weighted:
        table["mcEventWeight"] = events.weight[found.event]
    return table


def fill_tracks(found: tracks.Tracks, of_jets: jets.Jets, barcode: Array) -> Array:
    """The columns of the tracks."""
    table = np.zeros(len(found), columns.TRACKS)
    sigma, layers = found.uncertainties, found.hits
    q_over_p = found.charge / (GEV * found.pt * np.cosh(found.eta))
    values = {
        "pt": GEV * found.pt,
        "eta": found.eta,
        "phi": found.phi,
        "d0": found.d0,
        "z0SinTheta": found.z0_sin_theta,
        "deta": found.eta - of_jets.eta[found.jet],
        "dphi": pairing.delta_phi(found.phi, of_jets.phi[found.jet]),
        "qOverP": q_over_p,
        "lifetimeSignedD0Significance": found.signed_d0,
        "lifetimeSignedZ0SinThetaSignificance": found.signed_z0,
        "phiUncertainty": sigma.phi,
        "thetaUncertainty": sigma.theta,
        "qOverPUncertainty": sigma.momentum * np.abs(q_over_p),
        "numberOfPixelHits": layers.pixel,
        "numberOfSCTHits": layers.sct,
        "numberOfInnermostPixelLayerHits": layers.innermost,
        "numberOfNextToInnermostPixelLayerHits": layers.next_to_innermost,
        "numberOfInnermostPixelLayerSharedHits": layers.innermost_shared,
        "numberOfInnermostPixelLayerSplitHits": layers.innermost_split,
        "numberOfPixelSharedHits": layers.pixel_shared,
        "numberOfPixelSplitHits": layers.pixel_split,
        "numberOfSCTSharedHits": layers.sct_shared,
        "ftagTruthOriginLabel": found.truth.origin,
        "ftagTruthVertexIndex": vertices.vertex_index(found, len(of_jets)),
        "ftagTruthParentBarcode": np.where(found.truth.heavy >= 0, barcode[found.truth.heavy], -1),
        "valid": True,
    }
    for name, column in values.items():
        table[name] = column
    return table


def fill_hadrons(hadrons: jets.Hadrons, of_jets: jets.Jets, barcode: Array) -> tuple[Array, Array]:
    """The columns of the bottom and charm hadrons, hardest first, at most five a jet, and the number in each jet."""
    rows = np.flatnonzero(np.isin(hadrons.label, (ancestry.BOTTOM, ancestry.CHARM)))
    rows = rows[np.lexsort((-hadrons.pt[rows], hadrons.jet[rows]))]
    jet = hadrons.jet[rows]
    kept = np.arange(len(jet)) - np.searchsorted(jet, jet) < columns.MAX_HADRONS
    rows, jet = rows[kept], jet[kept]
    table = np.zeros(len(rows), columns.HADRONS)
    values = {
        "barcode": barcode[hadrons.row[rows]],
        "flavour": hadrons.label[rows],
        "pt": GEV * hadrons.pt[rows],
        "mass": GEV * hadrons.mass[rows],
        "Lxy": hadrons.lxy[rows],
        "deta": hadrons.eta[rows] - of_jets.eta[jet],
        "dphi": pairing.delta_phi(hadrons.phi[rows], of_jets.phi[jet]),
        "valid": True,
    }
    for name, column in values.items():
        table[name] = column
    return table, np.bincount(jet, minlength=len(of_jets))
