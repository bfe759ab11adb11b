import gc
import threading
import time
from itertools import count

import numpy as np
import pytest
import torch

from salt.data import feeds
from salt.data.augment import Augmentation
from salt.data.feeds import PartsFeed, StoreFeed
from salt.data.loader import Loader, WaitMeter, WorkerLoader
from salt.data.opening import Opening
from salt.data.order import make_order
from salt.data.recipes import Options, make_recipe


@pytest.fixture
def split(make_file, schema, tmp_path):
    opening = Opening(store_dir=tmp_path / "stores")
    return opening.open(str(make_file()), make_recipe(schema, {}, Options()), -1, {}, "train")


@pytest.fixture
def store(split):
    return split.load()


@pytest.fixture
def feed_of(store):
    def make(mode="exact", batch_size=20, seed=1, chosen=None):
        num_jets = len(store) if chosen is None else len(chosen)
        return StoreFeed(store, make_order(mode, num_jets, batch_size, seed), chosen, Augmentation({}))

    return make


@pytest.fixture
def loader(feed_of):
    return Loader(feed_of(), count().__next__)


def jets(batches):
    return [batch.index.tolist() for batch in batches]


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "salt-prefetch"]


def wait_for_no_threads():
    deadline = time.monotonic() + 5
    while threads() and time.monotonic() < deadline:
        time.sleep(0.01)
    return not threads()


def test_it_gives_the_batches_of_its_order(loader, store):
    expected = [store.gather(index) for index in loader.feed.order.batches(0)]
    assert jets(loader) == jets(expected)
    assert len(loader) == len(expected)


def test_each_iteration_is_the_epoch_that_it_is_told(loader):
    epochs = [torch.cat([batch.index for batch in loader]) for _ in range(2)]
    assert not torch.equal(*epochs)
    assert torch.equal(epochs[0].sort().values, epochs[1].sort().values)


def test_the_epoch_is_asked_for_once_with_the_first_batch(feed_of):
    asked = []
    iterator = iter(Loader(feed_of(), lambda: asked.append(1) or 0))
    assert asked == []  # a trainer makes its iterator before it knows which epoch it resumes
    next(iterator), next(iterator)
    assert asked == [1]


def test_where_to_start_may_be_said_after_the_iterator_is_made(loader):
    expected = jets(Loader(loader.feed, lambda: 0))
    iterator = iter(loader)
    loader.start_at(0, 3)
    assert jets(iterator) == expected[3:]


def test_another_epoch_than_the_one_to_start_in_is_whole(loader):
    expected = jets(Loader(loader.feed, lambda: 0))
    loader.start_at(1, 3)  # a resumed run whose epoch had no batch left
    assert jets(loader) == expected


def test_an_iterator_that_is_closed_before_it_began_begins_no_more(loader):
    iterator = iter(loader)
    iterator.close()
    assert next(iterator, None) is None


def test_two_iterations_do_not_disturb_each_other(feed_of):
    loader = Loader(feed_of(), lambda: 0)
    assert all(torch.equal(a.index, b.index) for a, b in zip(loader, loader, strict=True))


def test_the_thread_ends_with_the_epoch(loader):
    iterator = iter(loader)
    for _ in range(len(loader)):
        next(iterator)
    assert wait_for_no_threads()  # nobody needs to ask for one more batch


def test_after_the_end_there_is_nothing_more(loader):
    iterator = iter(loader)
    list(iterator)
    assert next(iterator, None) is None


def test_the_thread_ends_when_the_consumer_stops_early(loader):
    for _ in loader:
        break
    gc.collect()
    assert wait_for_no_threads()


def test_the_thread_ends_when_the_consumer_fails(loader):
    def consume():
        for _ in loader:
            raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        consume()
    gc.collect()
    assert wait_for_no_threads()


def test_the_thread_ends_on_close(loader):
    iterator = iter(loader)
    next(iterator)
    iterator.close()
    assert not threads()
    assert next(iterator, None) is None


def test_an_iterator_that_nobody_asks_ends_its_thread(loader):
    iter(loader)
    gc.collect()
    assert wait_for_no_threads()


def test_an_error_in_the_thread_is_raised_where_batches_are_asked_for(loader, monkeypatch):
    calls = count()
    gather = loader.feed.store.gather_all
    monkeypatch.setattr(feeds, "TOGETHER", 1)

    def fail(index):
        if next(calls) == 3:
            raise OSError("disk on fire")
        return gather(index)

    monkeypatch.setattr(loader.feed.store, "gather_all", fail)
    seen = []
    with pytest.raises(OSError, match="disk on fire"):
        seen.extend(loader)
    assert wait_for_no_threads()


