import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml

from salt.simulate import columns, dictionaries, files, sample

SPLITS = ("train", "val", "test")
INPUTS = (*(name for name in columns.TRACK_FLOATS if name not in ("pt", "eta", "phi")), *columns.COUNTS)
JETS = (3000, 400, 600)
CONFIGS = Path(sample.__file__).parents[1] / "configs"


@pytest.fixture
def finished(request):
    return request.getfixturevalue("sample")


def test_files_hold_exactly_the_jets_asked_for(finished, read_file):
    assert [len(read_file(finished / f"pp_output_{split}.h5")["jets"]) for split in SPLITS] == list(JETS)


def test_no_event_is_in_two_files(finished, read_file):
    events = [set(read_file(finished / f"pp_output_{split}.h5")["jets"]["eventNumber"]) for split in SPLITS]
    assert sum(map(len, events)) == len(set.union(*events))


def test_tracks_have_the_inputs_of_gn2(train):
    names = (
        "d0 z0SinTheta dphi deta qOverP lifetimeSignedD0Significance lifetimeSignedZ0SinThetaSignificance "
        "phiUncertainty thetaUncertainty qOverPUncertainty numberOfPixelHits numberOfSCTHits "
        "numberOfInnermostPixelLayerHits numberOfNextToInnermostPixelLayerHits "
        "numberOfInnermostPixelLayerSharedHits numberOfInnermostPixelLayerSplitHits numberOfPixelSharedHits "
        "numberOfPixelSplitHits numberOfSCTSharedHits"
    )
    assert set(names.split()) == set(INPUTS)
    assert set(INPUTS) <= set(train["tracks"].dtype.names)
    assert train["tracks"].shape[1] == 40
    assert {"pt_btagJes", "eta_btagJes"} <= set(train["jets"].dtype.names)


def test_valid_tracks_come_first(train):
    valid = train["tracks"]["valid"]
    assert valid.dtype == bool
    assert not np.any(valid[:, 1:] & ~valid[:, :-1])
    np.testing.assert_array_equal(valid.sum(axis=1), train["jets"]["n_tracks"])


def test_tracks_fall_in_significance(train):
    significance = np.nan_to_num(np.abs(train["tracks"]["lifetimeSignedD0Significance"]), nan=0)
    assert np.all(np.diff(significance, axis=1) <= 0)


def test_inputs_of_valid_tracks_are_finite(train):
    tracks = train["tracks"][train["tracks"]["valid"]]
    assert all(np.isfinite(tracks[name]).all() for name in INPUTS)


def test_padding_is_nan_for_floats_zero_for_counts_and_minus_one_for_labels(train):
    padding = train["tracks"][~train["tracks"]["valid"]]
    for name in padding.dtype.names:
        kind = padding[name].dtype.kind
        expected = {"f": np.nan, "u": 0, "i": -1, "b": False}[kind]
        np.testing.assert_array_equal(padding[name], np.full(len(padding), expected))


def test_momenta_are_in_mev(train):
    tracks = train["tracks"][train["tracks"]["valid"]]
    assert tracks["pt"].min() > 500
    assert train["jets"]["pt"].min() > 20_000
    momentum = tracks["pt"] * np.cosh(tracks["eta"])
    np.testing.assert_allclose(np.abs(tracks["qOverP"]) * momentum, 1, rtol=1e-4)


def test_flavour_label_points_at_the_names_in_its_attribute(finished):
    with h5py.File(finished / "pp_output_val.h5") as file:
        names = list(file["jets"].attrs["flavour_label"])
        jets = file["jets"][:]
    assert names == ["bjets", "cjets", "ujets", "taujets"]
    for flavour, truth in enumerate((5, 4, 0, 15)):
        assert set(jets["HadronConeExclTruthLabelID"][jets["flavour_label"] == flavour]) <= {truth}


def test_files_say_what_made_them(finished):
    with h5py.File(finished / "pp_output_train.h5") as file:
        attributes = dict(file.attrs)
    assert attributes["unique_jets"] == JETS[0]
    assert attributes["process"] == "ttbar"
    assert attributes["seed"] == 7
    assert "pythia" in attributes["generator"]
    assert json.loads(attributes["config"])["seed"] == 7
    assert {"dsids", "jet_counts"} <= set(attributes)


