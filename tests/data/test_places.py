"""Stores on disk: built once by whoever comes first, whole or not at all, and only where they belong."""

import logging
import os
import shutil
import signal
import subprocess
import tempfile
import time
import traceback
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from salt.data import places, reader
from salt.data.opening import Opening
from salt.data.recipes import Options, make_recipe
from salt.data.sources import SourceFile
from salt.ragged import Ragged
from salt.types import Schema


def open_split(path, schema, labels, num_jets=-1, store_dir=None, store=True, **options):
    recipe = make_recipe(schema, labels, Options(**options))
    return Opening(store, store_dir).open(str(path), recipe, num_jets, labels, "train")


def arrays(batch):
    inputs = [each.values if isinstance(each, Ragged) else each for each in batch.inputs.values()]
    return [*inputs, *(values for of in batch.labels.values() for values in of.values())]


def same(store, other):
    """Whether all jets of two stores are equal, bit for bit."""
    pairs = zip(*(arrays(each.gather(torch.arange(len(store)))) for each in (store, other)), strict=True)
    return len(store) == len(other) and all(torch.equal(*pair) for pair in pairs)


def as_read(path, schema, labels):
    """All jets of a file, read without a store."""
    split = open_split(path, schema, labels, store=False)
    store = split.load()
    split.close()
    return store


def entries(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.fixture
def said(caplog):
    """Why stores were built."""
    caplog.set_level(logging.INFO)

    def reasons():
        found = [message for message in caplog.messages if message.startswith("building a store")]
        caplog.clear()
        return found

    return reasons


@pytest.fixture
def other_processes():
    """Run functions in processes of their own, all at the same time; how each of them ended."""

    def run(*functions):
        children = []
        for function in functions:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of threads that a child does not have: it needs none of them
                child = os.fork()
            if child == 0:
                status = 1
                try:
                    function()
                    status = 0
                except BaseException:
                    traceback.print_exc()
                finally:
                    os._exit(status)
            children.append(child)
        return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]

    return run


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(reader, "BLOCK_BYTES", 1)
    monkeypatch.setattr(places, "JETS_LOOKED_AT", 16)


@pytest.fixture
def small_disk(mounted):
    """A disk of one megabyte."""
    return mounted("size=1m")


@pytest.fixture
def read_only(tmp_path, mounted):
    """Make a folder with these files that nobody can write into, root included."""
    removers = []

    def make(*files):
        if os.geteuid():
            folder = tmp_path / "read_only"
            folder.mkdir()
            removers.append(lambda: folder.chmod(0o755))
        else:
            folder = mounted("size=4m")
        for file in files:
            shutil.copy(file, folder)
        if os.geteuid():
            folder.chmod(0o555)
        else:
            subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
        return folder

    yield make
    for remove in removers:
        remove()


@pytest.fixture
def surroundings(tmp_path, monkeypatch):
    """$SALT_STORE, $TMPDIR and the home directory of a user who has just come."""
    folders = {name: tmp_path / name for name in ("SALT_STORE", "TMPDIR", "HOME")}
    for name, folder in folders.items():
        folder.mkdir()
        monkeypatch.setenv(name, str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)  # found once, then kept
    return folders


# --- once, whole or not at all --------------------------------------------------------------------------------------


def test_processes_that_start_together_build_once(make_file, schema, labels, tmp_path, other_processes, monkeypatch):
    path, log = make_file(), tmp_path / "log"
    build = places._build

    def slowly(*arguments):
        with log.open("a") as file:
            file.write("built\n")
        time.sleep(0.5)  # all others have come by then
        return build(*arguments)

    monkeypatch.setattr(places, "_build", slowly)
    expected = as_read(path, schema, labels)

    def use():
        assert same(open_split(path, schema, labels).load(), expected)

    assert other_processes(use, use, use) == [0, 0, 0]
    assert log.read_text() == "built\n"
    assert len(entries(tmp_path / "salt-store")) == 1 + len(entries(next((tmp_path / "salt-store").iterdir())))


