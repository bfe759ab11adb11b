"""The loading benchmark: its files, how it compares and judges, and that it runs. Nothing is timed."""

import importlib
from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401 (registers LZ4)
import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def modules():
    """What is run as scripts otherwise."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        yield {name: importlib.import_module(name) for name in ("training_files", "loading", "memory")}


@pytest.fixture
def files(modules):
    return modules["training_files"]


@pytest.fixture
def read(files, tmp_path):
    """Make a file and read it: its jets and tracks."""

    def make(kind, jets=300, seed=0):
        with h5py.File(files.make_file(tmp_path / f"{seed}.h5", kind, jets, seed)) as file:
            return file["jets"][:], file["tracks"][:]

    return make


def test_a_narrow_file_holds_what_gn2_reads_and_no_more(files, read):
    jets, tracks = read(files.KINDS["lz4"])

    assert list(jets.dtype.names) == files.VARIABLES["jets"] + files.LABELS["jets"]
    assert list(tracks.dtype.names) == [*files.VARIABLES["tracks"], *files.LABELS["tracks"], "valid"]
    assert len(files.VARIABLES["tracks"]) == 19


def test_a_wide_file_has_53_fields_of_tracks_and_37_of_jets(files, read):
    jets, tracks = read(files.KINDS["wide"])

    assert (len(set(tracks.dtype.names)), len(set(jets.dtype.names))) == (53, 37)
    assert set(files.VARIABLES["tracks"]) < set(tracks.dtype.names)
    assert all(np.any(jets[name] != jets[name][0]) for name in jets.dtype.names)


@pytest.mark.parametrize(("kind", "filters"), [("lz4", [32004]), ("gzip", [1]), ("lzf", [32000]), ("none", [])])
def test_a_file_has_the_compression_of_its_name(files, tmp_path, kind, filters):
    with h5py.File(files.make_file(tmp_path / "train.h5", files.KINDS[kind], 300)) as file:
        made = file["tracks"].id.get_create_plist()

        assert [made.get_filter(i)[0] for i in range(made.get_nfilters())] == filters
        assert file["tracks"].chunks == (100, 40)


def test_valid_tracks_come_first_and_some_jets_have_none(files, read):
    _, tracks = read(files.KINDS["lz4"], 3000)
    valid = tracks["valid"]
    lengths = valid.sum(axis=1)

    assert np.array_equal(valid, np.arange(40) < lengths[:, None])
    assert lengths.min() == 0
    assert lengths.mean() == pytest.approx(11, abs=0.5)


def test_floats_use_all_bits_of_their_mantissa(files, read):
    _, tracks = read(files.KINDS["lz4"])

    for name in ("d0", "phiUncertainty"):
        bits = tracks[name][tracks["valid"]].view(np.uint32)
        assert (bits & 0xFF).astype(float).std() == pytest.approx(256 / 12**0.5, rel=0.1)


def test_holes_are_slots_before_the_last_track_that_are_not_valid(files, read):
    _, tracks = read(files.Kind(holes=0.2))
    valid = tracks["valid"]

    holes = ~valid & (np.arange(40) < 39 - np.argmax(valid[:, ::-1], axis=1)[:, None]) & valid.any(axis=1)[:, None]
    assert holes.sum() > 100
    assert np.all(tracks["d0"][holes] != 0)
    assert np.all(tracks["ftagTruthOriginLabel"][~valid] == files.NO_LABEL)


def test_a_float16_file_has_no_wider_floats_in_its_tracks(files, read):
    _, tracks = read(files.KINDS["float16"])

    assert {tracks.dtype[name] for name in tracks.dtype.names if tracks.dtype[name].kind == "f"} == {np.dtype("f2")}


def test_a_file_sorted_by_class_has_all_classes_in_order(files, read):
    jets, _ = read(files.Kind(by_class=True))

    assert np.all(np.diff(jets["flavour_label"]) >= 0)
    assert set(jets["flavour_label"].tolist()) == {0, 1, 2, 3}


def test_blocks_of_a_large_file_are_not_repeated(files, read, monkeypatch):
    monkeypatch.setattr(files, "BLOCK_JETS", 100)
    jets, _ = read(files.KINDS["lz4"], 300)

    assert len(np.unique(jets["pt_btagJes"])) > 290


def test_a_tiled_file_has_each_thousand_jets_that_many_times_in_a_row(files, tmp_path):
    small = files.make_file(tmp_path / "small.h5", files.KINDS["lz4"], 2000)
    large = files.tile_file(small, tmp_path / "large.h5", 3)

    with h5py.File(small) as once, h5py.File(large) as tiled:
        wanted = np.concatenate([np.arange(1000)] * 3 + [np.arange(1000, 2000)] * 3)
        for name in ("jets", "tracks"):
            assert np.array_equal(tiled[name][:], once[name][:][wanted])
        assert list(tiled["jets"].attrs["flavour_label"]) == files.FLAVOURS


def test_a_file_of_odd_hundreds_cannot_be_tiled(files, tmp_path):
    small = files.make_file(tmp_path / "small.h5", files.KINDS["lz4"], 1500)

    with pytest.raises(ValueError, match="1500 jets, not full thousands"):
        files.tile_file(small, tmp_path / "large.h5", 3)


@pytest.fixture
def compared(modules, files, tmp_path):
    """Compare arrays of a file with holes, ours packed to the front, after a change."""
    with h5py.File(files.make_file(tmp_path / "train.h5", files.Kind(holes=0.3), 50)) as file:
        valid = file["tracks"]["valid"]
        theirs = {"mask.tracks": ~valid, "inputs.tracks": np.where(valid, file["tracks"]["d0"], np.float32(0))}
        front = np.argsort(~valid, axis=1, kind="stable")
        ours = {name: np.take_along_axis(array, front, axis=1) for name, array in theirs.items()}

        def compare(change):
            changed = {name: array.copy() for name, array in ours.items()}
            change(changed)
            return modules["loading"].differences(changed, theirs, file["tracks"])

        yield compare


def test_packed_tracks_put_back_in_their_slots_are_the_same(compared):
    assert compared(lambda ours: None) == []


def test_one_bit_makes_a_difference(compared):
    def change(ours):
        ours["inputs.tracks"].view(np.uint32)[7, 0] ^= 1

    assert compared(change) == ["inputs.tracks"]


def test_a_padding_that_is_not_as_upstreams_makes_a_difference(compared):
    def change(ours):
        ours["inputs.tracks"][7, 39] = -0.0

    assert compared(change) == ["inputs.tracks"]


def test_another_type_makes_a_difference(compared):
    def change(ours):
        ours["inputs.tracks"] = ours["inputs.tracks"].astype(np.float64)

    assert compared(change) == ["inputs.tracks"]


def test_a_missing_array_makes_a_difference(compared):
    assert compared(lambda ours: ours.pop("inputs.tracks")) == ["inputs.tracks"]


def test_a_lost_track_makes_a_difference(compared):
    def change(ours):
        ours["mask.tracks"][7, :] = True

    assert compared(change) == ["inputs.tracks", "mask.tracks"]


def test_the_chi2_of_a_shuffled_file_is_one_and_of_a_sorted_one_is_large(modules):
    chi2 = modules["memory"].chi2_per_degree
    flavour = np.sort(np.random.default_rng(0).integers(0, 4, 40_000))
    batch = np.arange(40_000) // 400
    shuffled = np.random.default_rng(1).permutation(batch)

    assert chi2(shuffled, flavour) == pytest.approx(1, abs=0.3)
    assert chi2(batch, flavour) > 100


def test_jets_of_fixed_batches_meet_again_and_shuffled_ones_by_chance(modules):
    met_again = modules["memory"].met_again
    batch = np.arange(40_000) // 400
    first, second = (np.random.default_rng(seed).permutation(batch) for seed in (0, 1))

    assert met_again(batch, batch) == pytest.approx(39_999 / 399)
    assert met_again(first, second) == pytest.approx(1, abs=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("limit", [[], ["--limit-gb", 2, "--store-gb", 0.003]])
def test_memory_reports_what_loading_takes_and_how_it_shuffles(run_benchmark, limit):
    report = run_benchmark("memory.py", "--jets", 3000, "--batch-size", 100, *limit)

    assert report["grown_mb"] >= 0
    assert report["mapped_mb"] < 2000 or not limit
    assert report["chi2_per_degree"] == pytest.approx([1, 1], abs=0.6)
    assert report["met_again"] == pytest.approx([1], abs=0.2)


@pytest.mark.peers
def test_loading_reports_speed_ups_and_sizes(run_against_peer):
    options = ["--kinds", "lz4", "wide", "--jets", 2000, "--rounds", 2, "--first-rounds", 1]
    report = run_against_peer("loading.py", *options)

    for kind in ("lz4", "wide"):
        for mode in ("packed", "padded"):
            low, high = report[kind][f"ci_ratio_{mode}"]
            assert 0 < low <= report[kind][f"ratio_{mode}"] <= high
            assert report[kind][f"first_ratio_{mode}"] > 0
        assert report[kind]["best"] in {"upstream_0", "upstream_2"}
    assert 0 < report["wide"]["store_share"] < report["lz4"]["store_share"]


@pytest.mark.peers
def test_a_shuffled_epoch_holds_each_jet_once_and_equals_upstreams_arrays(run_against_peer):
    report = run_against_peer("loading.py", "--verify", "--jets", 2050)

    cases = {name: of for name, of in report.items() if isinstance(of, dict)}
    assert len(cases) == 9
    assert {name for name, of in cases.items() if of["different"] or not of["once"]} == set()
