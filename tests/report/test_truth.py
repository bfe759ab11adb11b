"""Track origins and vertices, by hand."""

import numpy as np
import pytest

from salt.report.evaluation import Tracks
from salt.report.truth import (
    ORIGIN_LABEL,
    ORIGINS,
    PairCounts,
    TrackTally,
    count_pairs,
    origin_columns,
    origin_confusion,
)


def tracks_of(predicted, **columns):
    predicted = np.array(predicted, dtype=bool)
    return Tracks({name: np.array(values) for name, values in columns.items()}, predicted, predicted)


def test_the_confusion_counts_truth_by_call_and_leaves_padding_out():
    called = np.array([[2, 2, 3, 0]])
    scores = {name: (called == index).astype("f4") for index, name in enumerate(origin_columns("toy"))}
    confusion = origin_confusion(tracks_of([[1, 1, 1, 0]], **{ORIGIN_LABEL: [[2, 3, 3, -1]]}, **scores), "toy")
    expected = np.zeros((8, 8), int)
    expected[2, 2] = expected[3, 2] = expected[3, 3] = 1
    assert np.array_equal(confusion, expected)


def test_pairs_are_counted_within_jets_and_vertices():
    # jet 0: truth has 3 displaced pairs; calls {0,1,2} and {3,4}: 1 correct pair of 4, one pair of primaries left out
    truth = [[1, 1, 0, 0, 1, -1], [1, 1, 2, -2, -2, -1]]
    called = [[0, 0, 0, 3, 3, 9], [5, 4, 5, 4, 4, 9]]
    real = [[1, 1, 1, 1, 1, 0], [1, 1, 1, 1, 1, 0]]
    counts = count_pairs(tracks_of(real, ftagTruthVertexIndex=truth, VertexIndex=called), "VertexIndex")
    assert counts == PairCounts(true=3 + 1, grouped=4 + 4, correct=1)
    assert counts.efficiency == pytest.approx(1 / 4)
    assert counts.purity == pytest.approx(1 / 8)


def test_pairs_of_primary_tracks_do_not_count_against_the_purity():
    counts = count_pairs(tracks_of([[1, 1, 1, 1]], ftagTruthVertexIndex=[[0, 0, 1, 1]], V=[[0, 0, 2, 2]]), "V")
    assert counts == PairCounts(true=1, grouped=1, correct=1)


def test_pairs_of_no_track_are_none():
    counts = count_pairs(tracks_of([[0, 0]], ftagTruthVertexIndex=[[-1, -1]], V=[[-1, -1]]), "V")
    assert counts == PairCounts()
    assert np.isnan(counts.efficiency)
    assert np.isnan(counts.purity)


def test_pairs_equal_counting_them_one_by_one():
    generator = np.random.default_rng(1)
    truth, called = generator.integers(-2, 4, (50, 9)), generator.integers(0, 5, (50, 9))
    real = generator.random((50, 9)) < 0.8
    expected = [0, 0, 0]
    for jet in range(50):
        rows = np.nonzero(real[jet])[0]
        for i in rows:
            for j in rows[rows > i]:
                true = truth[jet, i] == truth[jet, j] > 0
                grouped = called[jet, i] == called[jet, j] and not (truth[jet, i] == truth[jet, j] == 0)
                expected = [a + b for a, b in zip(expected, (true, grouped, true and grouped), strict=True)]
    assert count_pairs(tracks_of(real, ftagTruthVertexIndex=truth, V=called), "V") == PairCounts(*expected)


def test_a_tally_wants_only_what_can_be_read():
    assert TrackTally("toy", {"VertexIndex"}).wanted() == set()
    full = {ORIGIN_LABEL, *origin_columns("toy"), "ftagTruthVertexIndex", "VertexIndex"}
    assert TrackTally("toy", full).wanted() == full
    assert "toy_VertexIndex" in TrackTally("toy", full | {"toy_VertexIndex"}).wanted()
    assert len(ORIGINS) == 8
