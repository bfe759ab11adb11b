import logging
import os
import pty
import signal
import stat
import subprocess
import sys
import termios
import time
import weakref
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from salt.data import leases, space
from salt.data.copies import Copy
from salt.data.staging import Staging

KEY = "data.move_files_temp"

HEADER = """
import logging, os, sys, time
from pathlib import Path
from salt.data.staging import Staging
logging.basicConfig(level=logging.INFO)
folder, *sources = map(Path, sys.argv[1:])
"""

STAGE = """
staging = Staging(folder)
copies = staging.stage(sources)
print("staged", *copies.values(), flush=True)
"""

HOLD = """
staging = Staging(folder)
print("staged", *staging.stage(sources).values(), flush=True)
sys.stdin.read()
staging.release()
"""

SLOWLY = """
from salt.data import copies
copies.BLOCK_BYTES = 1000
real = copies._copy
def slow(source, target, size, copied):
    def say(number):
        print("copied", flush=True)
        time.sleep(0.01)
    return real(source, target, size, say)
copies._copy = slow
"""


@pytest.fixture
def sources(tmp_path):
    """A file for training and one for validation, of the same name."""
    paths = [tmp_path / "train" / "jets.h5", tmp_path / "val" / "jets.h5"]
    for path in paths:
        path.parent.mkdir()
        path.write_bytes(os.urandom(20_000) + path.parent.name.encode())
    return paths


@pytest.fixture
def folder(tmp_path):
    """A folder for copies that is not there yet, nor is its parent."""
    return tmp_path / "user" / "fast"


@pytest.fixture
def make(folder):
    """Makes a Staging, released in the end."""
    with ExitStack() as stack:

        def staging(place=folder):
            new = Staging(place)
            stack.callback(new.release)
            return new

        yield staging


@pytest.fixture
def program(folder, sources):
    """Start Python code in a process of its own, with the folder and the sources; killed with the test."""
    with ExitStack() as stack:

        def start(code, place=folder, files=sources):
            command = [sys.executable, "-c", HEADER + code, str(place), *map(str, files)]
            pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
            process = subprocess.Popen(command, **pipes, text=True, preexec_fn=not_ignoring_signals)
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield start


