import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import pytest

from salt.data.leases import lock
from salt.data.places import common_roots


@pytest.fixture(autouse=True)
def places(tmp_path, tmp_path_factory, monkeypatch):
    """The common places; there is nothing in them at first."""
    monkeypatch.setenv("SALT_STORE", str(tmp_path / "shared"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path_factory.mktemp("temporary")))
    return tmp_path / "shared"


@pytest.fixture
def build(salt, dataset):
    """Build the stores of simple.yaml; gives the training file, beside which they are."""

    def run(*options):
        train = dataset()
        answer = salt("store", "build", "--config=simple.yaml", *files(train), *options)
        assert answer.code == 0, answer.err
        return train

    return run


def files(train):
    return (f"--data.train_file={train}", f"--data.val_file={train}")


def stores(folder):
    """Names of what is in a folder for stores; none where there is no folder."""
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def only_store(train):
    (store,) = (train.parent / "salt-store").iterdir()
    return store


def touch(file):
    """Write a file again, with the same content."""
    status = file.stat()
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns + 10**9))


def leave(store):
    """What a killed process leaves of a store that it was building."""
    part = store.with_name(f"{store.name}.123.tmp")
    part.mkdir(parents=True)
    (part / "0.jets.inputs0.f4").write_bytes(b"half")
    store.with_name(f"{store.name}.lock").touch()
    return part


# --- build ----------------------------------------------------------------------------------------------------------


def test_a_training_finds_the_stores_that_were_built_ahead(salt, build):
    train = build()
    before = only_store(train).stat()
    answer = salt("fit", "--config=simple.yaml", *files(train), "--trainer.fast_dev_run=1")
    assert answer.code == 0, answer.err
    assert "building a store" not in answer.err
    assert only_store(train).stat() == before


def test_training_and_validation_files_have_a_store_each(build, salt, tmp_path):
    train = build()
    other = shutil.copy(train, train.with_name("other.h5"))
    salt("store", "build", "--config=simple.yaml", f"--data.train_file={train}", f"--data.val_file={other}")
    assert [name.partition("-")[0] for name in stores(train.parent / "salt-store")] == ["other", "sample"]


def test_building_makes_no_run(build, tmp_path):
    build()
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_building_ahead_copies_nothing(build, tmp_path):
    build(f"--data.move_files_temp={tmp_path / 'fast'}")
    assert not (tmp_path / "fast").exists()


def test_without_a_validation_there_is_no_store_for_it(salt, dataset):
    train = dataset()
    other = shutil.copy(train, train.with_name("other.h5"))
    options = (f"--data.train_file={train}", f"--data.val_file={other}", "--trainer.limit_val_batches=0")
    assert salt("store", "build", "--config=simple.yaml", *options).code == 0
    assert only_store(train).name.startswith("sample-")


def test_a_mistake_is_found_as_by_fit(salt, dataset):
    answer = salt("store", "build", "--config=simple.yaml", "--data.train_file=nope.h5")
    assert answer.code == 2
    assert "nope.h5" in answer.error


def test_a_config_without_a_store_has_none_to_build(salt, dataset):
    answer = salt("store", "build", "--config=simple.yaml", *files(dataset()), "--data.store=false")
    assert answer.code == 2
    assert "data.store is false" in answer.error
    assert "mend: give --data.store=true" in answer.error


def test_a_store_without_a_place_is_an_error(salt, dataset, tmp_path):
    train = dataset()
    for blocked in (train.parent / "salt-store", *common_roots()):
        blocked.touch()
    answer = salt("store", "build", "--config=simple.yaml", *files(train))
    assert answer.code == 2
    assert f"no place for a store of {train} (data.train_file)" in answer.error
    assert "--data.store_dir=FOLDER" in answer.error


def test_the_packages_sample_needs_no_store(salt, tmp_path):
    answer = salt("store", "build", "--config=simple.yaml")
    assert answer.code == 0, answer.err
    assert "data.train_file is of the package: such files are read into memory, without a store" in answer.err
    assert list(tmp_path.iterdir()) == []


# --- list -----------------------------------------------------------------------------------------------------------


def test_the_list_shows_what_a_store_is_made_of_and_holds(salt, build):
    train = build()
    answer = salt("store", "list", "mine")
    assert answer.code == 0
    head, line, end = answer.out.splitlines()
    assert head.split("  ")[0] == "STORE"
    size = sum(file.stat().st_size for file in only_store(train).iterdir())
    cells = [cell.strip() for cell in line.split("  ") if cell.strip()]
    assert cells == [
        f"mine/salt-store/{only_store(train).name}", str(train), "2000", f"{size / 1000:.1f} kB",
        "jets 2 + 1, tracks 19 + 0", "new", "fresh",
    ]  # fmt: skip
    assert end == f"1 store, {size / 1000:.1f} kB"


