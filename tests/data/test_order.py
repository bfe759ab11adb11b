"""The promises of each mode of `data.shuffle`.

Shapes: N jets, B jets of a batch.
"""

from itertools import pairwise

import numpy as np
import pytest
import torch

from salt.data.order import MODES, make_order

SHUFFLED = [mode for mode in MODES if mode != "none"]
WINDOW = {"block": 16, "num_blocks": 6}


def order_of(mode, num_jets, batch_size, seed=3, **facts):
    return make_order(mode, num_jets, batch_size, seed, **WINDOW | facts)


def jets_of(order, epoch=0):
    """(N,): all jets of an epoch, one batch after the other."""
    return torch.cat(list(order.batches(epoch)))


def expand(ranges):
    return {jet for first, count in ranges for jet in range(first, first + count)}


# --- what all modes promise ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("num_jets", "batch_size"), [(1000, 10), (1003, 10), (1003, 300), (7, 10), (1, 10), (1, 1)])
def test_each_epoch_holds_each_jet_exactly_once(mode, num_jets, batch_size):
    order = order_of(mode, num_jets, batch_size)
    for epoch in range(3):
        assert jets_of(order, epoch).sort().values.tolist() == list(range(num_jets))


@pytest.mark.parametrize("mode", MODES)
def test_all_batches_but_one_are_full(mode):
    sizes = sorted(len(batch) for batch in order_of(mode, 1003, 10).batches(1))
    assert sizes == [3, *[10] * 100]


@pytest.mark.parametrize("mode", ["exact", "window", "none"])
def test_the_batch_that_is_not_full_is_the_last(mode):
    assert [len(batch) for batch in order_of(mode, 35, 10).batches(4)] == [10, 10, 10, 5]


@pytest.mark.parametrize("mode", MODES)
def test_drop_last_drops_what_is_not_full(mode):
    order = order_of(mode, 35, 10, drop_last=True)
    assert [len(batch) for batch in order.batches(0)] == [10, 10, 10]
    assert len(jets_of(order).unique()) == 30


@pytest.mark.parametrize("mode", SHUFFLED)
def test_another_epoch_has_another_order(mode):
    order = order_of(mode, 1000, 10)
    assert (jets_of(order, 0) == jets_of(order, 1)).float().mean() < 0.05


@pytest.mark.parametrize("mode", SHUFFLED)
def test_another_seed_has_another_order(mode):
    first, second = (jets_of(order_of(mode, 1000, 10, seed), 1) for seed in (3, 4))
    assert (first == second).float().mean() < 0.05


@pytest.mark.parametrize("mode", SHUFFLED)
def test_seed_and_epoch_do_not_stand_in_for_each_other(mode):
    first, second = jets_of(order_of(mode, 1000, 10, 3), 4), jets_of(order_of(mode, 1000, 10, 4), 3)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("mode", MODES)
def test_the_same_seed_and_epoch_have_the_same_order(mode):
    torch.manual_seed(0)
    first = jets_of(order_of(mode, 1000, 10), 5)
    torch.manual_seed(1)
    assert torch.equal(first, jets_of(order_of(mode, 1000, 10), 5))


@pytest.mark.parametrize("mode", MODES)
def test_the_order_leaves_the_global_generator_alone(mode):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    jets_of(order_of(mode, 1000, 10), 5)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seed", [0, 2**64 - 1, -5])
def test_any_seed_will_do(mode, seed):
    assert jets_of(order_of(mode, 10, 3, seed)).sort().values.tolist() == list(range(10))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("num_jets", [95, 100, 300])
def test_starting_at_any_step_gives_the_rest(mode, num_jets):
    order = order_of(mode, num_jets, 10)
    whole = list(order.batches(4))
    for step in range(len(order) + 1):
        rest = list(order.batches(4, start_step=step))
        assert len(rest) == len(order) - step
        assert all(torch.equal(a, b) for a, b in zip(rest, whole[step:], strict=True))


