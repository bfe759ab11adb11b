"""The table "What it looked like" of the physics notes, within the statistics of some 4,500 jets."""

import numpy as np
import pytest

B, C, LIGHT, TAU = range(4)
PILEUP, FAKE, PRIMARY, FROM_B, FROM_BC, FROM_C, FROM_TAU, OTHER = range(8)


@pytest.fixture(scope="module")
def events(sample, read_file):
    """Jets and tracks of all three splits."""
    parts = [read_file(sample / f"pp_output_{split}.h5") for split in ("train", "val", "test")]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def of_flavour(events, flavour):
    chosen = events["jets"]["flavour_label"] == flavour
    tracks = events["tracks"][chosen]
    return events["jets"][chosen], tracks[tracks["valid"]]


@pytest.mark.parametrize(
    ("flavour", "fraction", "margin"), [(B, 0.32, 0.04), (C, 0.12, 0.025), (LIGHT, 0.55, 0.045), (TAU, 0.02, 0.01)]
)
def test_flavours_come_in_the_right_fractions(events, flavour, fraction, margin):
    assert np.mean(events["jets"]["flavour_label"] == flavour) == pytest.approx(fraction, abs=margin)


@pytest.mark.parametrize(("flavour", "number"), [(B, 8.0), (C, 7.2), (LIGHT, 6.9), (TAU, 3.7)])
def test_jets_have_the_right_number_of_tracks(events, flavour, number):
    jets, tracks = of_flavour(events, flavour)
    assert len(tracks) / len(jets) == pytest.approx(number, abs=0.9 if flavour == TAU else 0.4)


@pytest.mark.parametrize(
    ("flavour", "origin", "fraction"),
    [
        (B, PILEUP, 0.13),
        (B, PRIMARY, 0.31),
        (B, FROM_B, 0.25),
        (B, FROM_BC, 0.28),
        (B, FROM_C, 0.0),
        (C, PILEUP, 0.15),
        (C, PRIMARY, 0.51),
        (C, FROM_B, 0.0),
        (C, FROM_C, 0.28),
        (LIGHT, PILEUP, 0.17),
        (LIGHT, PRIMARY, 0.75),
        (LIGHT, FROM_B, 0.0),
        (LIGHT, FROM_C, 0.0),
        (TAU, PILEUP, 0.33),
        (TAU, PRIMARY, 0.25),
    ],
)
def test_tracks_come_from_the_right_origins(events, flavour, origin, fraction):
    _, tracks = of_flavour(events, flavour)
    margin = 0.1 if flavour == TAU else 0.045
    assert np.mean(tracks["ftagTruthOriginLabel"] == origin) == pytest.approx(fraction, abs=margin)


@pytest.mark.parametrize("flavour", [B, C, LIGHT])
def test_one_track_in_a_hundred_is_fake(events, flavour):
    _, tracks = of_flavour(events, flavour)
    assert np.mean(tracks["ftagTruthOriginLabel"] == FAKE) == pytest.approx(0.012, abs=0.006)


@pytest.mark.parametrize(
    ("flavour", "above", "below"), [(B, 0.33, 0.05), (C, 0.11, 0.04), (LIGHT, 0.03, 0.03), (TAU, 0.12, 0.04)]
)
def test_lifetime_shows_in_the_tails_of_the_signed_d0_significance(events, flavour, above, below):
    _, tracks = of_flavour(events, flavour)
    significance = tracks["lifetimeSignedD0Significance"]
    margin = 0.06 if flavour == TAU else 0.025
    assert np.mean(significance > 3) == pytest.approx(above, abs=margin)
    assert np.mean(significance < -3) == pytest.approx(below, abs=margin)


@pytest.mark.parametrize(("flavour", "mean", "median"), [(B, 5.5, 3.1), (C, 3.2, 1.6)])
def test_hadrons_fly_the_right_distance(events, flavour, mean, median):
    jets, _ = of_flavour(events, flavour)
    lxy = jets["HadronConeExclTruthLabelLxy"]
    assert lxy.mean() == pytest.approx(mean, rel=0.25)
    assert np.median(lxy) == pytest.approx(median, rel=0.2)


@pytest.mark.parametrize(("flavour", "pt"), [(B, 75), (C, 68), (LIGHT, 61), (TAU, 51)])
def test_jets_have_the_right_mean_pt(events, flavour, pt):
    jets, _ = of_flavour(events, flavour)
    assert jets["pt_btagJes"].mean() / 1000 == pytest.approx(pt, rel=0.2 if flavour == TAU else 0.07)


def test_core_of_the_primary_tracks_significance_has_width_one(events):
    tracks = events["tracks"][events["tracks"]["valid"]]
    significance = tracks["lifetimeSignedD0Significance"][tracks["ftagTruthOriginLabel"] == PRIMARY]
    density, edges = np.histogram(significance, np.linspace(-2, 2, 21))
    curvature = np.polyfit((edges[1:] + edges[:-1]) / 2, np.log(density), 2)[0]  # of a Gaussian's logarithm
    assert np.sqrt(-1 / (2 * curvature)) == pytest.approx(1.05, abs=0.06)


@pytest.mark.parametrize(("low", "high", "micrometres"), [(1, 2, 66), (5, 10, 19), (20, 1000, 14)])
def test_d0_is_measured_as_well_as_momentum_allows(events, low, high, micrometres):
    tracks = events["tracks"][events["tracks"]["valid"]]
    pt = tracks["pt"] / 1000
    chosen = tracks[(pt > low) & (pt < high)]
    sigma = np.abs(chosen["d0"] / chosen["lifetimeSignedD0Significance"])
    assert 1000 * np.mean(sigma) == pytest.approx(micrometres, rel=0.12)


def test_heavy_hadrons_of_a_jet_own_its_tracks(events):
    jets, tracks, hadrons = (events[name] for name in ("jets", "tracks", "truth_hadrons"))
    from_b = np.isin(tracks["ftagTruthOriginLabel"], (FROM_B, FROM_BC)) & (jets["flavour_label"] == B)[:, None]
    owned = (tracks["ftagTruthParentBarcode"][:, :, None] == hadrons["barcode"][:, None, :]).any(axis=2)
    assert owned[from_b].mean() > 0.9
