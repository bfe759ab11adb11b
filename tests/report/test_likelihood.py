"""The baseline on tracks made for it."""

import numpy as np
import pytest

from salt.report import likelihood
from salt.report.evaluation import LIGHT, TAU, B, C, Tracks
from salt.report.metrics import area, discriminant
from salt.report.run import InputError


def make_tracks(d0, z0=None, real=None, **hits):
    """Tracks (n, L) with good hits unless told otherwise."""
    d0 = np.atleast_2d(np.asarray(d0, dtype="f4"))
    columns = {name: np.zeros(d0.shape, "u1") for name in likelihood.COLUMNS}
    columns |= {likelihood.D0: d0, likelihood.Z0: np.zeros_like(d0) if z0 is None else z0}
    columns |= {likelihood.INNERMOST: np.ones(d0.shape, "u1"), likelihood.NEXT: np.ones(d0.shape, "u1")}
    columns |= {getattr(likelihood, name): np.full(d0.shape, value, "u1") for name, value in hits.items()}
    real = np.ones(d0.shape, bool) if real is None else real
    return Tracks(columns, real, real)


def sample(num_jets, generator):
    """Flavours and tracks whose d0 significance has a mean of 4, 1 and 0."""
    flavour = generator.choice([B, C, LIGHT, TAU], num_jets)
    mean = np.array([4.0, 1.0, 0.0, 1.0])[flavour][:, None]
    tracks = make_tracks(generator.normal(mean, 2.0, (num_jets, 4)), real=generator.random((num_jets, 4)) < 0.8)
    return flavour, tracks


@pytest.fixture(scope="module")
def fitted():
    return likelihood.fit_likelihood([sample(20_000, np.random.default_rng(1))])


@pytest.mark.parametrize(
    ("hits", "expected"),
    [
        ({}, 4),
        ({"SCT_SHARED": 1}, 4),
        ({"SCT_SHARED": 2}, 3),
        ({"PIXEL_SHARED": 1}, 3),
        ({"INNERMOST_SHARED": 1, "PIXEL_SHARED": 1}, 2),
        ({"INNERMOST_SPLIT": 1}, 2),
        ({"INNERMOST": 0}, 1),
        ({"NEXT": 0}, 1),
        ({"INNERMOST": 0, "NEXT": 0, "PIXEL_SHARED": 1}, 0),
    ],
)
def test_the_grade_of_a_track_follows_its_hits(hits, expected):
    assert likelihood.grade(make_tracks([0.0], **hits).columns) == np.array([[expected]])


def test_a_jet_without_tracks_is_neutral(fitted):
    tracks = make_tracks(np.full((2, 3), np.nan), real=np.zeros((2, 3), bool))
    assert np.array_equal(fitted.scores(tracks), np.zeros((2, 3)))


def test_tracks_without_a_finite_significance_do_not_vote(fitted):
    assert np.array_equal(fitted.scores(make_tracks([[np.nan, 5.0]])), fitted.scores(make_tracks([[5.0]])))


def test_votes_add_up_whatever_their_order(fitted):
    alone = [fitted.scores(make_tracks([[value]])) for value in (5.0, -1.0, 0.3)]
    assert fitted.scores(make_tracks([[5.0, -1.0, 0.3]])) == pytest.approx(sum(alone))
    assert fitted.scores(make_tracks([[0.3, 5.0, -1.0]])) == pytest.approx(sum(alone))


def test_the_likelihood_is_nearly_as_good_as_the_true_one(fitted):
    flavour, tracks = sample(20_000, np.random.default_rng(2))
    d0 = np.where(tracks.real, tracks.columns[likelihood.D0], np.nan)
    true = np.stack([np.nansum(-((d0 - mean) ** 2) / 8, axis=1) for mean in (4.0, 1.0, 0.0)], axis=1)
    found, best = (
        area(*(discriminant(*scores[flavour == code].T, 0.05) for code in (B, LIGHT)))[0]
        for scores in (fitted.scores(tracks), true)
    )
    assert best - 0.005 < found <= best + 0.002


def test_templates_do_not_depend_on_how_the_file_is_cut_into_blocks(fitted):
    flavour, tracks = sample(20_000, np.random.default_rng(1))
    parts = [
        (flavour[rows], Tracks({k: v[rows] for k, v in tracks.columns.items()}, tracks.real[rows], tracks.real[rows]))
        for rows in (slice(0, 7), slice(7, 9000), slice(9000, None))
    ]
    again = likelihood.fit_likelihood(parts)
    shown = make_tracks([[3.0, -2.0, 60.0]])
    assert np.array_equal(again.scores(shown), fitted.scores(shown))
    assert again.num_jets == (flavour != TAU).sum()


def test_a_grade_that_was_never_seen_votes_for_nobody(fitted):
    scores = fitted.scores(make_tracks([[5.0]], INNERMOST=0, NEXT=0))
    assert scores[0] == pytest.approx(scores[0, 0])


def test_a_training_file_without_c_jets_is_refused():
    flavour, tracks = sample(100, np.random.default_rng(3))
    with pytest.raises(InputError, match=r"gave \d+ b, 0 c, \d+ light.*--train-file"):
        likelihood.fit_likelihood([(np.where(flavour == C, B, flavour), tracks)])