# --- ranks --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("num_jets", "ranks"), [(120, 3), (125, 3), (128, 4), (500, 2), (3, 3)])
def test_ranks_are_disjoint_and_together_the_batches_of_one_rank(mode, num_jets, ranks):
    one = order_of(mode, num_jets, 10 * ranks)
    many = [order_of(mode, num_jets, 10, rank=rank, num_ranks=ranks) for rank in range(ranks)]
    shares = [list(order.batches(2)) for order in many]
    assert {len(order) for order in many} == {len(share) for share in shares}
    together = [torch.cat(parts) for parts in zip(*shares, strict=True)]
    assert all(torch.equal(mine, whole) for mine, whole in zip(together, one.batches(2), strict=True))
    assert torch.cat(together).sort().values.tolist() == list(range(num_jets))


def test_a_rest_is_split_as_evenly_as_it_goes():
    sizes = [len(list(order_of("exact", 68, 10, rank=rank, num_ranks=3).batches(0))[-1]) for rank in range(3)]
    assert sizes == [3, 3, 2]


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "none"])
def test_a_rest_smaller_than_the_ranks_is_dropped(mode):
    orders = [order_of(mode, 62, 10, rank=rank, num_ranks=3) for rank in range(3)]
    assert [len(order) for order in orders] == [2] * 3
    assert len(torch.cat([jets_of(order) for order in orders]).unique()) == 60


def test_ranks_of_batches_of_neighbours_read_no_jet_twice():
    windows = [list(order_of("batch", 500, 10, rank=rank, num_ranks=2).windows(0)) for rank in range(2)]
    first, second = (set().union(*(expand(window.ranges) for window in share)) for share in windows)
    assert not first & second
    assert first | second == set(range(500))


# --- windows ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("start_step", [0, 3, 17])
@pytest.mark.parametrize("facts", [{}, {"block": 3, "num_blocks": 2}, {"rank": 1, "num_ranks": 2}, {"drop_last": True}])
def test_a_window_holds_all_that_its_batches_need(mode, start_step, facts):
    order = order_of(mode, 1003, 20, **facts)
    before, served = set(), []
    for window in order.windows(2, start_step):
        carried = set(window.carried.tolist())
        assert carried <= before
        assert len(carried) < order.global_batch_size
        before = expand(window.ranges) | carried
        batches = list(window.batches)
        assert {jet for batch in batches for jet in batch.tolist()} <= before
        served += batches
    assert all(torch.equal(a, b) for a, b in zip(served, order.batches(2, start_step), strict=True))
    assert len(served) == len(order) - start_step


@pytest.mark.parametrize("mode", MODES)
def test_ranges_of_a_window_are_sorted_and_apart(mode):
    for window in order_of(mode, 1003, 10).windows(1):
        assert all(first + count < then for (first, count), (then, _) in pairwise(window.ranges))


@pytest.mark.parametrize("mode", ["window", "batch", "none"])
def test_a_window_reads_no_more_than_it_may(mode):
    windows = list(order_of(mode, 1003, 10).windows(1))
    assert len(windows) > 8
    assert max(sum(count for _, count in window.ranges) for window in windows) <= 96


@pytest.mark.parametrize("mode", MODES)
def test_each_jet_is_read_once_an_epoch(mode):
    jets = [jet for window in order_of(mode, 1003, 10).windows(1) for jet in expand(window.ranges)]
    assert sorted(jets) == list(range(1003))


@pytest.mark.parametrize("mode", MODES)
def test_the_next_window_may_be_asked_for_before_the_batches_of_this_one(mode):
    order = order_of(mode, 1003, 10)
    ahead = [batch for window in list(order.windows(1)) for batch in window.batches]
    assert all(torch.equal(a, b) for a, b in zip(ahead, order.batches(1), strict=True))


def test_a_window_of_all_jets_is_an_exact_shuffle_of_them():
    window, *others = order_of("window", 90, 10).windows(1)
    assert not others
    assert window.ranges == [(0, 90)]


def test_the_file_is_read_from_front_to_back():
    assert [window.ranges for window in order_of("none", 250, 10).windows(0)] == [[(0, 90)], [(90, 90)], [(180, 70)]]


# --- how well jets are mixed ---------------------------------------------------------------------------------------


