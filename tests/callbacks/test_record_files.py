"""Fingerprints of data files, and what they say of themselves."""

import hashlib

import h5py
import numpy as np
import pytest

from salt.callbacks.fingerprints import fingerprints
from salt.callbacks.metadata import joined, plain
from salt.data.sources import open_sample


@pytest.fixture
def make(tmp_path):
    def write(name, number=5, **attributes):
        with h5py.File(tmp_path / name, "w") as file:
            file["jets"] = np.zeros(number, [("pt", "f4")])
            file["tracks"] = np.zeros((number, 3), [("d0", "f4"), ("valid", "?")])
            file.attrs.update(attributes)
        return tmp_path / name

    return write


def fingerprint(path):
    with open_sample(str(path), "data.train_file") as sample:
        return fingerprints(sample.files)[0]


def test_a_small_file_is_known_by_all_of_its_bytes(make):
    path = make("a.h5")
    found = fingerprint(path)
    assert found["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (found["path"], found["size"], found["num_jets"]) == (str(path), path.stat().st_size, 5)
    assert found["shapes"] == {"jets": [5], "tracks": [5, 3]}


def test_a_large_file_is_known_by_its_ends(make, monkeypatch):
    monkeypatch.setattr("salt.callbacks.fingerprints.WHOLE", 100)
    monkeypatch.setattr("salt.callbacks.fingerprints.ENDS", 64)
    path = make("a.h5")
    content = path.read_bytes()
    assert fingerprint(path)["sha256_of_ends"] == hashlib.sha256(content[:64] + content[-64:]).hexdigest()


def test_of_very_many_files_only_some_are_read(make, monkeypatch):
    monkeypatch.setattr("salt.callbacks.fingerprints.MOST_READ", 1)
    paths = [make("a.h5"), make("b.h5")]
    with open_sample([str(path) for path in paths], "data.train_file") as sample:
        one, other = fingerprints(sample.files)
    assert "sha256" in one
    assert set(other) == {"path", "size", "modified", "num_jets"}


def test_attributes_become_plain_values():
    assert plain(np.int64(3)) == 3
    assert plain(np.array([b"bjets", b"cjets"], dtype=object)) == ["bjets", "cjets"]
    assert plain('{"a": [1, 2]}') == {"a": [1, 2]}
    assert plain("{not json") == "{not json"
    assert type(plain(np.float32(0.5))) is float


def test_several_files_say_their_sum():
    assert joined([3, 4]) == 7
    assert joined([["410470"], ["410470", "800030"]]) == ["410470", "800030"]
    assert joined([{"bjets": 1}, {"bjets": 2}]) == {"bjets": 3}
    assert joined([3, None]) is None
