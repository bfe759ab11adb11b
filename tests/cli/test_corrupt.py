"""Files that are damaged or hold nonsense, full or read-only disks: one message, code 2, nothing half-written."""

import os
import shutil
import subprocess
import tempfile

import h5py
import numpy as np
import pytest

QUICK = ("--trainer.max_epochs=1", "--trainer.log_every_n_steps=1", "--data.batch_size=500")


def entries(folder):
    """All that is in a folder, but for whole stores, which may stay."""
    stores = [manifest.parent for manifest in folder.rglob("salt-store/*/manifest.json")]
    mine = [path for path in folder.rglob("*") if not {path, *path.parents} & set(stores)]
    return sorted((str(path), path.is_file() and path.stat().st_size) for path in mine if path.name != "salt-store")


@pytest.fixture
def told(salt):
    """The message with which `fit` of simple.yaml on this file ends."""

    def run(train, *options, val=None):
        files = ("--data.train_file", train, "--data.val_file", val or train)
        answer = salt("fit", "--config", "simple.yaml", *files, *QUICK, *options)
        assert answer.code == 2, answer.err
        assert "Traceback" not in answer.err
        assert len(answer.error) < 1500
        return answer.error

    return run


@pytest.fixture
def refused(told, tmp_path):
    """The message with which `fit` on this file ends, before it has written anything."""

    def run(train, *options, val=None, folders=()):
        before = [entries(folder) for folder in (tmp_path, *folders)]
        error = told(train, *options, val=val)
        assert [entries(folder) for folder in (tmp_path, *folders)] == before
        return error

    return run


def edited(name, change):
    """An edit of one dataset: what `change` makes of its records."""
    return lambda dataset, records: change(records) if dataset == name else None


def setting(name, field, place, value):
    def change(records):
        records[field][place] = value
        if "valid" in records.dtype.names:
            records["valid"][place] = True
        return records

    return edited(name, change)


def without(name):
    def remove(path):
        with h5py.File(path, "r+") as file:
            del file[name]

    return remove


def replaced(name, values):
    def replace(path):
        with h5py.File(path, "r+") as file:
            del file[name]
            file[name] = values

    return replace


# --- damage ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.999])
def test_a_truncated_file_is_named(refused, dataset, share):
    train = dataset()
    os.truncate(train, int(share * train.stat().st_size))
    error = refused(train)
    assert f"{train} (data.train_file) cannot be read: it is cut short, damaged, or not an HDF5 file" in error


def damage(train):
    """Overwrite the last chunk of the tracks."""
    with h5py.File(train) as file:
        chunk = file["tracks"].id.get_chunk_info(file["tracks"].id.get_num_chunks() - 1)
    with train.open("r+b") as file:
        file.seek(chunk.byte_offset)
        file.write(bytes(chunk.size))


def test_a_file_with_damaged_chunks_is_named(refused, dataset):
    train = dataset()
    damage(train)
    assert f"{train} (data.train_file) cannot be read: it is cut short, damaged" in refused(train)


def test_damage_that_is_met_while_training_from_the_file_is_named(told, dataset, tmp_path):
    val = dataset().rename(tmp_path / "mine" / "val.h5")
    train = dataset()
    damage(train)
    error = told(train, "--data.store=false", val=val)
    assert f"{train} (data.train_file) cannot be read: it is cut short, damaged" in error


def test_a_truncated_validation_file_is_named(refused, dataset, tmp_path):
    train = dataset()
    val = shutil.copy(train, tmp_path / "mine" / "val.h5")
    os.truncate(val, 100_000)
    assert f"{val} (data.val_file) cannot be read: it is cut short" in refused(train, val=val)


# --- contents -------------------------------------------------------------------------------------------------------


def test_a_missing_dataset_is_answered_with_those_there_are(refused, dataset):
    train = dataset()
    without("tracks")(train)
    error = refused(train)
    assert f"unknown dataset 'tracks' in {train}" in error
    assert "truth_hadrons" in error
    assert "data.variables.tracks" in error