def not_ignoring_signals():
    """What is started in the background of a script ignores Ctrl-C, and so do its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def everything(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def staged(process):
    """The copies that a program has staged."""
    word, *copies = process.stdout.readline().split()
    assert word == "staged"
    return [Path(copy) for copy in copies]


# What is copied


def test_a_copy_equals_its_source_and_has_its_name(make, sources):
    copies = make().stage(sources)
    assert [copies[source].read_bytes() for source in sources] == [source.read_bytes() for source in sources]
    assert [copies[source].name for source in sources] == ["jets.h5", "jets.h5"]


def test_equal_names_from_different_folders_are_kept_apart(make, sources):
    train, val = make().stage(sources).values()
    assert train.read_bytes().endswith(b"train")
    assert val.read_bytes().endswith(b"val")


def test_files_that_agree_in_name_size_and_time_are_kept_apart(make, sources):
    for source in sources:
        source.write_text(source.parent.name[:3])
        os.utime(source, ns=(0, 1))
    assert [copy.read_text() for copy in make().stage(sources).values()] == ["tra", "val"]


def test_many_files_of_a_wildcard_are_copied(make, tmp_path):
    for number in range(12):
        (tmp_path / f"part_{number}.h5").write_bytes(bytes([number]) * number)
    paths = sorted(tmp_path.glob("part_*.h5"))
    copies = make().stage(paths)
    assert list(copies) == paths
    assert all(copies[path].read_bytes() == path.read_bytes() for path in paths)


def test_a_folder_is_copied_whole(make, tmp_path):
    store = tmp_path / "train.store"
    (store / "more" / "inner").mkdir(parents=True)
    (store / "manifest.json").write_text("{}")
    (store / "more" / "inner" / "values.f4").write_bytes(bytes(10))
    (store / "empty").touch()
    copy = make().stage([store])[store]
    assert copy.name == "train.store"
    files = {path.relative_to(copy): path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    assert files == {path.relative_to(store): path.read_bytes() for path in store.rglob("*") if path.is_file()}


def test_files_larger_than_a_block_and_of_whole_blocks_are_copied(make, tmp_path, monkeypatch):
    monkeypatch.setattr("salt.data.copies.BLOCK_BYTES", 1000)
    paths = [tmp_path / str(size) for size in (0, 999, 1000, 1001, 3000)]
    for path in paths:
        path.write_bytes(os.urandom(int(path.name)))
    copies = make().stage(paths)
    assert all(copies[path].read_bytes() == path.read_bytes() for path in paths)


def test_a_link_to_a_source_is_copied_under_its_own_name(make, sources, tmp_path):
    (link := tmp_path / "linked.h5").symlink_to(sources[0])
    copy = make().stage([link])[link]
    assert copy.name == "linked.h5"
    assert not copy.is_symlink()
    assert copy.read_bytes() == sources[0].read_bytes()


def test_a_changed_source_gets_a_new_copy(make, sources):
    first, second = make(), make()
    old = first.stage(sources[:1])[sources[0]]
    sources[0].write_bytes(b"other jets")
    new = second.stage(sources[:1])[sources[0]]
    assert new.read_bytes() == b"other jets"
    assert old.read_bytes().endswith(b"train")  # whoever uses the old one keeps it


def test_a_source_of_the_same_size_that_was_changed_gets_a_new_copy(make, sources):
    staging = make()
    staging.stage(sources)
    content = bytes(len(sources[0].read_bytes()))
    sources[0].write_bytes(content)
    os.utime(sources[0], ns=(0, 1))
    assert staging.stage(sources)[sources[0]].read_bytes() == content


def test_a_copy_that_differs_from_its_source_is_not_handed_out(make, sources, folder, monkeypatch):
    real = Path.open

    def faulty(self, mode="r", **options):
        if mode == "xb+":
            real(self, "w").close()
            return real(Path("/dev/zero"), "rb+", **options)  # reads zeros, whatever was written
        return real(self, mode, **options)

    monkeypatch.setattr(Path, "open", faulty)
    with pytest.raises(OSError, match=r"jets.h5 differs from .*jets.h5, of which it is a copy"):
        make().stage(sources)
    assert not folder.parent.exists()


def test_a_source_that_grows_while_it_is_copied_is_an_error(make, sources, folder, monkeypatch):
    monkeypatch.setattr("salt.data.copies.BLOCK_BYTES", 1000)
    real = Copy.write

    def write(self, place, key, copied):
        def grow(number):
            with sources[0].open("ab") as file:
                file.write(b"x")
            copied(number)

        real(self, place, key, grow if self.source == str(sources[0]) else copied)

    monkeypatch.setattr(Copy, "write", write)
    with pytest.raises(OSError, match=f"{KEY}: .*train/jets.h5 changed while it was copied: wait"):
        make().stage(sources)
    assert not folder.parent.exists()


# Who shares and who removes


def test_release_removes_all_that_was_made_the_folder_and_its_parent_included(make, sources, folder):
    staging = make()
    staging.stage(sources)
    assert stat.S_IMODE(folder.stat().st_mode) == stat.S_IMODE(folder.parent.stat().st_mode) == 0o700
    staging.release()
    assert not folder.parent.exists()
    assert all(source.exists() for source in sources)


def test_release_may_be_called_again_and_without_copies(make, sources, folder):
    staging = make()
    staging.release()
    staging.stage(sources)
    staging.release()
    staging.release()
    assert staging.stage(sources)[sources[0]].exists()


def test_a_folder_of_the_users_stays_with_what_is_in_it(make, sources, folder):
    folder.mkdir(parents=True)
    staging = make()
    staging.stage(sources)
    (folder / "notes").write_text("mine")
    (folder / "salt-0123456789abcdef").mkdir()
    (folder / "salt-0123456789abcdef" / "jets.h5").touch()
    staging.release()
    assert everything(folder) == ["notes", "salt-0123456789abcdef", "salt-0123456789abcdef/jets.h5"]


def test_an_empty_folder_of_the_users_stays(make, sources, folder):
    folder.mkdir(parents=True)
    staging = make()
    staging.stage(sources)
    staging.release()
    assert everything(folder) == []


def test_what_a_user_puts_beside_or_into_copies_stays(make, sources, folder):
    staging = make()
    copy = staging.stage(sources[:1])[sources[0]]
    (folder / "notes").touch()
    (copy.parent / "mine").touch()
    staging.release()
    assert everything(folder) == sorted([".salt-made", "notes", copy.parent.name, f"{copy.parent.name}/mine"])


def test_a_parent_that_we_made_goes_with_the_last_folder_in_it(make, sources, folder):
    one, two = make(folder), make(folder.with_name("other"))
    one.stage(sources)
    two.stage(sources)
    one.release()
    assert everything(folder.parent)[:2] == [".salt-made", "other"]
    two.release()
    assert not folder.parent.exists()


def test_jobs_share_one_copy_which_stays_until_the_last_of_them_ends(make, program, sources, folder):
    other = program(HOLD)
    theirs = staged(other)
    before = [path.stat().st_ino for path in theirs]
    staging = make()
    assert list(staging.stage(sources).values()) == theirs
    other.communicate("")
    assert other.returncode == 0
    assert [path.stat().st_ino for path in theirs] == before
    staging.release()
    assert not folder.parent.exists()


def test_jobs_that_start_together_copy_once(program, folder):
    jobs = [program(HOLD) for _ in range(4)]
    copies = [staged(job) for job in jobs]
    assert copies[0] == copies[1] == copies[2] == copies[3]
    said = [job.communicate("")[1] for job in jobs]
    assert "".join(said).count("copying") == 1
    assert not folder.parent.exists()


def test_jobs_that_come_and_go_never_lose_a_copy_and_leave_nothing(program, folder):
    code = """
