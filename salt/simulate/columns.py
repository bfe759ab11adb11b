"""The columns of the files: their types and how they are padded."""

from __future__ import annotations

from typing import Any

import numpy as np

from salt.simulate.events import Array

MAX_TRACKS, MAX_HADRONS = 40, 5

COUNTS = tuple(
    f"numberOf{name}"
    for name in (
        "PixelHits",
        "SCTHits",
        "InnermostPixelLayerHits",
        "NextToInnermostPixelLayerHits",
        "InnermostPixelLayerSharedHits",
        "InnermostPixelLayerSplitHits",
        "PixelSharedHits",
        "PixelSplitHits",
        "SCTSharedHits",
    )
)
TRACK_FLOATS = (
    "d0",
    "z0SinTheta",
    "dphi",
    "deta",
    "qOverP",
    "lifetimeSignedD0Significance",
    "lifetimeSignedZ0SinThetaSignificance",
    "phiUncertainty",
    "thetaUncertainty",
    "qOverPUncertainty",
    "pt",
    "eta",
    "phi",
)
TRACKS = np.dtype(
    [(name, "f4") for name in TRACK_FLOATS]
    + [(name, "u1") for name in COUNTS]
    + [("ftagTruthOriginLabel", "i1"), ("ftagTruthVertexIndex", "i1"), ("ftagTruthParentBarcode", "i8"), ("valid", "?")]
)
HADRONS = np.dtype(
    [("barcode", "i8"), ("flavour", "i1")]
    + [(name, "f4") for name in ("pt", "mass", "Lxy", "deta", "dphi")]
    + [("valid", "?")]
)


def jet_dtype(weighted: bool) -> np.dtype[Any]:
    """Type of the jets, with `mcEventWeight` where events carry weights."""
    floats = ["pt_btagJes", "eta_btagJes", "pt", "eta", "phi", "mass"]
    truth = ["HadronConeExclTruthLabelPt", "HadronConeExclTruthLabelLxy"]
    names = [*floats, *truth, *(["mcEventWeight"] if weighted else [])]
    return np.dtype(
        [(name, "f4") for name in names]
        + [("n_tracks", "i4"), ("HadronConeExclTruthLabelID", "i4"), ("HadronConeExclTruthLabelPdgId", "i4")]
        + [("flavour_label", "i4"), ("eventNumber", "i8"), ("jetFoldHash", "u4")]
    )


def padding(dtype: np.dtype[Any]) -> Array:
    """One padded record: NaN for floats, 0 for counts, -1 for labels, False for `valid`."""
    record = np.zeros((), dtype)
    for name in dtype.names or ():
        kind = dtype[name].kind
        record[name] = np.nan if kind == "f" else -1 if kind == "i" else 0
    return record


def pad(ragged: Array, counts: Array, length: int) -> Array:
    """Spread ragged records into slots.

    Parameters
    ----------
    ragged : Array
        (T,) records, one jet after another.
    counts : Array
        (J,) records of each jet, at most `length`.
    length : int
        Slots a jet.

    Returns
    -------
    Array
        (J, length), the valid records first.
    """
    slots = np.full((len(counts), length), padding(ragged.dtype))
    slots[np.arange(length) < counts[:, None]] = ragged
    return slots


def mix(values: Array) -> Array:
    """Hash of integers to 32 bits (the finaliser of splitmix64, Steele et al. 2014): uniform even for 0, 1, 2..."""
    with np.errstate(over="ignore"):
        mixed = values.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((mixed ^ (mixed >> np.uint64(31))) >> np.uint64(32)).astype(np.uint32)
