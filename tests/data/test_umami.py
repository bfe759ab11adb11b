import h5py
import numpy as np
import pytest

from salt.data.sources import open_sample

JET_VARIABLES = ["pt_btagJes", "absEta_btagJes"]
TRACK_VARIABLES = ["jet_pt_btagJes", "jet_absEta_btagJes", "d0", "z0SinTheta", "ptfrac"]


@pytest.fixture
def make_umami(tmp_path):
    """A file of umami's layout, float16, with concatenated jets; `change` may edit it."""

    def make(name="umami.h5", num_jets=40, change=None):
        generator = np.random.default_rng(3)
        valid = np.arange(4) < generator.integers(0, 5, num_jets)[:, None]
        jets = generator.normal(size=(num_jets, 2))
        tracks = np.concatenate([np.repeat(jets[:, None], 4, axis=1), generator.normal(size=(num_jets, 4, 3))], axis=2)
        tracks[~valid] = 0
        with h5py.File(tmp_path / name, "w") as file:
            file["jets/inputs"] = jets.astype("f2")
            file["jets/inputs"].attrs["jet_variables"] = JET_VARIABLES
            file["jets/labels"] = generator.integers(0, 3, num_jets).astype("u1")
            file["jets/labels_one_hot"] = np.eye(3, dtype="u1")[file["jets/labels"][:]]
            for labels in ("labels", "labels_one_hot"):
                file["jets"][labels].attrs["label_classes"] = ["ujets", "cjets", "bjets"]
            file["jets/weight"] = np.ones(num_jets, "f2")
            file["jets/add_labels/HadronConeExclTruthLabelPt"] = generator.normal(size=num_jets).astype("f4")
            file.create_dataset("tracks_loose/inputs", data=tracks.astype("f2"), chunks=(5, 4, 5), compression="lzf")
            file["tracks_loose/inputs"].attrs["variables"] = TRACK_VARIABLES
            file["tracks_loose/valid"] = valid
            for label in ("truthOriginLabel", "truthVertexIndex"):
                values = np.where(valid, generator.integers(0, 7, (num_jets, 4)), -1)
                file[f"tracks_loose/labels/{label}"] = values.astype("i1")
            if change:
                change(file)
        return tmp_path / name

    return make


def table(path, name):
    """A table and all of its records."""
    with open_sample(path, "data.train_file") as sample:
        found = sample.table(name, "data.inputs")
        return found, found.read(0, sample.num_jets)


def test_groups_are_found_among_structured_datasets(make_umami):
    def change(file):
        file["muons"] = np.zeros(40, [("pt", "f4")])
        file["bookkeeping/cuts"] = [1]

    with open_sample(make_umami(change=change), "data.train_file") as sample:
        assert sample.names() == ["muons", "jets", "tracks_loose"]
        assert sample.num_jets == 40


def test_columns_of_inputs_are_fields_in_their_order(make_umami):
    path = make_umami()
    tracks, records = table(path, "tracks_loose")
    assert tracks.variables == TRACK_VARIABLES
    assert tracks.shape == (40, 4)
    assert tracks.chunk == 5
    with h5py.File(path) as file:
        inputs = file["tracks_loose/inputs"][:]
    for column, variable in enumerate(TRACK_VARIABLES):
        assert records.dtype[variable] == np.float16
        np.testing.assert_array_equal(records[variable], inputs[..., column])


def test_datasets_beside_the_inputs_are_fields(make_umami):
    path = make_umami()
    _, tracks = table(path, "tracks_loose")
    _, jets = table(path, "jets")
    assert tracks.dtype.names == (*TRACK_VARIABLES, "truthOriginLabel", "truthVertexIndex", "valid")
    assert jets.dtype.names == (*JET_VARIABLES, "HadronConeExclTruthLabelPt", "labels", "weight")
    with h5py.File(path) as file:
        for field in ("truthOriginLabel", "truthVertexIndex"):
            np.testing.assert_array_equal(tracks[field], file[f"tracks_loose/labels/{field}"][:])
        np.testing.assert_array_equal(tracks["valid"], file["tracks_loose/valid"][:])
        np.testing.assert_array_equal(jets["labels"], file["jets/labels"][:])
        extra = file["jets/add_labels/HadronConeExclTruthLabelPt"][:]
        np.testing.assert_array_equal(jets["HadronConeExclTruthLabelPt"], extra)


def test_a_part_is_read_as_the_whole_is(make_umami):
    path = make_umami()
    records = table(path, "tracks_loose")[1]
    with open_sample(path, "data.train_file") as sample:
        part = sample.table("tracks_loose", "data.inputs").read(7, 11)
    assert part.tobytes() == records[7:18].tobytes()


