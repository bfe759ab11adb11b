"""From the name of a file to its jets: by a store, by the file itself, by a copy of either."""

import logging
from pathlib import Path

import h5py
import pytest
import torch

from salt.data.opening import Opening
from salt.data.recipes import Options, make_recipe
from salt.data.splits import FileSplit, MemorySplit, StoredSplit
from salt.data.staging import Staging
from salt.types import Schema

SAMPLE = Path(__file__).parents[2] / "salt" / "configs" / "sample.h5"


@pytest.fixture
def open_split(schema, labels):
    """Open the jets of a file; what is opened is closed again."""
    opened = []

    def run(path, opening=None, name="train", num_jets=-1, of=schema, of_labels=labels, **options):
        opening = opening or Opening()
        split = opening.open(str(path), make_recipe(of, of_labels, Options(**options)), num_jets, of_labels, name)
        opened.extend([split, opening])
        return split

    yield run
    for each in opened:
        each.close()


def open_files():
    return h5py.h5f.get_obj_count(h5py.h5f.OBJ_ALL, h5py.h5f.OBJ_FILE)


def test_training_jets_come_from_a_store(open_split, make_file):
    split = open_split(make_file())
    assert isinstance(split, StoredSplit)
    assert open_files() == 0  # the store is all that is needed


def test_without_a_store_the_file_is_streamed_and_that_is_said(open_split, make_file, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    path = make_file()
    split = open_split(path, Opening(store=False))
    assert isinstance(split, FileSplit)
    assert not (tmp_path / "salt-store").exists()
    assert caplog.messages == ["data.train_file: 230 jets are read from the files in each epoch (no store)"]


def test_test_jets_are_read_as_they_are(open_split, make_file, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    assert isinstance(open_split(make_file(), name="test"), FileSplit)
    assert not (tmp_path / "salt-store").exists()
    assert caplog.messages == []


def test_the_sample_of_the_package_is_read_into_memory_and_its_folder_left_alone(open_split):
    before = sorted(SAMPLE.parent.iterdir())
    of = Schema({"jets": ["pt_btagJes"], "tracks": ["d0"]})
    split = open_split(SAMPLE, of=of, of_labels={"jets": ["flavour_label"]})
    assert isinstance(split, MemorySplit)
    assert sorted(SAMPLE.parent.iterdir()) == before
    assert open_files() == 0
    assert split.ranges("jets") == {"flavour_label": (0, 3)}


def test_all_ways_tell_the_same_jets(open_split, make_file):
    path = make_file()
    ways = [open_split(path), open_split(path, Opening(store=False)), open_split(path, name="test")]
    columns = [split.column("jets", "mass").tolist() for split in ways]
    assert columns[0] == columns[1] == columns[2]
    assert [split.num_jets for split in ways] == [230] * 3


@pytest.mark.parametrize("store", [True, False])
def test_a_mistake_leaves_no_file_open(open_split, make_file, store):
    with pytest.raises(ValueError, match="unknown variable 'no'") as caught:
        open_split(make_file(), Opening(store), of=Schema({"jets": ["no"]}))
    assert open_files() == 0
    del caught  # which kept all that was opened alive until now


@pytest.mark.parametrize("store", [True, False])
def test_copies_are_used_and_removed(open_split, make_file, tmp_path, store):
    staging = tmp_path / "fast"
    opening = Opening(store, staging=Staging(staging))
    split = open_split(make_file(), opening)
    place = split.folder.path if store else Path(split.reader.sample.files[0].path)
    assert place.is_relative_to(staging)
    assert len(split.load().gather(torch.arange(230))) == 230
    split.close()
    opening.close()
    assert not place.exists()


def test_the_store_of_a_copy_is_that_of_the_file(open_split, make_file, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    path = make_file()
    open_split(path)
    open_split(path, Opening(staging=Staging(tmp_path / "fast")))
    assert sum("building a store" in message for message in caplog.messages) == 1
    assert len(list((tmp_path / "salt-store").iterdir())) == 1


def test_a_store_may_be_asked_to_hold_more_jets_than_are_used(make_file, schema):
    opening, recipe = Opening(), make_recipe(schema, {}, Options())
    split = opening.open(str(make_file()), recipe, 20, {}, "val", num_stored=100)
    assert split.num_jets == 20
    assert split.folder.num_jets == 100
    assert split.num_bytes == pytest.approx(split.folder.num_bytes / 5, abs=1)


@pytest.mark.parametrize("store", [True, False])
def test_the_size_that_is_told_before_is_about_the_true_one(open_split, make_file, store):
    split = open_split(make_file(num_jets=3000), Opening(store))
    assert split.num_bytes == pytest.approx(split.load().num_bytes, rel=0.2)
