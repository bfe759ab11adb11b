import numpy as np
import pytest

from salt.data.folds import Fold, in_fold

HASHES = np.random.default_rng(1).integers(0, 2**64, 10_000, np.uint64)


@pytest.mark.parametrize("k", [2, 3, 4, 7])
def test_folds_are_disjoint_and_complete(k):
    tested = np.array([in_fold(HASHES, k, use, "test") for use in range(k)])  # (k, N)
    assert (tested.sum(0) == 1).all()
    assert tested.mean(1) == pytest.approx(np.full(k, 1 / k), abs=0.03)


@pytest.mark.parametrize("stage", ["train", "val"])
@pytest.mark.parametrize("use", range(4))
def test_training_and_validation_never_see_what_is_tested(stage, use):
    assert (in_fold(HASHES, 4, use, stage) == ~in_fold(HASHES, 4, use, "test")).all()


def test_a_fold_is_the_hash_modulo_k():
    assert in_fold(np.arange(9), 4, 1, "test").tolist() == [False, True, False, False] * 2 + [False]


@pytest.mark.parametrize("k", [3, 4, 5])
def test_a_hash_keeps_its_fold_when_it_is_stored_in_signed_bits(k):
    expected = [int(hash_) % k == 1 for hash_ in HASHES]
    assert in_fold(HASHES, k, 1, "test").tolist() == expected
    assert in_fold(HASHES.view(np.int64), k, 1, "test").tolist() == expected


@pytest.mark.parametrize("dtype", ["u1", "i2", "i4", "u8"])
def test_a_hash_keeps_its_fold_in_any_integer_type(dtype):
    assert in_fold(np.arange(100).astype(dtype), 3, 2, "test").tolist() == [n % 3 == 2 for n in range(100)]


def test_a_hash_that_is_no_whole_number_is_an_error():
    with pytest.raises(
        ValueError, match=r"a fold needs whole numbers: the hashes are float32 \(data\.fold\.variable\)"
    ):
        in_fold(HASHES.astype(np.float32), 4, 0, "train")


def test_a_fold_is_read_from_its_options():
    assert Fold.read({"variable": "jetFoldHash", "k": 4, "use": 0}) == Fold("jetFoldHash", 4, 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"use": 4}, r"data\.fold\.use is 4; with data\.fold\.k 4 it is one of 0 to 3"),
        ({"k": 1}, r"data\.fold\.k is 1; there must be at least 2 folds"),
        ({"vairable": "x"}, r"unknown option 'vairable' in data\.fold; nearest: variable"),
    ],
)
def test_a_fold_that_cannot_be_is_an_error(change, message):
    with pytest.raises(ValueError, match=message):
        Fold.read({"variable": "jetFoldHash", "k": 4, "use": 0} | change)


def test_a_fold_without_its_variable_is_an_error():
    with pytest.raises(ValueError, match=r"data\.fold\.variable is missing: write data\.fold: \{variable: jetFoldHash"):
        Fold.read({"k": 4, "use": 0})