def test_a_store_of_some_jets_says_of_how_many(salt, build):
    build("--data.num_train=300", "--data.num_val=200")
    assert "  300 of 2000  " in salt("store", "list", "mine").out


def test_the_list_is_of_the_current_folder_where_none_is_named(salt, build, monkeypatch):
    train = build()
    assert salt("store", "list").out == "0 stores, 0 bytes\n"
    monkeypatch.chdir(train.parent)
    assert "\nsalt-store/sample-" in salt("store", "list").out


@pytest.mark.parametrize("name", ["mine", "mine/salt-store", "mine/sample.h5"])
def test_folders_and_files_name_their_stores(salt, build, name):
    build()
    assert salt("store", "list", name, "mine").out.count("  fresh\n") == 1


def test_a_file_names_only_what_is_made_of_it(salt, build):
    train = build()
    shutil.copy(train, train.with_name("other.h5"))
    assert salt("store", "list", "mine/other.h5").out == "0 stores, 0 bytes\n"


def test_a_store_names_itself(salt, build):
    store = only_store(build())
    assert store.name in salt("store", "list", store).out


def test_the_common_places_are_listed_too(salt, build, places):
    build(f"--data.store_dir={places}")
    assert "\nshared/sample-" in salt("store", "list").out


def test_a_store_whose_file_was_written_again_says_so(salt, build):
    train = build()
    touch(train)
    assert salt("store", "list", "mine").out.splitlines()[1].endswith(f"its files changed: {train}")


def test_a_store_whose_file_is_gone_says_so(salt, build):
    train = build()
    train.unlink()
    assert salt("store", "list", train).out.splitlines()[1].endswith(f"its files are gone: {train}")


def test_a_store_of_a_virtual_dataset_changes_with_the_files_behind_it(salt, dataset):
    train = dataset()
    joined = train.with_name("joined.h5")
    with h5py.File(train) as source, h5py.File(joined, "w") as file:
        for name, records in source.items():
            layout = h5py.VirtualLayout(records.shape, records.dtype)
            layout[:] = h5py.VirtualSource(records)
            file.create_virtual_dataset(name, layout).attrs.update(records.attrs)
    assert salt("store", "build", "--config=simple.yaml", *files(joined)).code == 0
    assert salt("store", "list", joined).out.splitlines()[1].endswith("fresh")
    touch(train)
    assert salt("store", "list", joined).out.splitlines()[1].endswith(f"its files changed: {joined}")


def test_what_was_left_of_a_killed_building_is_a_leftover(salt, build):
    leave(only_store(build()))
    assert "unfinished: leftover" in salt("store", "list", "mine").out


def test_a_store_that_is_being_built_names_the_process(salt, build):
    part = leave(only_store(build()))
    with lock(part.with_name(f"{part.name.removesuffix('.123.tmp')}.lock")):
        assert "unfinished: being built: by process 123" in salt("store", "list", "mine").out


def test_a_place_that_is_not_there_is_told(salt):
    answer = salt("store", "list", "nowhere")
    assert answer.code == 2
    assert "no file or folder " in answer.error
    assert "nowhere" in answer.error


# --- clean ----------------------------------------------------------------------------------------------------------


def test_stores_that_can_serve_stay(salt, build):
    store = only_store(build())
    assert salt("store", "clean", "mine").out == "removed 0 stores, 0 bytes\n"
    assert store.is_dir()


def test_all_removes_them_too_and_the_folder_that_is_empty_then(salt, build):
    train = build()
    store = only_store(train)
    size = sum(file.stat().st_size for file in store.iterdir())
    out = salt("store", "clean", "mine", "--all").out
    assert out == f"removed {store} (fresh)\nremoved 1 store, {size / 1000:.1f} kB\n"
    assert stores(train.parent) == ["class_dict.yaml", "norm_dict.yaml", "sample.h5"]


@pytest.mark.parametrize("change", [touch, Path.unlink])
def test_stores_whose_files_changed_or_are_gone_are_removed(salt, build, change):
    train = build()
    change(train)
    assert "removed 1 store" in salt("store", "clean", "mine").out
    assert not (train.parent / "salt-store").exists()


def test_what_killed_processes_left_is_removed_with_its_lock(salt, build):
    store = only_store(build())
    leave(store)
    shutil.copytree(store, store.with_name(f"{store.name}.old.tmp"))
    assert "removed 2 stores" in salt("store", "clean", "mine").out
    assert stores(store.parent) == [store.name]


