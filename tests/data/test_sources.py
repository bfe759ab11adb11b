import contextlib
import os
import subprocess
import sys

import h5py
import numpy as np
import pytest

from salt.data.handles import MOST_OPEN
from salt.data.sources import SourceFile, find_sources, open_sample

NOBODY = 65534


@contextlib.contextmanager
def without_power():
    """As somebody whom permissions bind; root reads everything."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)


def read_all(pattern):
    with open_sample(pattern, "data.train_file") as sample:
        return sample.table("jets", "data.input_map").read(0, sample.num_jets)


def test_a_path_is_found_whatever_it_is_relative_to(make_file, monkeypatch):
    path = make_file()
    monkeypatch.chdir(path.parent)
    assert find_sources("train.h5", "data.train_file") == [str(path)]
    assert find_sources(path, "data.train_file") == [str(path)]
    assert find_sources(f"file://{path}", "data.train_file") == [str(path)]


def test_a_path_in_the_home_directory_is_found(make_file, monkeypatch):
    path = make_file()
    monkeypatch.setenv("HOME", str(path.parent))
    assert find_sources("~/train.h5", "data.train_file") == [str(path)]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("part_*.h5", ["part_0.h5", "part_1.h5", "part_2.h5"]),
        ("part_?.h5", ["part_0.h5", "part_1.h5", "part_2.h5"]),
        ("part_[12].h5", ["part_1.h5", "part_2.h5"]),
        ("**/*.h5", ["in/deep/other.h5", "part_0.h5", "part_1.h5", "part_2.h5", "part_[12].h5.d/x.h5"]),
        (["part_2.h5", "in/deep/*.h5"], ["in/deep/other.h5", "part_2.h5"]),
    ],
)
def test_patterns_give_sorted_files(tmp_path, monkeypatch, pattern, names):
    for name in ("part_2.h5", "part_0.h5", "part_1.h5", "in/deep/other.h5", "part_[12].h5.d/x.h5", "notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    assert find_sources(pattern, "data.train_file") == [str(tmp_path / name) for name in names]


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tmp_path):
    for name in ("part_[12].h5", "part_1.h5"):
        (tmp_path / name).touch()
    assert find_sources(tmp_path / "part_[12].h5", "data.train_file") == [str(tmp_path / "part_[12].h5")]


def test_a_pattern_that_matches_nothing_is_answered_with_the_nearest_names(make_file):
    folder = make_file("ttbar_train.h5").parent
    message = rf"no file matches {folder}/tbar_\*\.h5 \(data\.val_file\); in {folder} there are: ttbar_train\.h5"
    with pytest.raises(FileNotFoundError, match=message):
        find_sources(folder / "tbar_*.h5", "data.val_file")


def test_a_missing_file_is_answered_with_the_nearest_names(make_file):
    path = make_file("ttbar_train.h5")
    with pytest.raises(FileNotFoundError, match=r"no file \S+/tbar_train\.h5 \(data\.val_file\);.* ttbar_train\.h5"):
        find_sources(path.with_name("tbar_train.h5"), "data.val_file")


def test_a_missing_folder_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match=rf"there is no folder {tmp_path}/a/b, only {tmp_path}"):
        find_sources(tmp_path / "a" / "b" / "c.h5", "data.train_file")


def test_a_folder_is_answered_with_what_is_in_it(make_file):
    with pytest.raises(FileNotFoundError, match=r"is a folder; name a file in it: train\.h5"):
        find_sources(make_file().parent, "data.train_file")


def test_a_file_that_is_named_twice_is_told(make_file):
    path = make_file()
    with pytest.raises(ValueError, match=r"data\.train_file names \S+train\.h5 more than once"):
        find_sources([path, path.with_name("*.h5")], "data.train_file")


def test_an_empty_list_is_told():
    with pytest.raises(ValueError, match=r"data\.train_file is an empty list"):
        find_sources([], "data.train_file")


def test_finding_opens_nothing(tmp_path):
    (tmp_path / "a.h5").write_text("no HDF5")
    assert find_sources(tmp_path / "*.h5", "data.train_file") == [str(tmp_path / "a.h5")]


@pytest.mark.parametrize("text", [b"", b"no HDF5", b"no HDF5" * 1000])
def test_a_file_that_is_not_hdf5_is_told(tmp_path, text):
    (tmp_path / "a.h5").write_bytes(text)
    with pytest.raises(ValueError, match=r"a\.h5 \(data\.train_file\) cannot be read: .* not an HDF5 file"):
        open_sample(tmp_path / "a.h5", "data.train_file")


@pytest.mark.parametrize("share", [0.02, 0.5, 0.99])
def test_a_file_that_is_cut_short_is_told(make_file, share):
    path = make_file()
    with path.open("r+b") as file:
        file.truncate(int(path.stat().st_size * share))
    with pytest.raises(ValueError, match=r"train\.h5 \(data\.train_file\) cannot be read: it is cut short"):
        read_all(path)


def test_a_file_that_may_not_be_read_is_told(make_file):
    path = make_file()
    for folder in path.parents[:4]:  # pytest's own, one more where it has several processes
        folder.chmod(0o755)
    path.chmod(0)
    message = r"no permission to read \S+train\.h5 \(data\.train_file\)"
    with without_power(), pytest.raises(PermissionError, match=message):
        open_sample(path, "data.train_file")


def test_a_folder_that_may_not_be_read_is_told(make_file):
    path = make_file()
    path.parent.chmod(0)
    try:
        with without_power(), pytest.raises(PermissionError, match=r"no permission to look at .*\(data\.train_file\)"):
            find_sources(path, "data.train_file")
    finally:
        path.parent.chmod(0o755)


def test_a_file_that_another_process_writes_is_told(make_file):
    path = make_file()
    writer = f"import h5py, sys; file = h5py.File({str(path)!r}, 'r+'); print('open', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", writer]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"open\n"
        with pytest.raises(ValueError, match=r"train\.h5 \(data\.train_file\) is locked: another process is writing"):
            open_sample(path, "data.train_file")
        process.stdin.close()


def test_the_facts_of_each_file_are_told(make_file):
    paths = [make_file("a.h5", 20), make_file("b.h5", 30)]
    with open_sample(paths, "data.train_file") as sample:
        assert sample.num_jets == 50
        assert sample.files == [
            SourceFile(str(path), path.stat().st_size, str(path.stat().st_mtime_ns), count)
            for path, count in zip(paths, [20, 30], strict=True)
        ]


def test_names_are_those_that_all_files_have(make_file):
    paths = [make_file("a.h5"), make_file("b.h5")]
    with h5py.File(paths[0], "r+") as file:
        file["muons"] = file["tracks"][:]
    with open_sample(paths, "data.train_file") as sample:
        assert sample.names() == ["flows_loose", "jets", "tracks"]
        with pytest.raises(ValueError, match=r"unknown dataset 'muons' in \S+b\.h5 \(data\.input_map\)"):
            sample.table("muons", "data.input_map")


def test_a_missing_dataset_is_answered_with_the_nearest(make_file):
    message = r"unknown dataset 'track' in \S+train\.h5 \(data\.input_map\); nearest: tracks, .*data\.input_map gives"
    with open_sample(make_file(), "data.train_file") as sample, pytest.raises(ValueError, match=message):
        sample.table("track", "data.input_map")


def test_a_dataset_without_fields_is_told(make_file):
    message = (
        r"dataset 'notes' of \S+train\.h5 \(data\.input_map\) is int64 with shape \(2,\); it must have named fields"
    )
    with open_sample(make_file(), "data.train_file") as sample, pytest.raises(ValueError, match=message):
        sample.table("notes", "data.input_map")


def test_a_dataset_of_another_shape_is_told(make_file):
    path = make_file()
    with h5py.File(path, "r+") as file:
        file["cells"] = np.zeros((230, 2, 2), [("pt", "f4")])
    message = (
        r"dataset 'cells' .*with shape \(230, 2, 2\); it must have .* the shape \(jets,\) or \(jets, constituents\)"
    )
    with open_sample(path, "data.train_file") as sample, pytest.raises(ValueError, match=message):
        sample.table("cells", "data.input_map")


def test_a_dataset_with_another_number_of_jets_is_told(make_file):
    path = make_file()
    with h5py.File(path, "r+") as file:
        records = file["tracks"][:-1]
        del file["tracks"]
        file["tracks"] = records
    message = r"dataset 'tracks' .* has 229 jets, but the file 230: flows_loose 230, jets 230, tracks 229"
    with open_sample(path, "data.train_file") as sample:
        sample.table("jets", "data.input_map")
        with pytest.raises(ValueError, match=message):
            sample.table("tracks", "data.input_map")


def test_a_file_without_any_structured_dataset_is_told(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["X_train"] = np.zeros((3, 2))
    with pytest.raises(ValueError, match=r"a\.h5 \(data\.train_file\) has no structured dataset; it has X_train"):
        open_sample(tmp_path / "a.h5", "data.train_file")


def test_few_files_are_open_at_the_same_time(make_file):
    paths = [make_file(f"{number}.h5", 10) for number in range(MOST_OPEN + 3)]
    before = h5py.h5f.get_obj_count(h5py.h5f.OBJ_ALL, h5py.h5f.OBJ_FILE)
    with open_sample(paths, "data.train_file") as sample:
        sample.table("jets", "data.input_map").read(0, sample.num_jets)
        assert h5py.h5f.get_obj_count(h5py.h5f.OBJ_ALL, h5py.h5f.OBJ_FILE) - before == MOST_OPEN


def test_no_file_stays_open(make_file):
    paths = [make_file(f"{number}.h5", 10) for number in range(6)]
    read_all(paths)
    for path in paths:
        h5py.File(path, "r+").close()  # refused while it is open for reading


def test_no_file_stays_open_where_one_of_them_is_broken(make_file, tmp_path):
    path = make_file("a.h5")
    (tmp_path / "b.h5").write_text("no HDF5")
    with pytest.raises(ValueError, match=r"b\.h5") as told:
        open_sample(tmp_path / "?.h5", "data.train_file")
    h5py.File(path, "r+").close()
    assert told.traceback  # which keeps all objects alive: none was closed by being forgotten
