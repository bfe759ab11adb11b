"""Jets of a file as padded tensors: what the file has, slot by slot, however a slice is asked for."""

import pickle

import h5py
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from salt.data import SaltDataset
from salt.data.labeller import LabellerConfig
from salt.data.objects import MaskformerConfig
from salt.data.sources import open_sample
from salt.data.transforms import GaussianNoise


@pytest.fixture
def make_dataset(make_file, schema, labels):
    """A dataset of a file, of its own or that of `path`, and what the file's datasets are."""

    def make(path=None, variables=None, stage="fit", **options):
        path = path or make_file()
        options = {"labels": labels, "input_map": schema.input_map} | options
        with h5py.File(path) as file:
            tables = {name: file[name][:] for name in ("jets", "tracks", "flows_loose")}
        return SaltDataset(path, None, variables or schema.variables, stage, **options), tables

    return make


def stacked(records, names):
    """(..., F) float32 of these fields."""
    return torch.from_numpy(np.stack([records[name].astype(np.float32) for name in names], -1))


def equal(ours, theirs):
    """Whether two items are the same; the second may be an array of a file."""
    if isinstance(theirs, np.ndarray):
        theirs = torch.from_numpy(theirs.copy())
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0, equal_nan=True)


def test_a_slice_is_what_the_file_has_in_the_same_slots(make_dataset, schema, labels):
    dataset, tables = make_dataset()
    inputs, pad_masks, found = dataset[17:200]
    assert len(dataset) == 230
    assert list(inputs) == ["jets", "tracks", "flows"]
    assert list(pad_masks) == ["tracks", "flows"]
    equal(inputs["jets"], stacked(tables["jets"][17:200], schema.variables["jets"]))
    for stream, name in {"tracks": "tracks", "flows": "flows_loose"}.items():
        records = tables[name][17:200]
        equal(pad_masks[stream], ~records["valid"])
        expected = stacked(records, schema.variables[stream])
        expected[pad_masks[stream]] = 0
        equal(inputs[stream], expected)
    assert {stream: list(of) for stream, of in found.items()} == labels
    equal(found["jets"]["mass"], tables["jets"]["mass"][17:200])
    origin = np.where(tables["tracks"]["valid"], tables["tracks"]["origin"], -1)[17:200]
    equal(found["tracks"]["origin"], origin.astype(np.int64))


def test_padded_labels_are_what_losses_leave_out(make_dataset):
    dataset, tables = make_dataset(labels={"tracks": ["hits", "d0"]})
    labels = dataset[:][2]["tracks"]
    pad = torch.from_numpy(~tables["tracks"]["valid"])
    assert (labels["hits"][pad] == -1).all()
    assert labels["d0"][pad].isnan().all()


def test_constituents_are_cut_as_the_options_say_and_stay_in_their_slots(make_dataset):
    cuts = {"tracks": ["d0 > 0"], "flows": None}
    dataset, tables = make_dataset(num_inputs={"tracks": 4}, selections=cuts)
    tracks = tables["tracks"][:, :4]
    kept = torch.from_numpy(tracks["valid"] & (tracks["d0"] > 0))
    inputs, pad_masks, labels = dataset[:]
    equal(pad_masks["tracks"], ~kept)
    equal(inputs["tracks"][..., 0][kept], torch.from_numpy(tracks["pt"])[kept])
    assert inputs["tracks"].shape == (230, 4, 5)
    assert labels["tracks"]["origin"].shape == (230, 4)
    assert pad_masks["flows"].shape == (230, 3)


@pytest.mark.parametrize(
    ("index", "jets"),
    [
        (slice(None, 5), range(5)),
        (slice(225, None), range(225, 230)),
        (slice(-3, -1), range(227, 229)),
        (slice(220, 999), range(220, 230)),
        (7, range(7, 8)),
        (np.int64(7), range(7, 8)),
        (-1, range(229, 230)),
    ],
)
def test_jets_are_asked_for_as_those_of_a_list(make_dataset, index, jets):
    dataset, tables = make_dataset()
    inputs, pad_masks, labels = dataset[index]
    equal(inputs["jets"][:, 0], tables["jets"]["eta"][list(jets)])
    assert len(inputs["tracks"]) == len(pad_masks["tracks"]) == len(labels["tracks"]["origin"]) == len(jets)


@pytest.mark.parametrize(
    ("index", "error", "message"),
    [
        (slice(0, 10, 2), ValueError, "with a step of 1"),
        (slice(5, 5), ValueError, "one jet or more"),
        (slice(230, 240), ValueError, "of 230 jets"),
        (230, IndexError, "out of range"),
        ([1, 2], TypeError, r"by a slice.*not by \[1, 2\]"),
    ],
)
def test_what_is_no_stretch_of_jets_is_an_error(make_dataset, index, error, message):
    dataset, _ = make_dataset()
    with pytest.raises(error, match=message):
        dataset[index]


