"""From jets to batches: the modes, what memory decides, how ranks share."""

import logging

import numpy as np
import pytest
import torch

from salt.data import SaltDataModule, loading
from salt.data.augment import Augmentation
from salt.data.feeds import PartsFeed, StoreFeed
from salt.data.loader import WorkerLoader
from salt.data.loading import Loading
from salt.data.opening import Opening
from salt.data.recipes import Options, make_recipe

MODES = ["auto", "exact", "window", "batch", "none"]


@pytest.fixture
def split_of(make_file, schema, labels):
    """The jets of a file, by way of a store or of the file itself."""
    opened = []

    def make(way="store", num_jets=230):
        opening, recipe = Opening(store=way == "store"), make_recipe(schema, labels, Options())
        split = opening.open(str(make_file(num_jets=num_jets)), recipe, -1, labels, "train")
        opened.append(split)
        return split

    yield make
    for split in opened:
        split.close()


class Memory:
    """How much of it is free, as loaders are told."""

    free = None


@pytest.fixture
def memory(monkeypatch):
    """Set how much of it is free."""

    def limit(free):
        monkeypatch.setattr(Memory, "free", free)

    return limit


@pytest.fixture
def small_blocks(monkeypatch):
    """A block has some ten jets, as if these were millions."""
    monkeypatch.setattr(loading, "BLOCK_BYTES", 1000)


def loader(split, mode, chosen=None, epoch=0, **facts):
    return Loading(**{"batch_size": 20, "seed": 3, "free": Memory.free} | facts).loader(
        split, mode, chosen, Augmentation({}), lambda: epoch
    )


def epoch_of(*arguments, **facts):
    return list(loader(*arguments, **facts))


def jets(batches):
    return torch.cat([batch.index for batch in batches]).tolist()


# --- auto ------------------------------------------------------------------------------------------------------------


def test_auto_is_exact_where_the_store_fits_in_half_of_the_memory(split_of, memory, caplog):
    caplog.set_level(logging.INFO)
    split = split_of()
    memory(2 * split.num_bytes)
    feed = loader(split, "auto").feed
    assert type(feed) is StoreFeed
    assert type(feed.order).__name__ == "ExactOrder"
    said = [message for message in caplog.messages if "data.shuffle" in message]
    size = f"{split.num_bytes / 1000:.1f} kB"
    assert said == [
        f"data.shuffle: auto is exact, an exact shuffle of all jets in each epoch: they take {size}, "
        f"and {2 * split.num_bytes / 1000:.1f} kB of memory is free"
    ]


def test_auto_is_a_window_where_it_does_not(split_of, memory, caplog):
    caplog.set_level(logging.INFO)
    split = split_of()
    memory(2 * split.num_bytes - 2)
    feed = loader(split, "auto").feed
    assert type(feed) is PartsFeed
    assert type(feed.order).__name__ == "WindowOrder"
    said = [message for message in caplog.messages if "data.shuffle" in message]
    assert len(said) == 1
    assert said[0].startswith("data.shuffle: auto is window, an approximate shuffle: they take ")


def test_auto_without_a_store_is_a_window_and_says_why(split_of, memory, caplog):
    caplog.set_level(logging.INFO)
    memory(2**40)
    assert type(loader(split_of("file"), "auto").feed) is PartsFeed
    assert "auto is window, an approximate shuffle: they are read from the files themselves" in caplog.text


def test_auto_is_exact_where_nobody_knows_the_memory(split_of, memory):
    memory(None)
    assert type(loader(split_of(), "auto").feed.order).__name__ == "ExactOrder"


def test_a_mode_that_is_asked_for_needs_no_explanation(split_of, caplog):
    caplog.set_level(logging.INFO)
    split = split_of()
    caplog.clear()
    for mode in MODES[1:]:
        loader(split, mode)
    assert caplog.messages == []


def test_exact_with_too_little_memory_warns(split_of, memory, caplog):
    memory(1000)
    assert type(loader(split_of(), "exact").feed) is StoreFeed
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "data.shuffle: exact takes " in caplog.text
    assert "1.0 kB of memory is free" in caplog.text


@pytest.mark.parametrize(
    ("options", "order"),
    [
        ({"batched_read": True}, "BatchOrder"),
        ({"batched_read": False}, "ExactOrder"),
        ({"batched_read": True, "shuffle": "exact"}, "BatchOrder"),
        ({}, "ExactOrder"),
        ({"shuffle": "window"}, "WindowOrder"),
        ({"shuffle": "batch"}, "BatchOrder"),
        ({"shuffle": "none"}, "FileOrder"),
    ],
)
def test_the_words_of_a_config_choose_the_mode_of_training_not_that_of_validation(make_file, schema, options, order):
    file = str(make_file())
    data = SaltDataModule(schema.variables, file, file, input_map=schema.input_map, batch_size=20, **options)
    data.setup("fit")
    assert type(data.train_dataloader().feed.order).__name__ == order
    assert type(data.val_dataloader().feed.order).__name__ == "FileOrder"
    data.teardown("fit")


def test_a_mode_that_does_not_exist_is_answered_with_those_that_do(split_of):
    with pytest.raises(ValueError, match=r"unknown mode 'exakt' in data\.shuffle; nearest: exact"):
        loader(split_of(), "exakt")


