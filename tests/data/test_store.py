import logging

import h5py
import numpy as np
import pytest
import torch

from salt.data import reader
from salt.data.opening import Opening
from salt.data.recipes import Options, make_recipe
from salt.data.rows import RowView
from salt.ragged import Ragged
from salt.types import Schema


class Stores:
    """Opens stores one way, and closes them."""

    def __init__(self, way, folder):
        self.way = way
        self.opening = Opening(store=way != "file", store_dir=folder / "stores")
        self.splits = []

    def read(self, path, schema, labels, num_jets=-1, **options):
        split = self.opening.open(str(path), make_recipe(schema, labels, Options(**options)), num_jets, labels, "train")
        self.splits.append(split)
        return split.load() if self.way != "parts" else split.read([(0, 7), (7, split.num_jets - 7)])


@pytest.fixture(params=["file", "mapped", "parts"])
def stores(request, tmp_path):
    stores = Stores(request.param, tmp_path)
    yield stores
    for split in stores.splits:
        split.close()


def naive(path, schema, stream, names, index):
    """Values of these fields, jet by jet, constituent by constituent, and how many each jet has."""
    rows, lengths = [], []
    with h5py.File(path) as file:
        dataset = file[schema.dataset(stream)]
        for jet in index.tolist():
            records = np.atleast_1d(dataset[jet])
            kept = [r for r in records if "valid" not in records.dtype.names or r["valid"]]
            lengths.append(len(kept))
            rows += [[np.float32(r[name]) for name in names] for r in kept]
    return torch.tensor(np.array(rows, np.float32).reshape(-1, len(names))), lengths


@pytest.mark.parametrize("block_bytes", [1, 2**25])
def test_gather_equals_reading_jet_by_jet(stores, make_file, schema, labels, monkeypatch, block_bytes):
    monkeypatch.setattr(reader, "BLOCK_BYTES", block_bytes)
    path = make_file()
    store = stores.read(path, schema, labels)
    batch = store.gather(torch.randperm(230, generator=torch.Generator().manual_seed(1))[:57])
    for stream, names in schema.variables.items():
        expected, lengths = naive(path, schema, stream, names, batch.index)
        got = batch.inputs[stream]
        if isinstance(got, Ragged):
            assert got.segments.lengths.tolist() == lengths
            got = got.values
        assert got.dtype == torch.float32
        assert torch.equal(got, expected)
    for stream, names in labels.items():
        expected, _ = naive(path, schema, stream, names, batch.index)
        for column, name in enumerate(names):
            assert torch.equal(batch.labels[stream][name].float(), expected[:, column])


def test_the_file_of_the_tests_has_empty_jets_and_holes(make_file):
    with h5py.File(make_file()) as file:
        valid = file["tracks"]["valid"]
    assert (valid.sum(1) == 0).any()
    assert (valid[:, 1:] & ~valid[:, :-1]).any()


def test_jets_are_sorted_by_all_their_constituents(stores, make_file, schema):
    batch = stores.read(make_file(), schema, {}).gather(torch.arange(100))
    lengths = batch.inputs["tracks"].segments.lengths + batch.inputs["flows"].segments.lengths
    assert (lengths.diff() >= 0).all()
    assert (batch.index.diff()[lengths.diff() == 0] > 0).all()  # stable


def test_each_jet_of_the_index_is_in_the_batch(stores, make_file, schema):
    index = torch.tensor([5, 229, 0, 17])
    assert sorted(stores.read(make_file(), schema, {}).gather(index).index.tolist()) == [0, 5, 17, 229]


def test_runs_are_known_before_training_asks(stores, make_file, schema):
    segments = stores.read(make_file(), schema, {}).gather(torch.arange(9)).inputs["tracks"].segments
    assert {"runs", "run_sizes", "num_tokens"} <= segments.__dict__.keys()


def test_labels_are_whole_numbers_or_float32(stores, make_file, schema, labels):
    batch = stores.read(make_file(), schema, labels).gather(torch.arange(9))
    assert batch.labels["jets"]["flavour_label"].dtype == torch.int64
    assert batch.labels["jets"]["is_b"].dtype == torch.int64
    assert batch.labels["jets"]["mass"].dtype == torch.float32
    assert batch.labels["tracks"]["origin"].dtype == torch.int64


def test_without_labels_a_batch_has_none(stores, make_file, schema):
    assert stores.read(make_file(), schema, {}).gather(torch.arange(9)).labels == {}


def test_labels_of_a_stream_without_variables_are_read(stores, make_file):
    store = stores.read(make_file(), Schema({"tracks": ["d0"]}), {"jets": ["flavour_label"]})
    batch = store.gather(torch.arange(9))
    assert list(batch.inputs) == ["tracks"]
    assert batch.labels["jets"]["flavour_label"].shape == (9,)


def test_a_dataset_without_valid_keeps_every_constituent(stores, make_file, tmp_path):
    with h5py.File(make_file(), "a") as file:
        file["all"] = file["tracks"].fields(["pt", "hits"])[:]
    batch = stores.read(tmp_path / "train.h5", Schema({"all": ["pt"]}), {}).gather(torch.arange(9))
    assert batch.inputs["all"].segments.lengths.tolist() == [6] * 9


def test_a_file_without_any_track_is_read(stores, make_file, schema):
    def empty(jets, tracks, flows):
        tracks["valid"] = False

    batch = stores.read(make_file(change=empty), schema, {}).gather(torch.arange(9))
    assert batch.inputs["tracks"].values.shape == (0, 5)


def test_num_jets_takes_the_first(stores, make_file, schema):
    assert len(stores.read(make_file(), schema, {}, num_jets=33)) == 33