def test_a_loop_ends_with_the_last_jet(make_dataset):
    dataset, _ = make_dataset(num=3)
    assert [len(inputs["jets"]) for inputs, _, _ in dataset] == [1, 1, 1]


def test_num_takes_the_first_jets(make_dataset):
    dataset, tables = make_dataset(num=10)
    assert len(dataset) == 10
    equal(dataset[5:99][0]["jets"][:, 0], tables["jets"]["eta"][5:10])


@pytest.mark.parametrize("num", [0, -2, 231])
def test_a_num_that_the_file_has_not_is_an_error(make_dataset, num):
    with pytest.raises(ValueError, match=f"num is {num}, but .*train.h5 has 230 jets"):
        make_dataset(num=num)


def test_files_of_a_glob_follow_each_other_and_nothing_is_written_beside_them(make_file, make_dataset):
    first, second = make_file("a.h5", 20), make_file("b.h5", 30)
    dataset = make_dataset(path=first)[0]
    both = SaltDataset(first.with_name("*.h5"), "absent.yaml", {"jets": ["pt"]}, "fit", vds_path="nowhere/vds.h5")
    with h5py.File(first) as one, h5py.File(second) as other:
        expected = np.concatenate([one["jets"]["pt"][15:], other["jets"]["pt"][:5]])
    equal(both[15:25][0]["jets"][:, 0], expected)
    assert len(dataset) == 20
    assert sorted(path.name for path in first.parent.iterdir()) == ["a.h5", "b.h5"]


def test_values_that_are_not_finite_raise_or_become_zero_or_stay(make_file, make_dataset):
    def spoil(jets, tracks, flows):
        jets["pt"][3] = np.nan

    path = make_file(change=spoil)
    dataset, _ = make_dataset(path)
    assert len(dataset[:3][0]["jets"]) == 3
    with pytest.raises(ValueError, match="pt is nan in jet 3"):
        dataset[3:5]
    assert make_dataset(path, non_finite_to_num=True)[0][3][0]["jets"][0, 1] == 0
    assert make_dataset(path, ignore_finite_checks=True)[0][3][0]["jets"][0, 1].isnan()


def test_parameters_have_the_value_to_evaluate_at_in_a_test_only(make_file, make_dataset):
    def masses(jets, tracks, flows):
        jets["mass"] = np.arange(len(jets)) % 3

    path, given = make_file(change=masses), {"mass": {"train": [1, 2], "test": 7}}
    options = {"variables": {"jets": ["pt"], "parameters": ["mass"]}, "parameters": given, "labels": {"jets": ["mass"]}}
    for stage in ("fit", "train", "validate", "val"):
        inputs, _, labels = make_dataset(path, stage=stage, **options)[0][:]
        own, found = labels["jets"]["mass"], inputs["parameters"][:, 0]
        equal(found[own > 0], own[own > 0])
        assert set(found[own == 0].tolist()) == {1, 2}
    inputs, _, labels = make_dataset(path, stage="test", **options)[0][:]
    assert (inputs["parameters"] == 7).all()
    assert set(labels["jets"]["mass"].tolist()) == {0, 1, 2}


def test_a_stage_that_there_is_not_is_an_error(make_dataset):
    with pytest.raises(ValueError, match="unknown stage 'fitt' in SaltDataset; nearest: fit"):
        make_dataset(stage="fitt")


def test_transforms_change_inputs_and_a_slice_that_is_read_twice_is_the_same(make_file, make_dataset):
    path = make_file()
    noise = GaussianNoise({"tracks": [{"variable": "pt", "mean": 0.0, "std": 0.5}]})
    plain, noisy = make_dataset(path)[0][:][0], make_dataset(path, transforms=[noise])[0]
    values, pad_masks, _ = noisy[:]
    equal(values["tracks"][..., 1:], plain["tracks"][..., 1:])
    assert (values["tracks"][..., 0] != plain["tracks"][..., 0])[~pad_masks["tracks"]].all()
    equal(noisy[100:150][0]["tracks"], values["tracks"][100:150])
    with pytest.raises(TypeError, match=r"salt.data.transforms.Transform, not builtin_function_or_method"):
        make_dataset(path, transforms=[abs])


def test_targets_come_from_one_field_or_another(make_file, make_dataset):
    entry = {"input_name": "jets", "sel_label": "flavour_label", "opp": ">", "value": 4, "source": "pt"}
    path = make_file()
    labels = make_dataset(path, labels={"jets": ["new"]}, multi_target=[{**entry, "custom_target": "new"}])[0][:][2]
    with h5py.File(path) as file:
        jets = file["jets"][:]
    expected = np.where(jets["flavour_label"] > 4, jets["pt"], np.nan)
    equal(labels["jets"]["new"], expected.astype(np.float32))