def test_ntuple_has_all_jets_and_no_flavour_label(finished, read_file):
    ntuple = read_file(finished / "ntuple.h5")
    assert len(ntuple["jets"]) >= sum(JETS)
    assert len(ntuple["tracks"]) == len(ntuple["jets"])
    assert "flavour_label" not in ntuple["jets"].dtype.names
    assert {"eventNumber", "jetFoldHash", "HadronConeExclTruthLabelID"} <= set(ntuple["jets"].dtype.names)


def test_norm_dict_holds_mean_and_width_of_the_valid_tracks(finished, train):
    content = yaml.safe_load((finished / "norm_dict.yaml").read_text())
    tracks = train["tracks"][train["tracks"]["valid"]]
    for name in INPUTS:
        values = tracks[name].astype(np.float64)
        assert content["tracks"][name]["mean"] == pytest.approx(values.mean(), rel=1e-6, abs=1e-12)
        assert content["tracks"][name]["std"] == pytest.approx(values.std() or 1, rel=1e-6)
    assert content["jets"]["pt_btagJes"]["mean"] == pytest.approx(train["jets"]["pt_btagJes"].astype(np.float64).mean())


def test_class_dict_has_a_weight_for_each_class(finished):
    content = yaml.safe_load((finished / "class_dict.yaml").read_text())
    assert len(content["jets"]["flavour_label"]) == 4
    assert len(content["tracks"]["ftagTruthOriginLabel"]) == 8


def test_class_weights_by_hand():
    # sum 8: 8/4, 8/2, 8/1, and 8/1 for the class without jets; over the least, 2
    assert dictionaries.class_weights(np.array([4, 2, 1, 0])) == [1.0, 2.0, 4.0, 4.0]


def test_variable_that_never_varies_has_width_one():
    tables = {
        "jets": np.ones(3, columns.jet_dtype(False)),
        "tracks": np.full((3, 2), np.ones((), columns.TRACKS)),
    }
    sums = dictionaries.Dictionaries()
    sums.add(tables)
    assert sums.norm_dict()["tracks"]["d0"] == {"mean": 1.0, "std": 1.0}


def test_pad_keeps_order_and_leaves_jets_without_tracks_empty():
    ragged = np.zeros(3, [("d0", "f4"), ("label", "i1"), ("hits", "u1"), ("valid", "?")])
    ragged["d0"], ragged["valid"] = [1, 2, 3], True
    slots = columns.pad(ragged, np.array([2, 0, 1]), 2)
    np.testing.assert_array_equal(slots["d0"], [[1, 2], [np.nan, np.nan], [3, np.nan]])
    np.testing.assert_array_equal(slots["label"][1], [-1, -1])
    np.testing.assert_array_equal(slots["hits"][1], [0, 0])


def test_file_is_the_same_whatever_pieces_it_was_written_in(tmp_path, read_file):
    jets = np.zeros(1203, columns.jet_dtype(False))
    jets["eventNumber"] = np.arange(len(jets))
    for name, pieces in (("one", 1), ("many", 7)):
        with files.JetFile(tmp_path / name, labelled=True) as file:
            for piece in np.array_split(jets, pieces):
                file.append({"jets": piece})
            file.finish({})
    np.testing.assert_array_equal(read_file(tmp_path / "one")["jets"], jets)
    np.testing.assert_array_equal(read_file(tmp_path / "many")["jets"], jets)


def test_weighted_processes_carry_their_weight():
    assert "mcEventWeight" in columns.jet_dtype(True).names
    assert "mcEventWeight" not in columns.jet_dtype(False).names


def test_shipped_sample_is_small_and_has_2000_jets(read_file):
    path = CONFIGS / "sample.h5"
    content = read_file(path)
    assert path.stat().st_size < 2_000_000
    assert content["jets"].shape == (2000,)
    assert content["tracks"].shape == (2000, 40)
    assert set(content["jets"]["flavour_label"]) == {0, 1, 2, 3}


def test_shipped_sample_was_made_by_the_present_model():
    recipe = sample.Recipe("ttbar", 42, (2000, 400, 400))
    for name in ("sample.h5", "norm_dict.yaml", "class_dict.yaml"):
        assert sample.config_of(CONFIGS / name) == recipe.config, "run setup/sample.sh"