for _ in range(20):
    staging = Staging(folder)
    copies = staging.stage(sources)
    assert all(copy.read_bytes() == source.read_bytes() for source, copy in copies.items())
    staging.release()
"""
    jobs = [program(code) for _ in range(4)]
    for job in jobs:
        _, said = job.communicate(timeout=60)
        assert job.returncode == 0, said
    assert not folder.parent.exists()


def test_who_ends_while_another_copies_does_not_wait_and_leaves_nothing(program, sources, folder, tmp_path):
    (large := tmp_path / "large.h5").write_bytes(bytes(200_000))
    short = program(HOLD)
    staged(short)
    long = program(SLOWLY + "print('begun', flush=True)" + HOLD, files=[large])
    assert long.stdout.readline() == "begun\n"
    assert long.stdout.readline() == "copied\n"
    began = time.monotonic()
    short.communicate("")
    assert time.monotonic() - began < 20
    while (line := long.stdout.readline()) == "copied\n":
        pass
    assert line.startswith("staged")
    long.communicate("")
    assert not folder.parent.exists()


def test_a_folder_that_another_process_begins_to_use_while_it_is_removed_stays_ours(make, sources, folder, monkeypatch):
    real = Path.rmdir

    def rmdir(self):
        if self == folder:
            (folder / "new").touch()
        real(self)

    staging = make()
    staging.stage(sources)
    monkeypatch.setattr(Path, "rmdir", rmdir)
    staging.release()
    monkeypatch.undo()
    assert everything(folder) == [".salt-made", "new"]
    (folder / "new").unlink()
    staging.stage(sources)
    staging.release()
    assert not folder.parent.exists()


# However it ends


def test_an_error_while_the_copies_are_used_leaves_nothing(program, folder):
    process = program(STAGE + "raise RuntimeError")
    process.communicate()
    assert process.returncode == 1
    assert not folder.parent.exists()


def test_a_program_that_ends_without_a_word_leaves_nothing(program, folder):
    process = program(STAGE)
    process.communicate()
    assert process.returncode == 0
    assert not folder.parent.exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, -signal.SIGINT), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("moment", ["copying", "using"])
def test_signals_leave_nothing(program, folder, number, code, moment):
    use = "with ended_by_signals():" + STAGE.replace("\n", "\n    ") + "time.sleep(60)"
    process = program("from salt.data.death import ended_by_signals\n" + (SLOWLY if moment == "copying" else "") + use)
    assert process.stdout.readline().split()[0] == {"copying": "copied", "using": "staged"}[moment]
    assert folder.exists()
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode == code
    assert not folder.parent.exists()


def test_sigterm_while_copying_leaves_nothing_without_anybodys_handler(program, folder):
    process = program(SLOWLY + STAGE)
    assert process.stdout.readline() == "copied\n"
    process.terminate()
    process.communicate(timeout=30)
    assert process.returncode == 143
    assert not folder.parent.exists()


@pytest.mark.parametrize("moment", ["copying", "using"])
def test_the_next_start_removes_what_a_killed_process_has_left(program, make, sources, folder, tmp_path, moment):
    process = program((SLOWLY if moment == "copying" else "") + STAGE + "time.sleep(60)")
    assert process.stdout.readline()
    process.kill()
    process.wait()
    left = list(folder.glob("salt-*"))
    assert left
    (other := tmp_path / "other.h5").touch()
    staging = make()
    staging.stage([other])
    assert [path for path in left if path.exists()] == []
    staging.release()
    assert not folder.parent.exists()


def test_the_next_start_uses_the_whole_copies_of_a_killed_process(program, make, sources):
    process = program(STAGE + "time.sleep(60)")
    copies = staged(process)
    before = [copy.stat().st_ino for copy in copies]
    process.kill()
    process.wait()
    assert [copy.stat().st_ino for copy in make().stage(sources).values()] == before


def test_the_next_start_copies_anew_what_a_killed_process_has_half_copied(program, make, sources, folder):
    process = program(SLOWLY + STAGE)
    assert process.stdout.readline() == "copied\n"
    process.kill()
    process.wait()
    (half,) = folder.glob("salt-*/jets.h5")
    os.truncate(half, sources[0].stat().st_size)  # of the right size, with nothing in it
    copies = make().stage(sources)
    assert all(copies[source].read_bytes() == source.read_bytes() for source in sources)


def test_a_damaged_leftover_is_not_used(program, make, sources):
    process = program(STAGE + "time.sleep(60)")
    (copy, _) = staged(process)
    process.kill()
    process.wait()
    os.truncate(copy, 5)
    assert make().stage(sources)[sources[0]].read_bytes() == sources[0].read_bytes()


def test_a_damaged_copy_that_is_in_use_is_an_error(make, sources):
    copy = make().stage(sources)[sources[0]]
    os.truncate(copy, 5)
    with pytest.raises(OSError, match=f"{KEY}: .*{copy.parent} is in use, but somebody has changed it"):
        make().stage(sources)
    assert copy.exists()


def test_a_forgotten_staging_is_released(sources, folder):
    staging = Staging(folder)
    staging.stage(sources)
    dead = weakref.ref(staging)
    del staging
    assert dead() is None
    assert not folder.parent.exists()


def test_a_forked_child_that_ends_removes_nothing(program):
    process = program(
        STAGE + "if os.fork() == 0:\n    sys.exit()\nos.wait()\nprint(*map(Path.exists, copies.values()))"
    )
    said, _ = process.communicate(timeout=30)
    assert said.splitlines()[-1] == "True True"


# What cannot be


def test_a_source_that_is_not_there_is_named_and_nothing_is_made(make, sources, folder):
    missing = sources[0].with_name("absent.h5")
    with pytest.raises(FileNotFoundError, match=f"{KEY}: {missing} is to be copied, but does not exist"):
        make().stage([*sources, missing])
    assert not folder.parent.exists()


def test_a_source_that_is_no_plain_file_is_refused(make, tmp_path, folder):
    os.mkfifo(pipe := tmp_path / "pipe")
    with pytest.raises(ValueError, match=f"{KEY}: {pipe} is to be copied, but is no plain file"):
        make().stage([pipe])
    assert not folder.parent.exists()


def test_too_little_space_is_said_before_anything_is_written(mounted, sources):
    place = mounted("size=32k")
    message = f"{KEY}: a copy of .*train/jets.h5, .*val/jets.h5 needs 40.0 kB, but .*fast has .* kB of disk space left"
    with pytest.raises(OSError, match=message):
        Staging(place / "user" / "fast").stage(sources)
    assert everything(place) == []


def test_memory_counts_where_files_are_in_memory(mounted, sources, monkeypatch):
    place = mounted("size=10M")
    monkeypatch.setattr(space, "available_memory", lambda: 20_000)
    with pytest.raises(OSError, match=r"needs 40.0 kB, but .* has 18.0 kB of memory left"):
        Staging(place / "fast").stage(sources)
    assert everything(place) == []


def test_a_disk_that_is_full_in_the_middle_is_an_error_and_nothing_stays(mounted, sources, monkeypatch):
    place = mounted("size=32k")
    monkeypatch.setattr("salt.data.staging.require_space", lambda *arguments: None)
    with pytest.raises(OSError, match=f"{KEY}: cannot copy to {place}.*: No space left on device; choose another"):
        Staging(place / "user" / "fast").stage(sources)
    assert everything(place) == []


def test_a_disk_without_any_space_is_an_error_and_nothing_stays(mounted, sources):
    place = mounted("size=8k")
    with pytest.raises(OSError), (place / "filling").open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    with pytest.raises(OSError, match=f"{KEY}: "):
        Staging(place / "user" / "fast").stage(sources)
    assert everything(place) == ["filling"]


def test_a_folder_that_cannot_be_written_to_is_an_error(mounted, sources):
    place = mounted("size=64k,ro")
    with pytest.raises(OSError, match=f"{KEY}: cannot copy to {place}/fast: Read-only file system"):
        Staging(place / "fast").stage(sources)
    with pytest.raises(OSError, match=f"{KEY}: cannot copy to {place}: Read-only file system"):
        Staging(place).stage(sources)


def test_a_place_where_nothing_can_be_made_is_an_error(sources):
    with pytest.raises(OSError, match=f"{KEY}: cannot copy to /proc/fast: No such file or directory"):
        Staging("/proc/fast").stage(sources)


def test_a_folder_that_is_a_file_is_an_error(make, sources, tmp_path):
    (file := tmp_path / "file").write_text("mine")
    for place in (file, file / "below"):
        with pytest.raises(OSError, match=f"{KEY}: cannot copy to {place}: Not a directory"):
            make(place).stage(sources)
    assert file.read_text() == "mine"


def test_a_folder_within_the_source_is_an_error(make, tmp_path):
    store = tmp_path / "train.store"
    store.mkdir()
    (store / "manifest.json").touch()
    with pytest.raises(ValueError, match=f"{KEY}: {store}/fast lies in {store}, which is to be copied"):
        make(store / "fast").stage([store])
    assert everything(store) == ["manifest.json"]


def test_the_folder_of_the_source_itself_may_hold_copies(make, sources):
    staging = make(sources[0].parent)
    assert staging.stage(sources)[sources[0]].read_bytes() == sources[0].read_bytes()
    staging.release()
    assert everything(sources[0].parent) == ["jets.h5"]


def test_a_link_to_a_folder_is_followed_and_stays(make, sources, tmp_path):
    (tmp_path / "real").mkdir()
    (link := tmp_path / "link").symlink_to(tmp_path / "real")
    staging = make(link)
    copy = staging.stage(sources)[sources[0]]
    assert copy.is_relative_to(tmp_path / "real")
    staging.release()
    assert link.is_symlink()
    assert everything(tmp_path / "real") == []


def test_a_folder_of_ours_that_somebody_else_has_made_is_not_touched(make, sources, folder):
    name = Copy.of(sources[0], KEY).folder
    (folder / name).mkdir(parents=True)
    (folder / name / "jets.h5").write_text("other")
    with pytest.raises(OSError, match=f"{KEY}: .*File exists .*{name}"):
        make().stage(sources)
    assert everything(folder) == [name, f"{name}/jets.h5"]
    assert (folder / name / "jets.h5").read_text() == "other"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_a_ledger_that_somebody_else_has_planted_is_not_believed(make, sources, folder, tmp_path):
    (precious := tmp_path / "precious").touch()
    folder.mkdir(parents=True)
    make().stage(sources)
    (ledger,) = folder.glob("*.json")
    ledger.write_text(ledger.read_text().replace("jets.h5", f"../../../{precious.name}"))
    os.chown(ledger, 65534, 65534)
    with pytest.raises(OSError, match=f"{KEY}: .*{ledger} is ours by its name, but belongs to somebody else"):
        make().stage(sources)
    ledger.unlink()
    assert precious.exists()


def test_a_file_system_without_locks_is_an_error(make, sources, folder, monkeypatch):
    def flock(descriptor, operation):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(leases.fcntl, "flock", flock)
    with pytest.raises(OSError, match=f"{KEY}: cannot copy to {folder}: the file system of .* has no locks"):
        make().stage(sources)
    assert not folder.parent.exists()


# What is said


def test_copying_is_said_in_one_line_where_there_is_no_terminal(make, sources, folder, caplog):
    caplog.set_level(logging.INFO)
    make().stage(sources)
    assert caplog.messages == [f"copying {sources[0]}, {sources[1]}, 40.0 kB, to {folder}"]


def test_nothing_is_said_where_nothing_is_copied(make, sources, caplog):
    caplog.set_level(logging.INFO)
    make().stage(sources)
    caplog.clear()
    make().stage(sources)
    assert caplog.messages == []


def test_a_terminal_gets_a_bar(folder, sources):
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 100))
    command = [sys.executable, "-c", HEADER + STAGE, str(folder), *map(str, sources)]
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=theirs, check=True)
    os.close(theirs)
    said = ""
    with suppress(OSError):  # so a terminal ends
        while True:
            said += os.read(ours, 1000).decode()
    os.close(ours)
    assert "copying: 100%" in said
    assert "40.0k/40.0k" in said
    assert str(folder) not in said
