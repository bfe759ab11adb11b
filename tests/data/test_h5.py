import h5py
import numpy as np
import pytest

from salt.data import h5


def test_a_missing_file_is_answered_with_the_nearest_of_its_folder(make_file):
    path = make_file("ttbar_train.h5")
    with pytest.raises(FileNotFoundError, match=r"no file .*tbar_train.h5 \(data.train_file\).*ttbar_train.h5"):
        h5.open_file(path.with_name("tbar_train.h5"), "data.train_file")


def test_a_missing_folder_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"there is no folder .*, only {tmp_path}"):
        h5.open_file(tmp_path / "a" / "b" / "c.h5", "data.train_file")


def test_a_folder_is_not_a_file(make_file):
    with pytest.raises(FileNotFoundError, match=r"is a folder; name a file in it: train\.h5"):
        h5.open_file(make_file().parent, "data.train_file")


def test_a_file_that_is_not_hdf5_is_told(tmp_path):
    (tmp_path / "a.h5").write_text("no")
    with pytest.raises(ValueError, match="not an HDF5 file"):
        h5.open_file(tmp_path / "a.h5", "data.train_file")


def test_a_field_that_is_no_number_is_refused(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["jets"] = np.zeros(3, [("name", "S3")])
        with pytest.raises(ValueError, match="only numbers can be read"):
            h5.check_fields(file["jets"], ["name"], "variable", "data.variables.jets")


def test_datasets_are_described_with_their_fields(make_file):
    description = h5.describe(make_file())
    assert list(description) == ["flows_loose", "jets", "tracks"]
    assert description["jets"]["pt"] == np.float32


@pytest.mark.parametrize("names", [["bjets", "cjets"], np.array(["bjets", "cjets"], "S")])
def test_class_names_are_read_as_text_or_bytes(make_file, names):
    path = make_file()
    with h5py.File(path, "a") as file:
        file["jets"].attrs["flavour_label"] = names
    assert h5.class_names(path, "jets", "flavour_label") == ["bjets", "cjets"]


def test_missing_class_names_say_how_to_mend(make_file):
    with pytest.raises(ValueError, match=r"unknown label 'origin' .*nearest: flavour_label; name the classes"):
        h5.class_names(make_file(), "jets", "origin")


@pytest.mark.parametrize("num_jets", [1, 16, 100, 230])
def test_blocks_hold_each_jet_once(make_file, monkeypatch, num_jets):
    monkeypatch.setattr(h5, "BLOCK_BYTES", 10_000)
    with h5.open_file(make_file(), "file") as file:
        parts = [(first, records.copy()) for first, records in h5.blocks(file["tracks"], num_jets)]
        whole = file["tracks"][:num_jets]
    assert [first % 16 for first, _ in parts] == [0] * len(parts)
    assert np.concatenate([records for _, records in parts]).tobytes() == whole.tobytes()