def test_a_dry_run_only_says_so(salt, build):
    train = build()
    store = only_store(train)
    touch(train)
    out = salt("store", "clean", "mine", "--dry-run").out
    assert f"would remove {store} (its files changed: {train})\nwould remove 1 store" in out
    assert store.is_dir()


def test_a_store_that_is_being_built_stays(salt, build):
    part = leave(only_store(build()))
    with lock(part.with_name(f"{part.name.removesuffix('.123.tmp')}.lock")):
        assert "removed 0 stores" in salt("store", "clean", "mine", "--all").out
    assert part.is_dir()


def test_a_store_stays_while_a_process_is_at_work_on_it(salt, build):
    train = build()
    store = only_store(train)
    touch(train)
    with lock(store.with_name(f"{store.name}.lock")):
        answer = salt("store", "clean", "mine")
    assert (answer.code, answer.out) == (0, "removed 0 stores, 0 bytes\n")
    assert f"left {store}: another process is at work on it" in answer.err
    assert store.is_dir()


def foreign(store):
    """Make folders that look like stores and are none."""
    (store / "thesis.tex").touch()
    (store.with_name("photos-0123456789ab")).mkdir()
    (store.with_name("photos-0123456789ab") / "manifest.json").write_text(json.dumps({"name": "mine"}))
    (store.with_name("notes-0123456789ab.7.tmp")).mkdir()
    (store.with_name("notes.7.tmp")).mkdir()
    (store.with_name("link-0123456789ab")).symlink_to(store)


def test_what_is_not_ours_is_never_removed(salt, build):
    store = only_store(build())
    foreign(store)
    before = sorted(store.parent.rglob("*"))
    assert "removed 0 stores" in salt("store", "clean", "mine", "--all").out
    assert sorted(store.parent.rglob("*")) == before
    assert "not as its manifest says: left alone" in salt("store", "list", "mine").out


@pytest.mark.parametrize("damage", [lambda file: file.write_bytes(b""), Path.unlink])
def test_a_store_with_other_files_than_its_manifest_says_is_left_alone(salt, build, damage):
    store = only_store(build())
    damage(next(store.glob("0.*")))
    assert "removed 0 stores" in salt("store", "clean", "mine", "--all").out
    assert store.is_dir()


def test_of_the_common_places_only_what_was_made_of_the_named_files_is_removed(salt, build, places, tmp_path):
    train = build(f"--data.store_dir={places}")
    (tmp_path / "elsewhere").mkdir()
    assert "removed 0 stores" in salt("store", "clean", "elsewhere", "--all").out
    assert "removed 1 store" in salt("store", "clean", train, "--all").out
    assert stores(places) == []


def test_the_common_places_are_cleaned_where_no_place_is_named(salt, build, places):
    touch(build(f"--data.store_dir={places}"))
    assert "removed 1 store" in salt("store", "clean").out


def test_a_removal_that_is_killed_leaves_what_the_next_one_removes(salt, build, tmp_path):
    """Slow the removal down, kill it in the middle."""
    store = only_store(build())
    code = (
        "import shutil, sys, time\n"
        "shutil.rmtree = lambda path: (print('now', flush=True), time.sleep(60))\n"
        "from salt.cli.main import main\n"
        f"main(['store', 'clean', '--all', {str(store)!r}])\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=tmp_path) as process:
        said = process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    assert said == b"now\n"
    assert not store.exists()
    assert "unfinished: leftover" in salt("store", "list", "mine").out
    assert "removed 1 store" in salt("store", "clean", "mine").out
    assert not store.parent.exists()


def test_ages_are_told_in_the_largest_unit(salt, build):
    manifest = only_store(build()) / "manifest.json"
    for seconds, said in {30: "new", 60: "1 minute", 7300: "2 hours", 3 * 86400: "3 days"}.items():
        then = time.time() - seconds
        os.utime(manifest, (then, then))
        assert f"  {said}  " in salt("store", "list", "mine").out


# --- the command itself ---------------------------------------------------------------------------------------------


def test_alone_it_shows_its_help(salt):
    answer = salt("store")
    assert answer.code == 2
    assert all(f"    {action} " in answer.out for action in ("build", "list", "clean"))


@pytest.mark.parametrize("arguments", [("liist",), ("clean", "--everything"), ("clean", "--al")])
def test_an_unknown_action_or_option_is_one_message(salt, arguments):
    answer = salt("store", *arguments)
    assert answer.code == 2
    assert answer.error.startswith("salt: error: salt store")
    assert arguments[-1] in answer.error


def test_help_of_an_action_leaves_nothing_out(salt):
    answer = salt("store", "clean", "--help")
    assert answer.code == 0
    assert "--dry-run" in answer.out
