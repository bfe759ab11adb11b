from itertools import chain

import pytest
import torch

from salt.data.order import FileOrder
from salt.data.parts import PartOrder


def batches(order):
    return [batch.tolist() for batch in order.batches(0)]


@pytest.mark.parametrize("num_jets", [1, 2, 9, 10, 11, 35, 100])
@pytest.mark.parametrize("num_ranks", [1, 2, 3, 7])
@pytest.mark.parametrize("window_jets", [1, 25, 1000])
def test_the_ranks_have_the_batches_of_one_in_their_order(num_jets, num_ranks, window_jets):
    parts = [PartOrder(num_jets, 10, rank, num_ranks, window_jets) for rank in range(num_ranks)]
    found = [batches(order) for order in parts]
    assert [len(order) for order in parts] == [len(of) for of in found]
    assert list(chain(*found)) == [part.tolist() for part in torch.arange(num_jets).split(10)]
    assert max(map(len, found)) - min(map(len, found)) <= 1


def test_each_window_names_what_its_batches_hold():
    for window in PartOrder(95, 10, 1, 3, 20).windows(0):
        ((first, count),) = window.ranges
        assert torch.cat(list(window.batches)).tolist() == list(range(first, first + count))


def test_it_goes_on_at_a_step():
    order = PartOrder(95, 10, 1, 2)
    assert [batch.tolist() for batch in order.batches(0, 2)] == batches(order)[2:]


@pytest.mark.parametrize("left", [0, 1, 2, 3])
def test_no_jet_is_missing_where_several_ranks_follow_the_file(left):
    ranks = [FileOrder(30 + left, 5, rank=rank, num_ranks=3) for rank in range(3)]
    jets = chain(*(chain(*batches(order)) for order in ranks))
    assert sorted(jets) == list(range(30 + left))
    assert len({len(order) for order in ranks}) == 1
