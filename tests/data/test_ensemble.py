"""Ensembles of synthetic members whose scores are known."""

import h5py
import numpy as np
import pytest

from salt.data import ensemble
from salt.data.ensemble import Mean, OutOfFold, mean, owners, write_ensemble
from salt.data.evaluation import PREDICTED, TESTED
from salt.data.folds import Fold
from salt.data.sources import open_sample

JETS = np.dtype([("pt", "f4"), ("hash", "u4"), ("m_pb", "f4"), ("m_pu", "f4"), ("mass", "f4"), ("mass_stddev", "f4")])
TRACKS = np.dtype([("valid", "?"), ("m_pFromB", "f4"), ("VertexIndex", "i8"), ("mask", "?")])
PREDICTIONS = {"jets": ["m_pb", "m_pu", "mass", "mass_stddev"], "tracks": ["m_pFromB", "VertexIndex"]}


@pytest.fixture
def member(tmp_path):
    """Write an evaluation file of these jets, with one score for all of them."""

    def write(name, score, numbers=range(10), mass=100.0, width=3.0, tested="these", jet_type=JETS):
        numbers = np.array(numbers)
        jets = np.zeros(len(numbers), jet_type)
        jets["pt"], jets["hash"] = 10 + numbers, numbers * 7
        jets["m_pb"], jets["m_pu"] = score, 1 - np.float32(score)
        jets["mass"], jets["mass_stddev"] = mass + numbers, width
        tracks = np.zeros((len(numbers), 4), TRACKS)
        tracks["valid"][:, :2] = True
        tracks["m_pFromB"][:, :2] = score
        tracks["VertexIndex"] = int(100 * score)
        tracks["mask"] = ~tracks["valid"]
        path = tmp_path / f"{name}__test_x.h5"
        with h5py.File(path, "w") as file:
            file.attrs[TESTED] = tested
            for dataset, records in (("jets", jets), ("tracks", tracks)):
                file.create_dataset(dataset, data=records, chunks=(min(3, len(records)), *records.shape[1:]))
                file[dataset].attrs[PREDICTED] = [*PREDICTIONS[dataset], *jet_type.names[len(JETS) :]]
            file["jets"].attrs["flavour_label"] = ["bjets", "ujets"]
        return path

    return write


def written(tmp_path, files, combination, **attributes):
    path = tmp_path / "ensemble__test_x.h5"
    count = write_ensemble(path, files, combination, attributes)
    with h5py.File(path) as file:
        contents = {name: file[name][:] for name in file}
        described = {name: dict(file[name].attrs) for name in file}
        return count, contents, described, dict(file.attrs)


def test_the_scores_are_means_over_the_members(member, tmp_path):
    files = [member("a", 0.1), member("b", 0.2), member("c", 0.6)]
    count, contents, _, attributes = written(tmp_path, files, Mean(), model="m")
    assert count == 10
    assert contents["jets"].dtype == JETS
    assert contents["jets"]["m_pb"] == pytest.approx(0.3)
    assert contents["jets"]["m_pu"] == pytest.approx(0.7)
    assert contents["tracks"]["m_pFromB"][:, :2] == pytest.approx(0.3)
    assert np.all(contents["tracks"]["m_pFromB"][:, 2:] == 0)
    assert np.array_equal(contents["jets"]["pt"], 10 + np.arange(10))
    assert (attributes["ensemble"], attributes["model"], attributes[TESTED]) == ("mean", "m", "these")


def test_probabilities_of_the_classes_still_add_up_to_one():
    generator = np.random.default_rng(0)
    rows = [np.zeros(1000, JETS) for _ in range(7)]
    for each in rows:
        each["m_pb"] = generator.random(1000)
        each["m_pu"] = 1 - each["m_pb"]
    together = mean(rows, ["m_pb", "m_pu"])
    assert together["m_pb"] + together["m_pu"] == pytest.approx(1, abs=2e-7)


@pytest.mark.parametrize("number", [2, 3, 7, 10])
@pytest.mark.parametrize("kind", ["f2", "f4"])
def test_the_mean_of_equal_members_is_each_of_them_to_the_last_bit(number, kind):
    generator = np.random.default_rng(1)
    rows = np.zeros(20_000, [("p", kind), ("x", kind), ("x_stddev", kind)])
    for name in rows.dtype.names:
        rows[name] = generator.lognormal(-2, 2, len(rows))
    together = mean([rows] * number, list(rows.dtype.names))
    assert together.tobytes() == rows.tobytes()


def test_gaussians_become_their_mixture(member, tmp_path):
    files = [member("a", 0.5, mass=98, width=3), member("b", 0.5, mass=102, width=1)]
    jets = written(tmp_path, files, Mean())[1]["jets"]
    assert np.array_equal(jets["mass"], 100 + np.arange(10))
    assert jets["mass_stddev"] == pytest.approx(np.sqrt((9 + 1) / 2 + 4))  # inner variance, and that of the means


def test_vertices_are_those_of_the_first_member_and_the_file_says_so(member, tmp_path):
    _, contents, described, _ = written(tmp_path, [member("a", 0.1), member("b", 0.9)], Mean())
    assert np.all(contents["tracks"]["VertexIndex"] == 10)
    assert list(described["tracks"]["of_first_member"]) == ["VertexIndex"]
    assert "of_first_member" not in described["jets"]
    assert list(described["jets"]["flavour_label"]) == ["bjets", "ujets"]


