"""Figures of objects that were found, counted by hand."""

import pytest
import torch

from salt.layout import Packed
from salt.metrics.objects import FOUND_MASKS, NUM_TRUE, TRUE_CLASS, TRUE_MASKS, Objects
from salt.ragged import Segments

JETS = 10  # the least that figures are given of


@pytest.fixture
def layout():
    """Jets of four constituents."""
    return Packed(Segments.from_lengths(torch.full((JETS,), 4)))


def count(layout, found, true, found_mask, true_mask, num_true=1, jets=JETS, criteria=None):
    """Figures of jets that are all alike; classes b, c, none (2)."""
    monitor = Objects(["b", "c"], criteria or {"perfect": (1.0, 1.0), "loose": (0.5, 0.5)})
    probabilities = torch.nn.functional.one_hot(torch.tensor([found] * jets), 3).float()
    labels = {
        TRUE_CLASS: torch.tensor([true] * jets),
        FOUND_MASKS: torch.tensor(found_mask, dtype=torch.bool).repeat(jets, 1),
        TRUE_MASKS: torch.tensor(true_mask, dtype=torch.bool).repeat(jets, 1),
        NUM_TRUE: torch.full((jets,), num_true),
    }
    monitor.add(probabilities, labels, layout, None)
    return monitor.figures()


def test_an_object_that_is_found_whole_is_found_by_every_criterion(layout):
    mask = [[1, 0], [1, 0], [0, 0], [0, 0]]
    figures = count(layout, [0, 2], [0, 2], mask, mask)
    assert figures["class_exact_match"] == figures["class_accuracy_micro"] == figures["class_accuracy_macro"] == 1
    assert figures["b_eff"] == figures["b_pur"] == figures["notnull_eff"] == figures["notnull_pur"] == 1
    assert figures["query_perfect_match_eff"] == figures["query_loose_match_eff"] == 1
    assert figures["query_perfect_match_fake"] == figures["query_loose_match_fake"] == 0
    assert figures["c_eff"] is None  # there is no such object


def test_half_of_an_object_is_found_by_the_loose_criterion_only(layout):
    figures = count(layout, [0, 2], [0, 2], [[1, 0], [0, 0], [1, 0], [0, 0]], [[1, 0], [1, 0], [0, 0], [0, 0]])
    assert (figures["query_perfect_match_eff"], figures["query_perfect_match_fake"]) == (0, 1)
    assert (figures["query_loose_match_eff"], figures["query_loose_match_fake"]) == (1, 0)


def test_one_too_much_and_one_taken_for_another_are_counted(layout):
    mask = [[1, 0], [0, 1], [0, 1], [0, 0]]
    figures = count(layout, [1, 0], [0, 2], mask, [[1, 0], [0, 0], [0, 0], [0, 0]])
    assert figures["class_exact_match"] == figures["class_accuracy_micro"] == 0
    assert (figures["b_eff"], figures["b_pur"], figures["c_pur"]) == (0, 0, 0)
    assert (figures["notnull_eff"], figures["notnull_pur"]) == (1, 0.5)
    assert figures["query_perfect_match_fake"] == 0.5


def test_an_object_that_nobody_answers_for_lowers_the_efficiency(layout):
    mask = [[1, 0], [1, 0], [0, 0], [0, 0]]
    assert count(layout, [0, 2], [0, 2], mask, mask, num_true=2)["query_perfect_match_eff"] == 0.5


def test_what_is_told_to_be_no_object_is_no_fake(layout):
    figures = count(layout, [2, 2], [0, 2], [[1, 0], [0, 1], [0, 0], [0, 0]], [[1, 0], [0, 0], [0, 0], [0, 0]])
    assert (figures["query_loose_match_eff"], figures["query_loose_match_fake"]) == (0, None)


def test_criteria_have_the_names_that_the_user_gives(layout):
    mask = [[1, 0], [1, 0], [0, 0], [0, 0]]
    figures = count(layout, [0, 2], [0, 2], mask, mask, criteria={"tight": (0.9, 0.9)})
    assert {name for name in figures if "query" in name} == {"query_tight_match_eff", "query_tight_match_fake"}
