import numpy as np
import pytest
import torch

from salt.data.permutation import MAX_DRAWN, DrawnPermutation, Identity, KeyedPermutation, permutation


def key(*words):
    return np.random.SeedSequence(words)


@pytest.mark.parametrize("kind", [DrawnPermutation, KeyedPermutation, lambda num, _: Identity()])
@pytest.mark.parametrize("num", [1, 2, 3, 4, 7, 10, 16, 17, 99, 100, 101, 4096, 10007])
def test_each_number_comes_exactly_once(kind, num):
    assert kind(num, key(3, num)).part(0, num).sort().values.tolist() == list(range(num))


@pytest.mark.parametrize("kind", [DrawnPermutation, KeyedPermutation, lambda num, _: Identity()])
def test_a_part_is_what_the_whole_has_there(kind):
    numbers = kind(1003, key(1))
    assert torch.equal(numbers.part(117, 640), numbers.part(0, 1003)[117:640])
    assert numbers.part(5, 5).tolist() == []


@pytest.mark.parametrize("kind", [DrawnPermutation, KeyedPermutation])
def test_another_key_gives_another_order(kind):
    first, second = (kind(5000, key(word)).part(0, 5000) for word in (0, 1))
    assert (first == second).float().mean() < 0.002


def test_the_array_is_the_one_that_torch_draws():
    number = int(key(3, 5).generate_state(1, np.uint64)[0])
    expected = torch.randperm(1000, generator=torch.Generator().manual_seed(number))
    assert torch.equal(permutation(1000, seed=3, epoch=5).part(0, 1000), expected)


def test_numbers_without_an_array_are_spread_evenly():
    places = 20
    counts = np.zeros((places, places))
    for word in range(4000):
        numbers = KeyedPermutation(places * 50, key(word)).part(0, places)
        np.add.at(counts, (np.arange(places), numbers.numpy() // 50), 1)
    expected = 4000 / places
    assert ((counts - expected) ** 2 / expected).sum() / (places * (places - 1)) == pytest.approx(1, abs=0.25)


def test_neighbouring_places_are_not_related():
    differences = KeyedPermutation(2**20, key(1)).part(0, 2**20).diff() % 2**20
    counts = torch.bincount(differences // 2**12, minlength=2**8).double()
    expected = counts.mean()
    assert ((counts - expected) ** 2 / expected).sum() / (len(counts) - 1) == pytest.approx(1, abs=0.35)


def test_more_numbers_than_memory_holds_are_no_trouble():
    numbers = KeyedPermutation(10**15 + 7, key(1)).part(10**14, 10**14 + 1000)
    assert numbers.min() >= 0
    assert numbers.max() < 10**15 + 7
    assert len(numbers.unique()) == 1000
    assert numbers.double().mean() == pytest.approx(5e14, rel=0.1)


def test_many_numbers_take_no_array():
    assert isinstance(permutation(MAX_DRAWN, 0, 0), DrawnPermutation)
    assert isinstance(permutation(MAX_DRAWN + 1, 0, 0), KeyedPermutation)


def test_permutations_of_one_epoch_differ():
    whole, first, second = (permutation(1000, 3, 5, *part).part(0, 1000) for part in ((), (1, 0), (1, 1)))
    for one, other in ((whole, first), (whole, second), (first, second)):
        assert (one == other).float().mean() < 0.02
