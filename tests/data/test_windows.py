import pytest
import torch

from salt.data.windows import ShuffledBlocks, merged


def expand(ranges):
    return [jet for first, count in ranges for jet in range(first, first + count)]


@pytest.mark.parametrize(("num_jets", "block", "num_blocks"), [(1000, 10, 7), (1003, 10, 7), (5, 10, 7), (1, 1, 1)])
def test_windows_hold_each_jet_exactly_once(num_jets, block, num_blocks):
    blocks = ShuffledBlocks(num_jets, block, num_blocks, seed=1, epoch=2)
    jets = torch.cat([blocks.positions(window) for window in range(len(blocks))])
    assert jets.sort().values.tolist() == list(range(num_jets))
    assert blocks.starts[0] == 0
    assert blocks.starts[-1] == num_jets


def test_the_ranges_of_a_window_are_its_jets():
    blocks = ShuffledBlocks(1003, 10, 7, seed=1, epoch=2)
    for window in range(len(blocks)):
        jets = blocks.positions(window).sort().values.tolist()
        assert expand(blocks.ranges(window)) == jets
        assert blocks.starts[window + 1] - blocks.starts[window] == len(jets)


def test_a_window_is_whole_blocks_from_all_over_the_file():
    blocks = ShuffledBlocks(10_000, 10, 50, seed=1, epoch=2)
    numbers, counts = (blocks.positions(4) // 10).unique(return_counts=True)
    assert counts.tolist() == [10] * 50
    assert numbers.float().std() == pytest.approx(1000 / 12**0.5, rel=0.2)


def test_jets_of_a_window_do_not_keep_the_order_of_the_file():
    jets = ShuffledBlocks(1000, 1000, 1, seed=1, epoch=2).positions(0)
    assert (jets == torch.arange(1000)).sum() < 10


def test_the_same_jets_are_shuffled_anew_in_each_epoch():
    first, second = (ShuffledBlocks(1000, 1000, 1, 1, epoch).positions(0) for epoch in (0, 1))
    assert (first == second).sum() < 10


def test_the_small_block_takes_any_place():
    windows = set()
    for epoch in range(40):
        blocks = ShuffledBlocks(95, 10, 2, seed=1, epoch=epoch)
        windows.add(next(window for window in range(len(blocks)) if 94 in blocks.positions(window)))
    assert windows == set(range(5))


def test_each_epoch_has_other_windows():
    first, second = (set(ShuffledBlocks(10_000, 10, 50, 1, epoch).positions(0).tolist()) for epoch in (0, 1))
    assert len(first & second) < 150


def test_a_place_is_in_the_window_that_starts_before_it():
    blocks = ShuffledBlocks(95, 10, 2, seed=1, epoch=0)
    for window in range(len(blocks)):
        assert blocks.window_at(blocks.starts[window]) == window
        assert blocks.window_at(blocks.starts[window + 1] - 1) == window


def test_adjacent_ranges_become_one():
    assert merged([(0, 10), (10, 5), (20, 1), (21, 2), (30, 1)]) == [(0, 15), (20, 3), (30, 1)]
    assert merged([]) == []