def die(*arguments):
    os.kill(os.getpid(), signal.SIGKILL)


def die_in_the_middle(monkeypatch):
    append, calls = places.StoreWriter.append, []

    def dying(writer, blocks):
        append(writer, blocks)
        calls.append(1)
        if len(calls) == 4:
            die()

    monkeypatch.setattr(places.StoreWriter, "append", dying)


def die_before_it_has_its_name(monkeypatch):
    monkeypatch.setattr(places, "_put", die)


def die_while_its_manifest_is_written(monkeypatch):
    monkeypatch.setattr(places.Manifest, "write", die)


def die_between_two_names(monkeypatch):
    rename = Path.rename

    def dying(path, target):
        renamed = rename(path, target)
        if str(target).endswith(f".old{places.UNFINISHED}"):
            die()
        return renamed

    monkeypatch.setattr(Path, "rename", dying)


@pytest.mark.parametrize(
    "death", [die_in_the_middle, die_while_its_manifest_is_written, die_before_it_has_its_name, die_between_two_names]
)
def test_a_killed_build_leaves_nothing_that_is_taken_for_a_store(
    make_file, schema, labels, tmp_path, other_processes, monkeypatch, small_blocks, said, death
):
    path = make_file()
    if death is die_between_two_names:  # there has to be one that is replaced
        open_split(path, schema, labels)
        make_file(num_jets=100)
    said()

    def build():
        death(monkeypatch)
        open_split(path, schema, labels)

    assert other_processes(build) == [-signal.SIGKILL]
    left = [file.name for file in (tmp_path / "salt-store").iterdir()]
    assert any(name.endswith(places.UNFINISHED) for name in left)
    assert all(name.endswith((places.UNFINISHED, ".lock")) for name in left)
    assert same(open_split(path, schema, labels).load(), as_read(path, schema, labels))
    assert len(said()) == 1
    (store,) = (tmp_path / "salt-store").iterdir()  # what was left over is gone
    assert (store / "manifest.json").is_file()


def test_a_file_with_brackets_in_its_name_leaves_nothing_either(
    make_file, schema, labels, tmp_path, other_processes, monkeypatch
):
    path = make_file("train[1].h5")

    def build():
        die_before_it_has_its_name(monkeypatch)
        open_split(path, schema, labels)

    assert other_processes(build) == [-signal.SIGKILL]
    open_split(path, schema, labels)
    assert len(list((tmp_path / "salt-store").iterdir())) == 1


def spoil(jets, tracks, flows):
    jets["pt"][200] = np.nan


def test_a_build_that_fails_leaves_nothing(make_file, schema, labels, tmp_path, small_blocks):
    path = make_file(change=spoil)
    before = entries(tmp_path)
    with pytest.raises(ValueError, match="pt is nan in jet 200"):
        open_split(path, schema, labels, store_dir=tmp_path / "new" / "deep")
    assert entries(tmp_path) == before


def test_a_build_that_fails_leaves_folders_that_were_there(make_file, schema, labels, tmp_path):
    (tmp_path / "mine").mkdir()
    with pytest.raises(ValueError, match="pt is nan"):
        open_split(make_file(change=spoil), schema, labels, store_dir=tmp_path / "mine")
    assert entries(tmp_path / "mine") == []
    assert (tmp_path / "mine").is_dir()


def test_who_waits_for_a_build_that_fails_fails_the_same_way(make_file, schema, labels, other_processes, small_blocks):
    path = make_file(change=spoil)

    def fail():
        with pytest.raises(ValueError, match="pt is nan in jet 200"):
            open_split(path, schema, labels)

    assert other_processes(fail, fail, fail) == [0, 0, 0]
    assert not (path.parent / "salt-store").exists()


# --- the same store, or another one ---------------------------------------------------------------------------------


def test_the_same_again_is_not_built_again(make_file, schema, labels, said):
    path = make_file()
    for _ in range(2):
        open_split(path, schema, labels)
    assert len(said()) == 1