def test_padding_that_is_not_a_number_stays():
    rows = np.zeros(3, JETS)
    rows["mass"] = [1, np.nan, 3]
    assert np.array_equal(mean([rows, rows], ["mass"])["mass"], [1, np.nan, 3], equal_nan=True)


def test_blocks_do_not_change_what_is_written(member, tmp_path, monkeypatch):
    files = [member("a", 0.1), member("b", 0.2)]
    whole = written(tmp_path, files, Mean())[1]
    monkeypatch.setattr(ensemble, "BLOCK_BYTES", 1)
    parts = written(tmp_path, files, Mean())[1]
    assert all(np.array_equal(whole[name], parts[name]) for name in whole)


@pytest.fixture
def folds(tmp_path):
    """Jets of a test file, whose hashes are such that number 2**32 - 1 is among them; and who owns each."""

    def make(num_members=3, num_jets=10):
        with h5py.File(tmp_path / "test.h5", "w") as file:
            file["jets"] = np.array([(10 + i, 7 * i, 0, 0, 0, 0) for i in range(num_jets)], JETS)
        parts = [Fold("hash", 3, use) for use in (2, 0, 1)[:num_members]]
        with open_sample(tmp_path / "test.h5", "data.test_file") as sample:
            return owners(sample.table("jets", "data.test_file"), parts)

    return make


def test_each_jet_belongs_to_the_member_that_left_it_out(folds, monkeypatch):
    expected = [{2: 0, 0: 1, 1: 2}[7 * i % 3] for i in range(10)]
    assert folds().tolist() == expected
    assert folds(2).tolist() == [owner if owner < 2 else -1 for owner in expected]
    monkeypatch.setattr(ensemble, "BLOCK_BYTES", 1)
    assert folds().tolist() == expected


@pytest.mark.parametrize("block", [1, 2**26])
def test_each_jet_has_the_scores_of_its_owner_in_the_order_of_the_file(member, folds, tmp_path, monkeypatch, block):
    owner = folds()
    files = [member(f"m{k}", 0.1 * (k + 1), np.flatnonzero(owner == k)) for k in range(3)]
    monkeypatch.setattr(ensemble, "BLOCK_BYTES", block)
    count, contents, described, attributes = written(tmp_path, files, OutOfFold(owner))
    assert count == 10
    assert np.array_equal(contents["jets"]["pt"], 10 + np.arange(10))
    assert np.array_equal(contents["jets"]["m_pb"], (0.1 * (owner + 1)).astype("f4"))
    assert np.array_equal(contents["tracks"]["VertexIndex"][:, 0], (100 * 0.1 * (owner + 1)).astype(int))
    assert "of_first_member" not in described["tracks"]
    assert attributes["ensemble"] == "out-of-fold"


def test_jets_that_no_member_left_out_are_left_out(member, folds, tmp_path):
    owner = folds(2)
    files = [member(f"m{k}", 0.5, np.flatnonzero(owner == k)) for k in range(2)]
    jets = written(tmp_path, files, OutOfFold(owner))[1]["jets"]
    assert np.array_equal(jets["pt"], 10 + np.flatnonzero(owner >= 0))


def test_members_that_tested_the_first_jets_only_make_an_ensemble_of_those(member, folds, tmp_path):
    owner = folds()
    files = [member(f"m{k}", 0.5, np.flatnonzero(owner[:6] == k)) for k in range(3)]
    assert np.array_equal(written(tmp_path, files, OutOfFold(owner))[1]["jets"]["pt"], 10 + np.arange(6))


def test_a_fold_of_another_file_is_refused(member, folds, tmp_path):
    owner = folds()
    files = [member(f"m{k}", 0.5, np.flatnonzero(owner == k)[: 1 if k == 1 else None]) for k in range(3)]
    with pytest.raises(ValueError, match=r"jets of .*m0__test_x.h5 has \d jets, but \d of the test file"):
        write_ensemble(tmp_path / "e.h5", files, OutOfFold(owner), {})


def test_members_with_other_classes_are_refused_by_the_column(member, tmp_path):
    wider = np.dtype([*JETS.descr, ("m_ptau", "f4")])
    files = [member("a", 0.5), member("b", 0.5, jet_type=wider)]
    for pair in (files, files[::-1]):
        with pytest.raises(ValueError, match=r"a__test_x.h5 has no column m_ptau, which jets of .*b__test_x.h5 has"):
            write_ensemble(tmp_path / "e.h5", pair, Mean(), {})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tested": "others"}, "made from different test files"),
        ({"numbers": range(1, 11)}, "pt differs between jets of"),
        ({"numbers": range(9)}, "has 10 jets and jets of .* 9: test both again"),
        ({"jet_type": np.dtype([(n, "f8" if n == "m_pb" else t) for n, t in JETS.descr])}, "m_pb is float32 in"),
    ],
)
def test_members_that_do_not_fit_are_refused_and_nothing_is_left(member, tmp_path, change, message):
    files = [member("a", 0.5), member("b", 0.5, **change)]
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ValueError, match=message):
        write_ensemble(tmp_path / "e.h5", files, Mean(), {})
    assert sorted(tmp_path.iterdir()) == before


def test_an_ensemble_that_fails_leaves_the_one_of_before(member, tmp_path):
    files = [member("a", 0.1), member("b", 0.2)]
    path = tmp_path / "ensemble__test_x.h5"
    write_ensemble(path, files, Mean(), {})
    before = path.read_bytes()
    with pytest.raises(ValueError, match="different test files"):
        write_ensemble(path, [files[0], member("b", 0.2, tested="others")], Mean(), {})
    assert path.read_bytes() == before