def chi2(order, num_classes=4):
    """Of the classes of a batch, per degree of freedom, on a file that is sorted by class; 1 for an exact shuffle."""
    jets = [batch.numpy() * num_classes // order.num_jets for batch in order.batches(0)]
    counts = np.stack([np.bincount(batch, minlength=num_classes) for batch in jets])  # (batches, classes)
    size = order.global_batch_size
    without_replacement = (order.num_jets - size) / (order.num_jets - 1)
    return ((counts - size / num_classes) ** 2 * num_classes / size).sum(1).mean() / (
        (num_classes - 1) * without_replacement
    )


def meeting(order):
    """Probability that two jets of a batch are together again in the next epoch, against that of an exact shuffle."""
    numbers = np.empty((2, order.num_jets), int)  # of the batch that each jet is in
    for epoch in (0, 1):
        for step, batch in enumerate(order.batches(epoch)):
            numbers[epoch, batch] = step
    size = order.global_batch_size
    _, together = np.unique(numbers[0] * len(order) + numbers[1], return_counts=True)
    again = (together * (together - 1)).sum() / (order.num_jets * (size - 1))
    return again / ((size - 1) / (order.num_jets - 1))


def test_classes_of_a_batch_vary_by_chance_alone_after_an_exact_shuffle():
    assert chi2(order_of("exact", 20_000, 100)) == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize("mode", ["batch", "none"])
def test_batches_of_neighbours_hold_one_class_of_a_sorted_file(mode):
    assert chi2(order_of(mode, 20_000, 100)) > 90


def test_classes_of_a_batch_vary_more_with_fewer_blocks_in_a_window():
    for num_blocks in (10, 100, 1000):
        window = 10 * num_blocks  # jets: its blocks vary, and a batch is drawn from it without replacement
        expected = 100 / num_blocks + (window - 100) / (window - 1)
        assert chi2(order_of("window", 20_000, 100, block=10, num_blocks=num_blocks)) == pytest.approx(
            expected, rel=0.2
        )


def test_two_jets_of_a_batch_meet_again_by_chance_alone_after_an_exact_shuffle():
    assert meeting(order_of("exact", 20_000, 100)) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("mode", ["batch", "none"])
def test_jets_of_a_batch_of_neighbours_meet_always(mode):
    order = order_of(mode, 20_000, 100)
    assert meeting(order) * 99 / 19_999 == pytest.approx(1)


def test_jets_of_a_window_meet_more_often_by_what_the_formula_says():
    order = order_of("window", 20_000, 100, block=50, num_blocks=20)
    assert meeting(order) == pytest.approx(1 + 20_000 * 50 / 1000**2, rel=0.1)


def test_batches_of_neighbours_are_the_same_in_each_epoch_and_their_order_is_new():
    order = order_of("batch", 1003, 10)
    epochs = [[batch.tolist() for batch in order.batches(epoch)] for epoch in range(2)]
    assert sorted(epochs[0]) == sorted(epochs[1])
    assert epochs[0] != epochs[1]
    assert sorted(epochs[0])[7] == list(range(70, 80))


def test_without_shuffle_jets_keep_the_order_of_the_file():
    assert jets_of(order_of("none", 25, 10), 7).tolist() == list(range(25))


# --- errors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_fewer_jets_than_ranks_is_an_error(mode):
    with pytest.raises(ValueError, match="2 jets do not make one batch for 3 ranks"):
        order_of(mode, 2, 10, num_ranks=3)


@pytest.mark.parametrize("mode", MODES)
def test_a_batch_of_nothing_is_an_error(mode):
    with pytest.raises(ValueError, match=r"data\.batch_size is 0"):
        order_of(mode, 2, 0)


def test_a_window_of_nothing_is_an_error():
    with pytest.raises(ValueError, match="a window of 0 blocks of 16 jets holds none"):
        order_of("window", 20, 10, num_blocks=0)


def test_a_mode_that_there_is_not_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match=r"unknown mode 'exat' in data\.shuffle; nearest: exact"):
        order_of("exat", 20, 10)