OTHERS = {
    "variables": ({"variables": {"tracks": ["pt", "hits", "d0", "z0"]}}, "streams.tracks.variables"),
    "order": ({"variables": {"tracks": ["hits", "pt", "d0", "z0", "dphi"]}}, "streams.tracks.variables"),
    "labels": ({"labels": {"jets": ["flavour_label", "mass"]}}, "streams.jets.labels"),
    "order of labels": ({"labels": {"jets": ["mass", "flavour_label", "is_b"]}}, "streams.jets.labels"),
    "selections": ({"selections": {"tracks": ["pt > 0"]}}, "streams.tracks.filters"),
    "num_inputs": ({"num_inputs": {"tracks": 3}}, "streams.tracks.num_inputs"),
    "non_finite": ({"non_finite": "zero"}, "non_finite"),
    "columns": ({"columns": ["pt"]}, "streams.jets.labels"),
    "new_variables": (
        {"new_variables": {"tracks": {"twice": "2 * pt"}}, "variables": {"tracks": ["twice"]}},
        "streams.tracks.variables, streams.tracks.derivations",
    ),
    "another expression": (
        {"new_variables": {"tracks": {"pt": "2 * pt"}}},
        "streams.tracks.derivations",
    ),
}


@pytest.mark.parametrize("other", OTHERS)
def test_a_store_is_not_taken_for_that_of_another_recipe(make_file, schema, labels, said, other):
    options, named = OTHERS[other]
    path = make_file()
    first = open_split(path, schema, labels)
    said()
    changed = Schema(schema.variables | options.get("variables", {}), "jets", schema.input_map)
    other_labels = labels | options.get("labels", {})
    options = {key: value for key, value in options.items() if key not in {"variables", "labels"}}
    second = open_split(path, changed, other_labels, **options)
    (reason,) = said()
    assert f"there is none yet (the one of the same files there is differs in {named})" in reason
    assert second.folder.path != first.folder.path
    open_split(path, schema, labels)
    open_split(path, changed, other_labels, **options)
    assert said() == []  # both are there


def test_a_file_of_another_size_is_converted_again(make_file, schema, labels, said):
    path = make_file()
    open_split(path, schema, labels)
    old = path.stat().st_size
    make_file(num_jets=100)
    said()
    assert same(open_split(path, schema, labels).load(), as_read(path, schema, labels))
    assert f"{path} has changed since (it had {old} bytes, now {path.stat().st_size})" in said()[0]


def test_a_file_of_the_same_size_but_another_time_is_converted_again(make_file, schema, labels, said):
    path = make_file()
    open_split(path, schema, labels)
    os.utime(path, ns=(1, 1))
    said()
    open_split(path, schema, labels)
    assert f"{path} has changed since" in said()[0]
    open_split(path, schema, labels)
    assert said() == []


def test_one_of_several_files_that_changes_is_named(make_file, schema, labels, said):
    make_file("a.h5")
    second = make_file("b.h5")
    pattern = second.with_name("[ab].h5")
    open_split(pattern, schema, labels)
    make_file("b.h5", num_jets=50)
    said()
    assert len(open_split(pattern, schema, labels).load()) == 280
    assert f"{second} has changed since" in said()[0]


def test_a_store_of_more_jets_serves_fewer(make_file, schema, labels, said):
    path = make_file()
    whole = open_split(path, schema, labels).load()
    said()
    split = open_split(path, schema, labels, num_jets=33)
    assert said() == []
    assert split.num_jets == 33
    assert split.column("jets", "mass").shape == (33,)
    index = torch.arange(33)
    assert torch.equal(split.load().gather(index).inputs["jets"], whole.gather(index).inputs["jets"])


def test_a_store_of_fewer_jets_is_built_again(make_file, schema, labels, said):
    path = make_file()
    open_split(path, schema, labels, num_jets=33)
    said()
    split = open_split(path, schema, labels, num_jets=34)
    assert "the one there is holds 33 jets only" in said()[0]
    assert len(split.load()) == 34
    assert len(list((path.parent / "salt-store").iterdir())) == 1


