import math

import pytest
import torch
from torch import nn

from salt.layout import Packed
from salt.models import VertexingTask
from salt.ragged import Segments

LAYOUT = Packed(Segments.from_lengths(torch.tensor([2, 0])))


def task(**options):
    torch.manual_seed(1)
    return VertexingTask("vertex", "tracks", "ftagTruthVertexIndex", {"input_size": 8}, **options)


def labels(vertex, origin=(2, 2)):
    return {"ftagTruthVertexIndex": torch.tensor(vertex), "ftagTruthOriginLabel": torch.tensor(origin)}


RAW = torch.tensor([[0.0], [math.log(3)]], requires_grad=True)
"""Probabilities of both ordered pairs: 1/2, 3/4."""


def test_the_loss_of_pairs_is_divided_by_those_that_share_a_vertex():
    total, count = task().loss(RAW, labels([1, 1]), LAYOUT)
    assert (float(total.detach()), int(count)) == (pytest.approx(math.log(2) + math.log(4 / 3)), 2)


def test_pairs_of_heavy_flavour_count_twice():
    total, _ = task().loss(RAW, labels([1, 1], (3, 4)), LAYOUT)
    assert float(total.detach()) == pytest.approx(2 * (math.log(2) + math.log(4 / 3)))


def test_a_batch_without_a_shared_vertex_has_the_count_0():
    total, count = task().loss(RAW, labels([1, 2]), LAYOUT)
    assert (float(total.detach()), int(count)) == (pytest.approx(math.log(2) + math.log(4)), 0)


def test_a_positive_weight_is_that_of_torch():
    total, _ = task(loss=nn.BCEWithLogitsLoss(pos_weight=torch.tensor(5.0))).loss(RAW, labels([1, 1]), LAYOUT)
    assert float(total.detach()) == pytest.approx(5 * (math.log(2) + math.log(4 / 3)))


def test_a_loss_is_known_by_its_name():
    assert isinstance(task(loss="BCEWithLogitsLoss").loss_function, nn.BCEWithLogitsLoss)
    with pytest.raises(ValueError, match="loss MSELoss is not known for vertexing"):
        task(loss="MSELoss")


def test_upstream_calls_the_index_without_the_model():
    assert task().upstream_name("VertexIndex", "GN2") == "VertexIndex"