def test_no_more_is_gathered_ahead_than_asked(store, feed_of, monkeypatch):
    calls = []
    gather = store.gather_all
    monkeypatch.setattr(feeds, "TOGETHER", 1)
    monkeypatch.setattr(store, "gather_all", lambda parts: calls.append(1) or gather(parts))
    iterator = iter(Loader(feed_of(batch_size=5), lambda: 0, prefetch=2))
    next(iterator)
    time.sleep(0.1)
    assert len(calls) <= 4  # one given, two waiting, one in hand
    iterator.close()


@pytest.mark.parametrize("mode", ["exact", "window", "batch", "none"])
@pytest.mark.parametrize("step", [0, 1, 7, 11])
def test_a_loader_that_starts_at_a_step_goes_on_with_the_same_jets(feed_of, mode, step):
    whole, rest = (Loader(feed_of(mode), lambda: 3) for _ in range(2))
    rest.start_at(3, step)
    assert jets(rest) == jets(whole)[step:]
    assert jets(rest) == jets(whole)  # the next epoch is whole again


@pytest.mark.parametrize("together", [1, 50, 10_000])
def test_batches_are_the_same_however_many_are_gathered_at_once(feed_of, monkeypatch, together):
    alone = [feed_of().batch(positions, 0) for positions in feed_of().order.batches(0)]
    monkeypatch.setattr(feeds, "TOGETHER", together)
    for ours, expected in zip(feed_of().batches(0), alone, strict=True):
        assert torch.equal(ours.index, expected.index)
        assert torch.equal(ours.inputs["jets"], expected.inputs["jets"])
        for stream in ("tracks", "flows"):
            assert torch.equal(ours.inputs[stream].values, expected.inputs[stream].values)
            assert torch.equal(ours.inputs[stream].offsets, expected.inputs[stream].offsets)


@pytest.mark.parametrize("mode", ["exact", "window", "batch", "none"])
def test_processes_give_the_batches_of_the_thread(feed_of, mode):
    processes = WorkerLoader(feed_of(mode), count().__next__, 2, False, 2)
    thread = Loader(feed_of(mode), count().__next__)
    for _ in range(2):
        pairs = list(zip(processes, thread, strict=True))
        assert len(pairs) == 12
        for ours, theirs in pairs:
            assert torch.equal(ours.index, theirs.index)
            assert torch.equal(ours.inputs["tracks"].values, theirs.inputs["tracks"].values)
            assert torch.equal(ours.inputs["tracks"].offsets, theirs.inputs["tracks"].offsets)


def test_processes_that_are_not_forked_map_the_store_themselves(feed_of):
    spawned = WorkerLoader(feed_of(), lambda: 0, 2, False, 1, persistent=False, context="spawn")
    assert jets(spawned) == jets(Loader(feed_of(), lambda: 0))


@pytest.mark.parametrize("mode", ["window", "batch", "none"])
def test_parts_give_the_batches_of_the_whole(split, store, mode):
    order = make_order(mode, 230, 20, 1, block=16, num_blocks=2)
    parts, whole = (of(jets_, order, None, Augmentation({})) for of, jets_ in ((PartsFeed, split), (StoreFeed, store)))
    for ours, theirs in zip(parts.batches(2), whole.batches(2), strict=True):
        assert sorted(ours.index.tolist()) == sorted(theirs.index.tolist())
        for jet in ours.index.tolist():
            assert torch.equal(tracks(ours, jet), tracks(theirs, jet))


def tracks(batch, jet):
    place = batch.index.tolist().index(jet)
    start, stop = batch.inputs["tracks"].offsets[place : place + 2].tolist()
    return batch.inputs["tracks"].values[start:stop]


def test_windows_smaller_than_a_batch_are_put_together(split):
    order = make_order("window", 230, 100, 1, block=8, num_blocks=2)
    batches = list(PartsFeed(split, order, None, Augmentation({})).batches(0))
    assert [len(batch) for batch in batches] == [100, 100, 30]
    assert sorted(jet for batch in batches for jet in batch.index.tolist()) == list(range(230))


@pytest.mark.parametrize("mode", ["exact", "window", "batch", "none"])
@pytest.mark.parametrize("in_parts", [False, True])
def test_only_chosen_jets_are_given(split, store, mode, in_parts):
    chosen = np.flatnonzero(np.arange(230) % 3)
    order = make_order(mode, len(chosen), 20, 1, block=16, num_blocks=2)
    feed = (PartsFeed if in_parts else StoreFeed)(split if in_parts else store, order, chosen, Augmentation({}))
    assert sorted(jet for batch in feed.batches(0) for jet in batch.index.tolist()) == chosen.tolist()


def test_waiting_is_measured_from_the_first_batch_on():
    def slow():
        for wait in (0.2, 0, 0.05, 0.05):
            time.sleep(wait)
            yield None

    meter, batches = WaitMeter(), slow()
    for _ in range(4):
        meter.next_of(batches)
    assert 0.1 <= meter.waited < 0.2
    assert meter.batches == 4
    assert meter.share > 0.9


def test_who_works_long_does_not_wait(loader):
    for _ in loader:
        time.sleep(0.005)
    assert loader.meter.share < 0.5