def test_a_missing_field_is_answered_with_the_nearest(refused, dataset):
    def rename(records):
        records.dtype.names = tuple("d00" if name == "d0" else name for name in records.dtype.names)
        return records

    train = dataset(edited("tracks", rename))
    error = refused(train)
    assert f"unknown variable 'd0' in dataset 'tracks' of {train}" in error
    assert "nearest: d00" in error


def test_a_missing_label_is_answered_with_the_nearest(refused, dataset):
    def rename(records):
        records.dtype.names = tuple("flavour_labels" if n == "flavour_label" else n for n in records.dtype.names)
        return records

    error = refused(dataset(edited("jets", rename)))
    assert "unknown label 'flavour_label' in dataset 'jets'" in error
    assert "nearest: flavour_labels" in error


SHAPES = {
    "fewer tracks than jets": (edited("tracks", lambda x: x[:-1]), ("'tracks'", "1999", "2000")),
    "tracks without slots": (edited("tracks", lambda x: x[:, 0, None, None]), ("'tracks'", "(2000, 1, 1)")),
    "jets with slots": (edited("jets", lambda x: x[:, None]), ("'jets'", "(2000, 1)", "data.global_object")),
}


@pytest.mark.parametrize("case", SHAPES)
def test_a_wrong_shape_is_told_with_its_dataset(refused, dataset, case):
    edit, words = SHAPES[case]
    train = dataset(edit)
    error = refused(train)
    assert str(train) in error
    assert all(word in error for word in words), error


def test_a_dataset_of_plain_numbers_is_told(refused, dataset):
    train = dataset()
    replaced("tracks", np.zeros((2000, 40, 19), "f4"))(train)
    error = refused(train)
    assert "'tracks'" in error
    assert str(train) in error
    assert "fields" in error


def test_a_variable_that_is_a_text_is_told(refused, dataset):
    def change(records):
        dtype = [(name, "S4" if name == "d0" else records.dtype[name]) for name in records.dtype.names]
        return records.astype(dtype)

    error = refused(dataset(edited("tracks", change)))
    assert "d0" in error
    assert "tracks" in error
    assert "data.variables.tracks" in error


def test_a_file_without_jets_is_told(refused, dataset):
    train = dataset(lambda name, records: records[:0])
    error = refused(train)
    assert f"{train} has 0" in error
    assert "data.num_train" in error


@pytest.mark.parametrize(
    ("name", "field", "place", "value"),
    [("jets", "pt_btagJes", 1999, np.nan), ("tracks", "z0SinTheta", (1500, 2), -np.inf)],
)
def test_a_value_that_is_not_finite_is_named_with_file_jet_and_field(refused, dataset, name, field, place, value):
    train = dataset(setting(name, field, place, value))
    jet = np.atleast_1d(place)[0]
    error = refused(train)
    assert f"{field} is {value} in jet {jet} of {train}, dataset '{name}'" in error
    assert "data.non_finite_to_num" in error


def test_a_value_that_is_not_finite_is_named_while_training_from_the_file(told, dataset):
    train = dataset(setting("jets", "pt_btagJes", 1999, np.nan))
    error = told(train, "--data.store=false")
    assert f"pt_btagJes is nan in jet 1999 of {train}, dataset 'jets'" in error


def test_a_value_of_the_validation_file_that_is_not_finite_is_told_before_training(refused, dataset, tmp_path):
    spoiled = dataset(setting("jets", "eta_btagJes", 700, np.nan))
    val = spoiled.rename(tmp_path / "mine" / "val.h5")
    assert f"eta_btagJes is nan in jet 700 of {val}, dataset 'jets'" in refused(dataset(), val=val)


@pytest.fixture
def large(dataset):
    """The sample six times, with few tracks: 12,000 jets, some of which are edited."""

    def make(edit=None):
        def repeat(name, records):
            if records.ndim > 1:
                records = records[:, :4]
            records = np.concatenate([records] * 6)
            changed = edit(name, records) if edit else None
            return records if changed is None else changed

        return dataset(repeat)

    return make


