import pytest
import torch

from salt.data.order import EpochOrder


def test_each_epoch_holds_each_jet_exactly_once():
    order = EpochOrder(1003, 10, seed=3)
    for epoch in range(3):
        assert torch.cat(list(order.batches(epoch))).sort().values.tolist() == list(range(1003))


def test_another_epoch_has_another_order():
    order = EpochOrder(1000, 10, seed=3)
    assert (order.indices(0) == order.indices(1)).float().mean() < 0.02


def test_another_seed_has_another_order():
    assert (EpochOrder(1000, 10, seed=3).indices(1) == EpochOrder(1000, 10, seed=4).indices(1)).float().mean() < 0.02


def test_seed_and_epoch_do_not_stand_in_for_each_other():
    assert not torch.equal(EpochOrder(1000, 10, seed=3).indices(4), EpochOrder(1000, 10, seed=4).indices(3))


def test_the_same_seed_and_epoch_have_the_same_order():
    torch.manual_seed(0)
    first = EpochOrder(1000, 10, seed=3).indices(5)
    torch.manual_seed(1)
    assert torch.equal(first, EpochOrder(1000, 20, seed=3).indices(5))


def test_the_order_leaves_the_global_generator_alone():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    EpochOrder(1000, 10, seed=3).indices(5)
    assert torch.equal(torch.rand(3), expected)


def test_jets_of_a_batch_do_not_stay_together():
    order = EpochOrder(1000, 100, seed=3)
    first, second = (next(iter(order.batches(epoch))).tolist() for epoch in (0, 1))
    assert len(set(first) & set(second)) < 30


@pytest.mark.parametrize("seed", [0, 2**64 - 1, -5])
def test_any_seed_will_do(seed):
    assert EpochOrder(10, 3, seed).indices(0).sort().values.tolist() == list(range(10))


def test_without_shuffle_jets_keep_the_order_of_the_file():
    assert torch.cat(list(EpochOrder(25, 10, shuffle=False).batches(7))).tolist() == list(range(25))


@pytest.mark.parametrize(("num_jets", "ranks"), [(120, 3), (125, 3), (122, 3), (128, 4), (3, 3)])
def test_ranks_are_disjoint_and_together_the_batches_of_one_rank(num_jets, ranks):
    one = EpochOrder(num_jets, 10 * ranks, seed=1)
    many = [EpochOrder(num_jets, 10, seed=1, rank=rank, num_ranks=ranks) for rank in range(ranks)]
    shares = [list(order.batches(2)) for order in many]
    assert {len(order) for order in many} == {len(share) for share in shares}
    together = [torch.cat(parts) for parts in zip(*shares, strict=True)]
    for mine, whole in zip(together, one.batches(2), strict=False):
        assert torch.equal(mine, whole)
    assert num_jets - sum(map(len, together)) < ranks


def test_a_rest_is_split_as_evenly_as_it_goes():
    sizes = [len(list(EpochOrder(68, 10, rank=rank, num_ranks=3).batches(0))[-1]) for rank in range(3)]
    assert sizes == [3, 3, 2]


def test_a_rest_smaller_than_the_ranks_is_dropped():
    assert len(EpochOrder(62, 10, num_ranks=3)) == 2


def test_drop_last_drops_what_is_not_full():
    assert [len(batch) for batch in EpochOrder(35, 10, drop_last=True).batches(0)] == [10, 10, 10]


def test_starting_at_a_step_gives_the_rest():
    order = EpochOrder(95, 10, seed=1)
    whole = list(order.batches(4))
    rest = list(order.batches(4, start_step=6))
    assert len(rest) == 4
    assert all(torch.equal(a, b) for a, b in zip(rest, whole[6:], strict=True))


def test_fewer_jets_than_ranks_is_an_error():
    with pytest.raises(ValueError, match="2 jets do not make one batch for 3 ranks"):
        EpochOrder(2, 10, num_ranks=3)


def test_a_batch_of_nothing_is_an_error():
    with pytest.raises(ValueError, match=r"data\.batch_size is 0"):
        EpochOrder(2, 0)