def test_classes_are_worked_out_from_the_truth(dataset):
    names = ["ujets", "cjets", "bjets"]
    config = LabellerConfig(True, names, require_labels=False)
    path = dataset()
    made = SaltDataset(path, None, {"jets": ["pt"]}, "fit", labels={"jets": ["flavour_label"]}, labeller_config=config)
    with h5py.File(path) as file:
        truth = file["jets"]["HadronConeExclTruthLabelID"]
    expected = np.select([truth == 0, truth == 4, truth == 5], [0, 1, 2], -1)
    assert made[:][2]["jets"]["flavour_label"].tolist() == expected.tolist()
    assert len(set(expected)) >= 3


def test_malformed_labels_of_the_origin_are_recovered(dataset):
    def spoil(name, records):
        if name != "tracks":
            return None
        records["ftagTruthOriginLabel"][:, 1] = -127
        return records

    path, options = dataset(spoil), {"labels": {"tracks": ["ftagTruthOriginLabel"]}}
    found = [
        SaltDataset(path, None, {"tracks": ["d0"]}, "fit", recover_malformed=recovered, **options)[:]
        for recovered in (False, True)
    ]
    real = ~found[0][1]["tracks"][:, 1]
    columns = [labels["tracks"]["ftagTruthOriginLabel"][:, 1][real] for _, _, labels in found]
    assert set(columns[0].tolist()) == {-127}
    assert set(columns[1].tolist()) == {-1}


def test_objects_have_classes_and_masks_over_the_slots_of_their_constituents(dataset):
    classes = {"b": {"raw": 5, "mapped": 0}, "c": {"raw": 4, "mapped": 1}, "null": {"raw": -1, "mapped": 2}}
    of = {"name": "truth_hadrons", "id_label": "barcode", "class_label": "flavour", "object_classes": classes}
    config = MaskformerConfig.of(
        {"object": of, "constituent": {"name": "tracks", "id_label": "ftagTruthParentBarcode"}}
    )
    path = dataset()
    made = SaltDataset(path, None, {"jets": ["pt"], "tracks": ["d0"]}, "fit", mf_config=config)
    inputs, pad_masks, labels = made[10:60]
    with h5py.File(path) as file:
        hadrons, tracks = file["truth_hadrons"][10:60], file["tracks"][10:60]
    assert list(inputs) == ["jets", "tracks"]
    assert list(pad_masks) == ["tracks"]
    equal(labels["objects"]["barcode"], hadrons["barcode"])
    expected = np.select([hadrons["flavour"] == 5, hadrons["flavour"] == 4], [0, 1], 2)
    equal(labels["objects"]["object_class"], expected)
    same = tracks["ftagTruthParentBarcode"][:, None] == hadrons["barcode"][..., None]
    real = (hadrons["barcode"] != -1)[..., None] & tracks["valid"][:, None]
    equal(labels["objects"]["masks"], same & real)
    assert labels["objects"]["masks"].any()
    with pytest.raises(ValueError, match="unknown stream 'tracks' in variables, asked for by mf_config"):
        SaltDataset(path, None, {"jets": ["pt"]}, "fit", mf_config=config)


def test_other_processes_read_the_same(make_dataset):
    dataset, _ = make_dataset()
    parts = [slice(0, 100), slice(100, 230)]
    expected = [dataset[part] for part in parts]
    restored = pickle.loads(pickle.dumps(dataset))
    equal(restored[:100], expected[0])
    loader = DataLoader(dataset, batch_size=None, sampler=parts, num_workers=2, multiprocessing_context="fork")
    for found, part in zip(loader, expected, strict=True):
        equal(tuple(found), part)


def test_the_file_is_opened_once_a_process(make_dataset, monkeypatch):
    dataset, _ = make_dataset()
    opened = []

    def opens(pattern, key):
        opened.append(pattern)
        return open_sample(pattern, key)

    monkeypatch.setattr("salt.data.dataset.open_sample", opens)
    dataset[:5]
    assert opened == []
    monkeypatch.setattr("os.getpid", lambda: -1)
    dataset[:5], dataset[5:]
    assert opened == [dataset.filename]


def test_names_that_a_file_has_not_are_errors_that_tell_the_nearest(make_dataset):
    with pytest.raises(ValueError, match=r"unknown variable 'etaa' in .*train.h5.*nearest: eta"):
        make_dataset(variables={"jets": ["etaa"]})
    with pytest.raises(FileNotFoundError, match=r"no file .*absent.h5 \(filename\)"):
        SaltDataset("absent.h5", None, {"jets": ["pt"]}, "fit")