# --- every way, every mode ------------------------------------------------------------------------------------------

LITTLE, MUCH = 40_000, 2**40
WAYS = {"mapped": ("store", MUCH), "store in parts": ("store", LITTLE), "files": ("file", MUCH)}


@pytest.fixture(params=WAYS)
def split(request, split_of, memory, small_blocks):
    way, free = WAYS[request.param]
    memory(free)
    return split_of(way)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("chosen", [None, np.arange(3, 230, 3), np.r_[0:5, 200:230]])
def test_each_jet_is_there_exactly_once_an_epoch(split, mode, chosen):
    expected = list(range(230)) if chosen is None else chosen.tolist()
    for epoch in range(3):
        assert sorted(jets(epoch_of(split, mode, chosen, epoch))) == expected


@pytest.mark.parametrize("mode", ["auto", "exact", "window", "batch"])
def test_each_epoch_has_another_order(split, mode):
    orders = [jets(epoch_of(split, mode, epoch=epoch)) for epoch in range(3)]
    assert orders[0] != orders[1] != orders[2] != orders[0]
    assert orders[0] == jets(epoch_of(split, mode))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("num_ranks", [2, 3])
def test_ranks_share_what_one_rank_would_have(split, mode, num_ranks):
    alone = epoch_of(split, mode, epoch=1, batch_size=11 * num_ranks)
    ranks = [epoch_of(split, mode, epoch=1, batch_size=11, rank=rank, num_ranks=num_ranks) for rank in range(num_ranks)]
    for whole, *shares in zip(alone, *ranks, strict=True):
        assert sorted(jets(shares)) == sorted(whole.index.tolist())
    assert sorted(jets(alone)) == list(range(230))  # a batch that is not full among them


@pytest.mark.parametrize("mode", MODES)
def test_each_jet_brings_its_own_values(split, mode):
    whole = split.load().gather(torch.arange(230))
    mass, tracks = torch.empty(230), [None] * 230
    mass[whole.index] = whole.labels["jets"]["mass"]
    for jet, values in zip(
        whole.index.tolist(),
        whole.inputs["tracks"].values.split(whole.inputs["tracks"].segments.lengths.tolist()),
        strict=True,
    ):
        tracks[jet] = values
    for batch in epoch_of(split, mode, np.arange(1, 230, 2)):
        assert torch.equal(batch.labels["jets"]["mass"], mass[batch.index])
        packed = batch.inputs["tracks"]
        for jet, values in zip(
            batch.index.tolist(), packed.values.split(packed.segments.lengths.tolist()), strict=True
        ):
            assert torch.equal(values, tracks[jet])


def test_exact_without_a_store_reads_the_file_once(split_of, monkeypatch):
    split, reads = split_of("file"), []
    load = split.load
    monkeypatch.setattr(split, "load", lambda: reads.append("all") or load())
    monkeypatch.setattr(split, "column", None)
    made = loader(split, "exact")
    split.close()  # the file is not needed any more
    for _ in range(2):
        assert sorted(jets(made)) == list(range(230))
    assert reads == ["all"]


# --- windows --------------------------------------------------------------------------------------------------------


def most_read(split, made, monkeypatch):
    """Jets of the largest part that is read in an epoch."""
    counts, read = [], split.read

    def counting(ranges):
        counts.append(sum(count for _, count in ranges))
        return read(ranges)

    with monkeypatch.context() as patch:
        patch.setattr(split, "read", counting)
        list(made)
    return max(counts), len(counts)


@pytest.mark.parametrize("way", ["store", "file"])
@pytest.mark.parametrize("mode", ["window", "batch", "none"])
def test_a_window_has_no_more_jets_than_asked(split_of, memory, small_blocks, monkeypatch, way, mode):
    memory(LITTLE)
    split = split_of(way, 2000)
    most, parts = most_read(split, loader(split, mode, window_jets=300), monkeypatch)
    assert 200 <= most <= 300
    assert parts >= 7


@pytest.mark.parametrize("mode", ["window", "batch", "none"])
def test_a_window_takes_its_share_of_the_free_memory(split_of, memory, monkeypatch, mode):
    monkeypatch.setattr(loading, "BLOCK_BYTES", 1000)
    split = split_of("store", 4000)
    memory(split.num_bytes)
    most, _ = most_read(split, loader(split, mode), monkeypatch)
    assert most <= 4000 * loading.WINDOW_SHARE * 1.05


def test_a_window_of_few_chosen_jets_takes_no_more_memory(split_of, memory, small_blocks, monkeypatch):
    memory(LITTLE)
    split = split_of("store", 2000)
    most, _ = most_read(split, loader(split, "window", np.arange(0, 2000, 10), window_jets=300), monkeypatch)
    assert most <= 300


# --- workers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["auto", "window"])
def test_workers_where_jets_are_read_in_turn_are_answered(split_of, caplog, mode):
    made = loader(split_of("file"), mode, num_workers=2)
    assert not isinstance(made, WorkerLoader)
    assert "data.num_workers is 2, but jets are read in turn by one thread here" in caplog.text
    assert sorted(jets(made)) == list(range(230))


def test_workers_where_any_jet_can_be_taken_are_processes(split_of, caplog):
    assert isinstance(loader(split_of(), "exact", num_workers=2), WorkerLoader)
    assert caplog.text == ""
