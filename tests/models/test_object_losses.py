"""Losses of objects, computed by hand."""

import math

import pytest
import torch

from salt.layout import Packed
from salt.models.object_losses import ObjectLosses, Truth
from salt.ragged import Segments

ALL = {"object_class_ce": 1.0, "mask_ce": 1.0, "mask_dice": 1.0, "mask_focal": 1.0}
LARGE = 40.0  # logit of something that is sure


@pytest.fixture
def layout():
    """Two jets, of two constituents and of one."""
    return Packed(Segments.from_lengths(torch.tensor([2, 1])))


def truth(classes, masks):
    return Truth(torch.tensor(classes), torch.tensor(masks, dtype=torch.bool))


def of(losses, class_logits, mask_logits, true, layout, distances=()):
    answers = torch.tensor(class_logits, dtype=torch.float64), torch.tensor(mask_logits, dtype=torch.float64)
    matched = losses.match(*answers, true, layout, distances)
    return matched, {name: (s.item(), c.item()) for name, (s, c) in losses(*answers, true, matched, layout).items()}


def test_sure_and_right_answers_cost_nothing(layout):
    true = truth([[0, 1], [1, 2]], [[1, 0], [0, 1], [1, 0]])
    classes = [[[0, LARGE, 0], [LARGE, 0, 0]], [[0, LARGE, 0], [0, 0, LARGE]]]
    masks = [[-LARGE, LARGE], [LARGE, -LARGE], [LARGE, LARGE]]  # the second query has the first object
    matched, losses = of(ObjectLosses(2, ALL), classes, masks, true, layout)
    assert matched.query_of.tolist() == [[1, 0], [0, 0]]
    assert {name: total for name, (total, _) in losses.items()} == pytest.approx(dict.fromkeys(ALL, 0), abs=1e-12)


def test_sums_and_counts_are_those_of_a_calculation_by_hand(layout):
    true = truth([[0, 2], [2, 2]], [[1, 0], [0, 0], [0, 0]])
    zero = [[[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]], [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]]
    masks = [[0.0, 9.0], [math.log(3), 9.0], [5.0, 5.0]]  # probabilities 1/2 and 3/4 of the first query
    losses = ObjectLosses(2, ALL, null_class_weight=0.5)
    answers = torch.tensor(zero), torch.tensor(masks)
    matched = losses.match(*answers, true, layout)
    assert matched.query.tolist() == [0]
    found = losses(*answers, true, matched, layout)
    first, second = math.log(2), math.log(4)
    expected = {
        "object_class_ce": ((1 + 3 * 0.5) * math.log(3), 1 + 3 * 0.5),
        "mask_ce": (first + second, 2),
        "mask_focal": (0.5**2 * first + 0.75**2 * second, 2),
        "mask_dice": (1 - (2 * 0.5 + 1) / (1.25 + 1 + 1), 1),
    }
    assert found.keys() == expected.keys()
    for name, pair in expected.items():
        assert [x.item() for x in found[name]] == pytest.approx(pair, rel=1e-6), name


def test_slots_of_padding_count_where_they_are_asked_for(layout):
    true = truth([[0], [0]], [[1], [1], [0]])
    zeros = torch.zeros(2, 1, 2), torch.zeros(3, 1)
    for slots, count in ((None, 3), (40, 80)):
        losses = ObjectLosses(1, ALL, mask_slots=slots)
        found = losses(*zeros, true, losses.match(*zeros, true, layout), layout)
        assert found["mask_ce"][0].item() == pytest.approx(3 * math.log(2))
        assert found["mask_ce"][1] == found["mask_focal"][1] == count


def test_one_class_needs_one_logit_that_of_no_object(layout):
    losses = ObjectLosses(1, {"object_class_ce": 1.0, "mask_ce": 1.0}, null_class_weight=0.25)
    logits, true = torch.full((2, 2, 1), math.log(3)), truth([[0, 1], [1, 1]], [[1, 0], [1, 0], [0, 0]])
    assert losses.class_probs(logits)[0, 0].tolist() == pytest.approx([0.25, 0.75])
    masks = torch.zeros(3, 2)
    total, count = losses(logits, masks, true, losses.match(logits, masks, true, layout), layout)["object_class_ce"]
    assert total.item() == pytest.approx(math.log(4) + 3 * 0.25 * math.log(4 / 3))
    assert count == 4


def test_answers_of_other_tasks_help_to_match(layout):
    true = truth([[0, 0], [2, 2]], [[1, 1], [1, 1], [0, 0]])
    zeros = torch.zeros(2, 2, 3), torch.zeros(3, 2)
    apart = torch.tensor([[[0.0, 1.0], [1.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]])
    losses = ObjectLosses(2, {**ALL, "regression": 2.0})
    assert losses.match(*zeros, true, layout, [apart]).query_of[0].tolist() == [0, 1]
    assert losses.match(*zeros, true, layout, [1 - apart]).query_of[0].tolist() == [1, 0]


def test_weights_of_matching_can_be_others(layout):
    true = truth([[0, 2], [2, 2]], [[1, 0], [1, 0], [0, 0]])
    classes = torch.tensor([[[9.0, 0.0, 0.0], [0.0, 9.0, 0.0]], [[0.0] * 3] * 2])
    masks = torch.tensor([[-9.0, 9.0], [-9.0, 9.0], [0.0, 0.0]])  # one has the class, the other the mask
    by_class = ObjectLosses(2, ALL, matcher_weights={"object_class_ce": 1.0})
    by_mask = ObjectLosses(2, ALL, matcher_weights={"mask_dice": 1.0})
    assert by_class.match(classes, masks, true, layout).query.tolist() == [0]
    assert by_mask.match(classes, masks, true, layout).query.tolist() == [1]
    assert by_class.weights.keys() == ALL.keys()


def test_only_what_has_a_weight_and_is_asked_for_is_computed():
    assert list(ObjectLosses(2, {"mask_ce": 1.0, "mask_dice": 0.0, "regression": 1.0}).weights) == ["mask_ce"]
    assert list(ObjectLosses(2, ALL, losses=["labels"]).weights) == ["object_class_ce"]


def test_half_precision_is_added_up_in_full(layout):
    true = truth([[0], [0]], [[1], [1], [0]])
    answers = torch.zeros(2, 1, 2, dtype=torch.bfloat16), torch.zeros(3, 1, dtype=torch.bfloat16)
    losses = ObjectLosses(1, ALL)
    found = losses(*answers, true, losses.match(*answers, true, layout), layout)
    assert {total.dtype for total, _ in found.values()} == {torch.float32}