def test_several_files_are_one_long_sample(make_umami):
    paths = [make_umami("a.h5", 7), make_umami("b.h5", 12)]
    tracks, records = table(paths, "tracks_loose")
    assert records.tobytes() == b"".join(table(path, "tracks_loose")[1].tobytes() for path in paths)
    assert tracks.place(8) == f"jet 1 of {paths[1]}"


@pytest.mark.parametrize("name", ["labels", "labels_one_hot"])
def test_one_hot_labels_become_the_number_of_the_class(make_umami, name):
    expected = table(make_umami(), "jets")[1]["labels"]

    def change(file):
        del file["jets/labels"]
        file.move("jets/labels_one_hot", f"jets/{name}2")
        file.move(f"jets/{name}2", f"jets/{name}")

    jets, records = table(make_umami(change=change), "jets")
    np.testing.assert_array_equal(records["labels"], expected)
    assert list(jets.attrs["labels"]) == ["ujets", "cjets", "bjets"]
    assert "labels_one_hot" not in records.dtype.names


def test_one_hot_labels_of_several_classes_are_told(make_umami):
    def change(file):
        del file["jets/labels"]
        file["jets/labels_one_hot"][31] = [1, 0, 1]

    with pytest.raises(ValueError, match=r"jet 31 of \S+umami\.h5, group 'jets' .*are \[1 0 1\]: not of one class"):
        table(make_umami(change=change), "jets")


def test_class_names_are_an_attribute_of_the_label(make_umami):
    jets, _ = table(make_umami(), "jets")
    assert list(jets.attrs["labels"]) == ["ujets", "cjets", "bjets"]


def test_a_label_with_the_name_of_an_input_is_called_by_its_path(make_umami):
    def change(file):
        file["jets/add_labels/pt_btagJes"] = np.full(40, 7.0)

    _, records = table(make_umami(change=change), "jets")
    assert (records["add_labels/pt_btagJes"] == 7).all()
    assert (records["pt_btagJes"] != 7).all()


def test_weights_that_are_inputs_too_are_one_field(make_umami):
    def change(file):
        file["jets/inputs"].attrs["jet_variables"] = ["pt_btagJes", "weight"]

    _, records = table(make_umami(change=change), "jets")
    assert records.dtype.names.count("weight") == 1


def test_inputs_without_names_are_told(make_umami):
    def change(file):
        file["tracks_loose/inputs"].attrs["variables"] = TRACK_VARIABLES[:4]

    message = (
        r"group 'tracks_loose' of \S+umami\.h5 \(data\.train_file\) does not say which variables the 5 columns .*"
        r"`variables` or `jet_variables` .*its attributes: variables with 4\. .*file\['<group>/inputs'\]\.attrs"
    )
    with pytest.raises(ValueError, match=message):
        table(make_umami(change=change), "tracks_loose")


def test_inputs_with_a_name_twice_are_told(make_umami):
    def change(file):
        file["jets/inputs"].attrs["jet_variables"] = ["pt", "pt"]

    with pytest.raises(ValueError, match="names a variable of its inputs twice: pt, pt"):
        table(make_umami(change=change), "jets")


def test_constituents_without_valid_are_told(make_umami):
    def change(file):
        del file["tracks_loose/valid"]

    with pytest.raises(ValueError, match=r"unknown dataset 'valid' in group 'tracks_loose' .*without it padding"):
        table(make_umami(change=change), "tracks_loose")


def test_a_dataset_of_another_shape_is_told(make_umami):
    def change(file):
        del file["tracks_loose/labels/truthVertexIndex"]
        file["tracks_loose/labels/truthVertexIndex"] = np.zeros((40, 3), "i1")

    message = r"labels/truthVertexIndex of group 'tracks_loose' .*has the shape \(40, 3\), but its inputs \(40, 4, 5\)"
    with pytest.raises(ValueError, match=message):
        table(make_umami(change=change), "tracks_loose")


def test_a_group_without_inputs_is_told(make_umami):
    def change(file):
        file.move("tracks_loose/inputs", "tracks_loose/input")

    message = (
        r"'tracks_loose' of \S+umami\.h5 \(data\.inputs\) is a group with input, labels/truthOriginLabel, .*valid; "
        r".*it must have the dataset tracks_loose/inputs, .*: it has no inputs"
    )
    with pytest.raises(ValueError, match=message):
        table(make_umami(change=change), "tracks_loose")


def test_inputs_of_another_shape_are_told(make_umami):
    def change(file):
        file["lists/inputs"] = np.zeros(40)

    with pytest.raises(ValueError, match=r"'lists' of .* is a group .*: its inputs have the shape \(40,\)"):
        table(make_umami(change=change), "lists")
