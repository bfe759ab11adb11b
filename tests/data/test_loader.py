import gc
import threading
import time
from itertools import count

import pytest
import torch

from salt.data.loader import Loader
from salt.data.order import EpochOrder
from salt.data.store import Store


@pytest.fixture
def store(make_file, schema):
    return Store.read(make_file(), schema, {})


@pytest.fixture
def loader(store):
    return Loader(store, EpochOrder(len(store), 20, seed=1), count().__next__)


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "salt-prefetch"]


def wait_for_no_threads():
    deadline = time.monotonic() + 5
    while threads() and time.monotonic() < deadline:
        time.sleep(0.01)
    return not threads()


def test_it_gives_the_batches_of_its_order(loader, store):
    expected = [store.gather(index).index for index in loader.order.batches(0)]
    assert [batch.index.tolist() for batch in loader] == [index.tolist() for index in expected]
    assert len(loader) == len(expected)


def test_each_iteration_is_the_epoch_that_it_is_told(loader):
    epochs = [torch.cat([batch.index for batch in loader]) for _ in range(2)]
    assert not torch.equal(*epochs)
    assert torch.equal(epochs[0].sort().values, epochs[1].sort().values)


def test_the_epoch_is_asked_for_at_the_start(store):
    asked = []
    iter(Loader(store, EpochOrder(len(store), 20), lambda: asked.append(1) or 0))
    assert asked == [1]


def test_two_iterations_do_not_disturb_each_other(store):
    loader = Loader(store, EpochOrder(len(store), 20), lambda: 0)
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


def test_an_iterator_that_nobody_asks_ends_its_thread(loader):
    iter(loader)
    gc.collect()
    assert wait_for_no_threads()


def test_an_error_in_the_thread_is_raised_where_batches_are_asked_for(loader, monkeypatch):
    calls = count()
    gather = loader.store.gather

    def fail(index):
        if next(calls) == 3:
            raise OSError("disk on fire")
        return gather(index)

    monkeypatch.setattr(loader.store, "gather", fail)
    seen = []
    with pytest.raises(OSError, match="disk on fire"):
        seen.extend(loader)
    assert wait_for_no_threads()


def test_no_more_is_gathered_ahead_than_asked(store, monkeypatch):
    calls = []
    gather = store.gather
    monkeypatch.setattr(store, "gather", lambda index: calls.append(1) or gather(index))
    iterator = iter(Loader(store, EpochOrder(len(store), 5), lambda: 0, prefetch=2))
    next(iterator)
    time.sleep(0.1)
    assert len(calls) <= 4  # one given, two waiting, one in hand
    iterator.close()