@pytest.mark.parametrize("place", [17, 11_900])
@pytest.mark.parametrize("value", [4, 20])
def test_a_label_that_no_class_is_for_is_told_wherever_it_is(told, large, place, value):
    error = told(large(setting("jets", "flavour_label", place, value)))
    assert "label flavour_label of 'jets'" in error
    assert f"has the value {value}" in error
    assert "knows the classes 0 to 3" in error


def test_a_late_label_that_no_class_is_for_leaves_no_run(refused, large):
    refused(large(setting("jets", "flavour_label", 11_900, 20)))


def test_a_label_that_no_class_is_for_is_told_while_training_from_the_file(told, large):
    error = told(large(setting("jets", "flavour_label", 11_900, 20)), "--data.store=false")
    assert "flavour_label" in error
    assert "20" in error


def test_a_label_of_the_validation_file_that_no_class_is_for_is_told(refused, dataset, tmp_path):
    val = dataset(setting("jets", "flavour_label", 700, 20)).rename(tmp_path / "mine" / "val.h5")
    error = refused(dataset(), val=val)
    assert "flavour_label" in error
    assert "has the value 20" in error


# --- disks ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def disk(mounted):
    return mounted("size=8m")


def fill(disk, left):
    """Leave so many bytes free."""
    with (disk / "filler").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(disk).free - left)


def make_read_only(disk):
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)


def test_a_full_disk_for_the_store_is_told_with_what_it_needs(refused, dataset, disk):
    fill(disk, 50_000)
    train = dataset()
    error = refused(train, "--data.store_dir", disk, folders=[disk])
    assert f"no place for a store of {train}: {disk}: needs about" in error
    assert "data.store_dir" in error


def test_a_read_only_folder_for_the_store_is_told(refused, dataset, disk):
    make_read_only(disk)
    train = dataset()
    error = refused(train, "--data.store_dir", disk, folders=[disk])
    assert f"no place for a store of {train}: {disk}: Read-only file system" in error
    assert "data.store_dir" in error


def test_a_read_only_folder_for_runs_is_told(refused, dataset, disk):
    make_read_only(disk)
    error = refused(dataset(), "--trainer.default_root_dir", disk / "logs", folders=[disk])
    assert str(disk / "logs") in error
    assert "Read-only file system" in error


def test_a_full_disk_for_runs_is_told(told, dataset, disk):
    fill(disk, 0)
    assert "No space left on device" in told(dataset(), "--trainer.default_root_dir", disk / "logs")


def test_a_full_disk_for_runs_leaves_no_half_of_a_run(refused, dataset, disk):
    fill(disk, 0)
    error = refused(dataset(), "--trainer.default_root_dir", disk / "logs", folders=[disk])
    assert str(disk / "logs") in error


def test_a_full_disk_for_copies_is_told_with_what_they_need(refused, dataset, disk):
    fill(disk, 50_000)
    error = refused(dataset(), "--data.move_files_temp", disk / "fast", folders=[disk])
    assert "data.move_files_temp" in error
    assert str(disk) in error
    assert "needs" in error


def test_a_read_only_folder_for_copies_is_told(refused, dataset, disk):
    make_read_only(disk)
    error = refused(dataset(), "--data.move_files_temp", disk / "fast", folders=[disk])
    assert str(disk / "fast") in error
    assert "Read-only file system" in error


def test_files_of_a_read_only_folder_are_trained_on(salt, dataset, disk, monkeypatch, tmp_path):
    train = dataset(lambda name, records: records[:300, ...] if records.ndim == 1 else records[:300, :4])
    for file in train.parent.iterdir():
        shutil.copy(file, disk)
    make_read_only(disk)
    monkeypatch.delenv("SALT_STORE", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    files = ("--data.train_file", disk / "sample.h5", "--data.val_file", disk / "sample.h5")
    answer = salt("fit", "--config", "simple.yaml", *files, *QUICK)
    assert answer.code == 0, answer.err
    assert f"store {tmp_path}/salt-store-" in answer.err