def test_more_jets_than_the_file_has_warns_and_takes_all(stores, make_file, schema, caplog):
    assert len(stores.read(make_file(), schema, {}, num_jets=999)) == 230
    assert [r.levelno for r in caplog.records] == [logging.WARNING]
    assert "data.num_train: 999 jets asked for" in caplog.text


def test_a_batch_moves_with_its_labels(stores, make_file, schema, labels):
    batch = stores.read(make_file(), schema, labels).gather(torch.arange(9)).to("cpu")
    assert len(batch) == 9


@pytest.mark.parametrize("where", ["tracks", "jets"])
def test_a_non_finite_input_is_told_with_its_place(stores, make_file, schema, where):
    def spoil(jets, tracks, flows):
        tracks["valid"][41, 2] = True
        if where == "tracks":
            tracks["d0"][41, 2] = np.inf
        else:
            jets["pt"][41] = np.nan

    field = "d0 is inf" if where == "tracks" else "pt is nan"
    with pytest.raises(
        ValueError, match=rf"{field} in jet 41 of .*train.h5, dataset '{where}'.*: \w+ 1\..*non_finite_to_num"
    ):
        stores.read(make_file(change=spoil), schema, {})


def spoil_d0(jets, tracks, flows):
    tracks["valid"][4, 2] = True
    tracks["d0"][4, 2] = np.nan


def test_non_finite_inputs_become_zero_if_asked(stores, make_file, schema):
    store = stores.read(make_file(change=spoil_d0), schema, {}, non_finite="zero")
    tracks = store.gather(torch.tensor([4])).inputs["tracks"].values
    assert tracks[:, 2].eq(0).sum() == 1


def test_non_finite_inputs_stay_if_asked(stores, make_file, schema):
    store = stores.read(make_file(change=spoil_d0), schema, {}, non_finite="keep")
    assert store.gather(torch.tensor([4])).inputs["tracks"].values.isnan().sum() == 1


def test_a_value_too_large_for_float32_is_not_finite(stores, make_file, schema):
    def spoil(jets, tracks, flows):
        tracks["valid"][3, 1] = True
        tracks["d0"][3, 1] = 0
        tracks["z0"][3, 1] = 1e300

    with pytest.raises(ValueError, match="z0 is inf in jet 3"):
        stores.read(make_file(change=spoil), schema, {})


def test_labels_may_be_nan(stores, make_file, schema, labels):
    def spoil(jets, tracks, flows):
        jets["mass"][2] = np.nan

    store = stores.read(make_file(change=spoil), schema, labels)
    assert store.gather(torch.tensor([2])).labels["jets"]["mass"].isnan().all()


def test_an_unknown_variable_is_answered_with_the_nearest(stores, make_file):
    with pytest.raises(
        ValueError, match=r"unknown variable 'd00' in dataset 'tracks' of .*data.variables.tracks.*; nearest: d0"
    ):
        stores.read(make_file(), Schema({"tracks": ["d00"]}), {})


def test_an_unknown_label_is_answered_with_the_nearest(stores, make_file, schema):
    with pytest.raises(ValueError, match=r"unknown label 'flavor_label' in dataset 'jets' .*nearest: flavour_label"):
        stores.read(make_file(), schema, {"jets": ["flavor_label"]})


def test_an_unknown_dataset_is_answered_with_the_nearest(stores, make_file):
    with pytest.raises(ValueError, match=r"unknown dataset 'flows' in .*nearest: flows_loose.*data.input_map"):
        stores.read(make_file(), Schema({"flows": ["pt"]}), {})


def test_a_dataset_without_fields_is_refused(stores, make_file):
    with pytest.raises(ValueError, match=r"'notes' .* must have named fields"):
        stores.read(make_file(), Schema({"notes": ["pt"]}), {})


def test_a_global_object_with_many_rows_a_jet_is_refused(stores, make_file):
    with pytest.raises(ValueError, match="must have one row a jet"):
        stores.read(make_file(), Schema({"tracks": ["pt"]}, global_object="tracks"), {})


def test_datasets_of_unequal_length_are_refused(stores, make_file, tmp_path):
    with h5py.File(make_file(), "a") as file:
        file["short"] = file["tracks"][:9]
    with pytest.raises(ValueError, match=r"'short' .* has 9 jets, but the file 230"):
        stores.read(tmp_path / "train.h5", Schema({"jets": ["pt"], "short": ["pt"]}), {})


@pytest.mark.parametrize(("num_jets", "there"), [(0, 9), (-3, 9), (-1, 0)])
def test_no_jets_is_an_error(stores, make_file, schema, num_jets, there):
    with pytest.raises(ValueError, match=rf"no jets to read: data.num_train is {num_jets} and .* has {there}"):
        stores.read(make_file(num_jets=there), schema, {}, num_jets=num_jets)


def test_fields_of_all_types_keep_their_column(stores, make_file):
    names, path = ["hits", "pt", "z0", "d0"], make_file()
    store = stores.read(path, Schema({"tracks": names}), {})
    batch = store.gather(torch.arange(50))
    for column, name in enumerate(names):
        alone = stores.read(path, Schema({"tracks": [name]}), {}).gather(torch.arange(50))
        assert torch.equal(alone.inputs["tracks"].values[:, 0], batch.inputs["tracks"].values[:, column])


def test_floats_at_odd_places_of_a_record_are_read():
    records = np.zeros(5, [("flag", "?"), ("a", "f4"), ("b", "f4"), ("c", ">f4")])
    records["a"], records["b"], records["c"] = np.arange(5), 10 + np.arange(5), 20 + np.arange(5)
    matrix = reader._matrix(RowView(records), reader.Plan(("c", "b", "a"), np.dtype("f4")))
    assert matrix.tolist() == [[20 + i, 10 + i, i] for i in range(5)]