def largest(folder):
    return max(folder.iterdir(), key=lambda file: file.stat().st_size)


def cut(folder):
    os.truncate(largest(folder), largest(folder).stat().st_size - 1)


def remove(folder):
    next(folder.glob("*tracks.offsets")).unlink()


def lengthen(folder):
    with largest(folder).open("ab") as file:
        file.write(b"more")


def write(content):
    def damage(folder):
        (folder / "manifest.json").write_bytes(content)

    return damage


def forget(folder):
    (folder / "manifest.json").unlink()


def without_dtype(folder):
    manifest = folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"<f4"', '"<q9"'))


DAMAGES = {
    "cut": cut, "missing": remove, "too long": lengthen, "no manifest": forget,
    "empty": write(b""), "half": write(b'{"key": "a'), "list": write(b"[]"), "other": write(b'{"streams": []}'),
    "bytes": write(b"\xff\xfe\x00"), "no type": without_dtype,
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_store_is_built_again(make_file, schema, labels, said, damage):
    path = make_file()
    DAMAGES[damage](open_split(path, schema, labels).folder.path)
    said()
    assert same(open_split(path, schema, labels).load(), as_read(path, schema, labels))
    assert "is damaged" in said()[0]
    open_split(path, schema, labels)
    assert said() == []


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_open_store_stays_readable_while_another_takes_its_place(make_file, schema, labels, when):
    path = make_file()
    expected = as_read(path, schema, labels)
    split = open_split(path, schema, labels)
    store = split.load() if when == "before" else None

    def double(jets, tracks, flows):
        jets["flavour_label"] += 1000  # which needs a wider type: the new files have other names
        tracks["valid"] = True
        tracks["d0"] = 0
        jets["mass"] *= 2

    make_file(change=double)
    assert not same(open_split(path, schema, labels).load(), expected)
    assert same(store or split.load(), expected)
    assert same(split.read([(0, 230)]), expected)
    part = split.read([(5, 20), (100, 3)]).gather(torch.tensor([7, 101]))
    assert torch.equal(part.inputs["jets"], expected.gather(torch.tensor([7, 101])).inputs["jets"])
    assert split.column("jets", "mass").tolist() == expected.columns["jets"].column("mass").tolist()


# --- where they are -------------------------------------------------------------------------------------------------


def test_a_store_is_beside_its_file(make_file, schema, labels, surroundings):
    path = make_file()
    assert open_split(path, schema, labels).folder.path.parent == path.parent / "salt-store"
    assert all(entries(folder) == [] for folder in surroundings.values())


def test_beside_a_read_only_file_it_is_in_salt_store(make_file, schema, labels, surroundings, read_only):
    path = read_only(make_file()) / "train.h5"
    assert open_split(path, schema, labels).folder.path.parent == surroundings["SALT_STORE"]
    assert entries(surroundings["TMPDIR"]) == entries(surroundings["HOME"]) == []


def test_a_store_that_is_found_in_a_later_place_is_used(
    make_file, schema, labels, surroundings, read_only, said, monkeypatch
):
    path = read_only(make_file()) / "train.h5"
    monkeypatch.delenv("SALT_STORE")
    open_split(path, schema, labels)
    said()
    monkeypatch.setenv("SALT_STORE", str(surroundings["SALT_STORE"]))
    assert open_split(path, schema, labels).folder.path.is_relative_to(surroundings["TMPDIR"])
    assert said() == []


def test_without_salt_store_it_is_in_tmpdir_never_at_home(
    make_file, schema, labels, surroundings, read_only, monkeypatch
):
    path = read_only(make_file()) / "train.h5"
    monkeypatch.delenv("SALT_STORE")
    assert open_split(path, schema, labels).folder.path.is_relative_to(surroundings["TMPDIR"])
    assert entries(surroundings["HOME"]) == []


def test_files_of_a_server_have_their_store_in_salt_store_or_tmpdir(surroundings):
    source = SourceFile("s3://bucket/train.h5", 1, "etag", 1)
    first, second = places.roots([source], None)
    assert first == surroundings["SALT_STORE"]
    assert second.is_relative_to(surroundings["TMPDIR"])


def test_a_store_dir_is_the_one_place(make_file, schema, labels, surroundings, tmp_path):
    path = make_file()
    before = entries(tmp_path)
    split = open_split(path, schema, labels, store_dir=tmp_path / "chosen" / "by" / "me")
    assert split.folder.path.parent == tmp_path / "chosen" / "by" / "me"
    assert [name for name in entries(tmp_path) if name not in before and not name.startswith("chosen")] == []


def test_a_store_dir_may_be_below_home_if_asked(make_file, schema, labels, surroundings):
    assert (
        open_split(make_file(), schema, labels, store_dir="~/stores").folder.path.parent
        == surroundings["HOME"] / "stores"
    )


def test_a_store_dir_that_cannot_be_written_is_an_error(make_file, schema, labels, surroundings, read_only, tmp_path):
    folder, path = read_only(), make_file()
    before = entries(tmp_path)
    with pytest.raises(
        OSError, match=rf"no place for a store of {path}: {folder}: .*data\.store_dir, or data\.store: false"
    ):
        open_split(path, schema, labels, store_dir=folder)
    assert entries(tmp_path) == before


def test_a_store_dir_that_is_a_file_is_an_error(make_file, schema, labels, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OSError, match=rf"no place for a store of .*: {tmp_path}/file: .*data\.store_dir"):
        open_split(make_file(), schema, labels, store_dir=tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


# --- no room --------------------------------------------------------------------------------------------------------


def fill(disk, left):
    """Leave so many bytes free."""
    with (disk / "filler").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(disk).free - left)


def late(jets, tracks, flows):
    """The first jets have nothing, so that what a store needs is misjudged."""
    tracks["valid"][:1000] = flows["valid"][:1000] = False
    tracks["valid"][1000:] = flows["valid"][1000:] = True
    tracks["d0"] = 0


FULL = {"told before": (None, 20_000), "found while writing": (late, 300_000)}


@pytest.mark.parametrize("case", FULL)
def test_a_full_store_dir_is_an_error_that_leaves_nothing(make_file, schema, labels, small_disk, small_blocks, case):
    change, left = FULL[case]
    path = make_file(num_jets=4000, change=change)
    fill(small_disk, left)
    before = entries(small_disk)
    words = "needs about .* is free" if change is None else "No space left on device"
    with pytest.raises(OSError, match=rf"no place for a store of {path}: {small_disk}: {words}"):
        open_split(path, schema, labels, store_dir=small_disk)
    assert entries(small_disk) == before


@pytest.mark.parametrize("case", FULL)
def test_without_room_anywhere_the_files_are_streamed(
    make_file, schema, labels, small_disk, small_blocks, monkeypatch, caplog, case
):
    change, left = FULL[case]
    path = small_disk / "train.h5"
    shutil.copy(make_file(num_jets=4000, change=change), path)
    monkeypatch.delenv("SALT_STORE", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(small_disk))
    fill(small_disk, left)
    before = entries(small_disk)
    caplog.set_level(logging.INFO)
    split = open_split(path, schema, labels)
    assert len(split.load()) == 4000
    assert not split.is_random
    assert [record.levelname for record in caplog.records if "read anew in each epoch instead" in record.message] == [
        "WARNING"
    ]
    assert "data.train_file: 4000 jets are read from the files in each epoch" in caplog.text
    split.close()
    assert entries(small_disk) == before


def test_a_full_disk_beside_the_file_is_left_for_the_next_place(make_file, schema, labels, small_disk, surroundings):
    path = small_disk / "train.h5"
    shutil.copy(make_file(num_jets=4000), path)
    fill(small_disk, 20_000)
    before = entries(small_disk)
    assert open_split(path, schema, labels).folder.path.parent == surroundings["SALT_STORE"]
    assert entries(small_disk) == before
