import errno
import fcntl
import logging
import os
import platform
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from salt.data import leases

HEADER = (
    "import fcntl, os, sys, time\nfrom pathlib import Path\nfrom salt.data import leases\npath = Path(sys.argv[1])\n"
)

WITHOUT_FLOCK = """
def flock(descriptor, operation):
    raise OSError(38, "Function not implemented")
fcntl.flock = flock
"""

HOLD = """
with leases.lock(path):
    print("held", flush=True)
    sys.stdin.read()
"""

COUNT = """
counter = path.with_name("counter")
for _ in range(20):
    with leases.lock(path):
        (inside := path.with_name("inside")).touch(exist_ok=False)  # fails where another is in here
        counter.write_text(str(int(counter.read_text()) + 1))
        inside.unlink()
"""


@pytest.fixture
def program():
    """Start Python code in a process of its own, `path` being the lock file; ended with the test."""
    with ExitStack() as stack:

        def start(code, path):
            command = [sys.executable, "-c", HEADER + code, str(path)]
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield start


@pytest.fixture
def path(tmp_path):
    return tmp_path / "some.lock"


@pytest.fixture
def no_flock(monkeypatch):
    """A file system that has no locks, as Lustre may be."""

    def flock(descriptor, operation):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", flock)


def held(process):
    return process.stdout.readline() == "held\n"


@pytest.mark.parametrize("world", ["", WITHOUT_FLOCK], ids=["flock", "claim"])
def test_one_process_at_a_time_holds_a_lock_although_its_file_comes_and_goes(program, path, world):
    path.with_name("counter").write_text("0")
    processes = [program(world + COUNT, path) for _ in range(4)]
    assert [process.wait(60) for process in processes] == [0, 0, 0, 0]
    assert path.with_name("counter").read_text() == "80"
    assert [file.name for file in path.parent.iterdir()] == ["counter"]


@pytest.mark.parametrize("world", ["", WITHOUT_FLOCK], ids=["flock", "claim"])
def test_a_killed_process_holds_nothing(program, path, world, request):
    holder = program(world + HOLD, path)
    assert held(holder)
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    if world:
        request.getfixturevalue("no_flock")
    with leases.lock(path, patience=1):
        pass
    assert list(path.parent.iterdir()) == []


def test_who_waits_says_once_who_holds_the_lock(program, path, caplog, monkeypatch):
    monkeypatch.setattr(leases, "SILENCE", 0.1)
    caplog.set_level(logging.INFO)
    holder = program(HOLD, path)
    assert held(holder)
    with ThreadPoolExecutor(1) as pool:

        def take():
            with leases.lock(path):
                return holder.poll()

        waiter = pool.submit(take)
        with pytest.raises(TimeoutError):
            waiter.result(0.5)
        holder.stdin.close()
        assert waiter.result(10) in (None, 0)
    assert caplog.messages == [f"waiting for process {holder.pid} on {platform.node()}, which holds {path}"]


def test_a_short_wait_is_not_worth_a_word(path, caplog):
    caplog.set_level(logging.INFO)
    with leases.lock(path), pytest.raises(TimeoutError), leases.lock(path, patience=0.2):
        pass
    assert caplog.messages == []


def test_patience_ends_with_an_error_that_names_the_holder(path):
    message = f"{path} is still held by process {os.getpid()} on"
    with leases.lock(path), pytest.raises(TimeoutError, match=message), leases.lock(path, patience=0):
        pass


def test_a_lock_file_that_its_holder_removes_before_we_have_it_is_not_ours(path, monkeypatch):
    real, removals = fcntl.flock, [path.unlink]

    def flock(descriptor, operation):
        if removals:
            removals.pop()()
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    with leases.lock(path):
        assert path.exists()
        with pytest.raises(TimeoutError), leases.lock(path, patience=0):
            pass


def test_a_lock_is_let_go_after_an_error(path):
    with pytest.raises(RuntimeError), leases.lock(path):
        raise RuntimeError
    with leases.lock(path, patience=0):
        pass


def test_a_link_is_not_followed_to_somebody_elses_file(path):
    (target := path.with_name("precious")).write_text("precious")
    path.symlink_to(target)
    with pytest.raises(OSError), leases.lock(path):
        pass
    assert target.read_text() == "precious"


def test_several_share_and_the_last_to_leave_is_known(path):
    shares = [leases.Share(path) for _ in range(3)]
    for share in shares:
        with leases.alone(path) as unused:
            assert not unused
        share.release()
    with leases.alone(path) as unused:
        assert unused


def test_who_is_alone_keeps_others_out(path):
    leases.Share(path).release()
    with ThreadPoolExecutor(1) as pool:
        with leases.alone(path) as unused:
            assert unused
            waiter = pool.submit(leases.Share, path)
            with pytest.raises(TimeoutError):
                waiter.result(0.2)
        waiter.result(10).release()


def test_a_file_that_is_not_there_is_held_by_nobody_and_not_made(path):
    with leases.alone(path) as unused:
        assert unused
    assert not path.exists()


def test_a_share_ends_with_its_process(program, path):
    holder = program('share = leases.Share(path)\nprint("held", flush=True)\nsys.stdin.read()', path)
    assert held(holder)
    with leases.alone(path) as unused:
        assert not unused
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with leases.alone(path) as unused:
        assert unused


FORK = """
share = leases.Share(path)
if os.fork() == 0:
    {child}
{parent}
print("held", flush=True)
sys.stdin.read()
"""


def test_a_forked_child_does_not_keep_what_its_parent_has_let_go(program, path):
    parent = program(FORK.format(child="time.sleep(5); os._exit(0)", parent="share.release()"), path)
    assert held(parent)
    with leases.alone(path) as unused:
        assert unused


def test_a_forked_child_that_ends_does_not_let_go_for_its_parent(program, path):
    parent = program(FORK.format(child="share.release(); sys.exit()", parent="os.wait()"), path)
    assert held(parent)
    with leases.alone(path) as unused:
        assert not unused


def test_a_claim_of_another_machine_stays_and_the_message_says_what_to_do(path, no_flock):
    (claim := path.with_name("some.lock.claim")).write_text("process 999999999 on elsewhere")
    message = f"process 999999999 on elsewhere \\(if it is no more, remove {claim}\\)"
    with pytest.raises(TimeoutError, match=message), leases.lock(path, patience=0.2):
        pass
    assert claim.exists()


def test_a_claim_is_let_go_after_an_error(path, no_flock):
    with pytest.raises(RuntimeError), leases.lock(path):
        raise RuntimeError
    assert list(path.parent.iterdir()) == []


def test_sharing_needs_locks_and_says_so(path, no_flock):
    with pytest.raises(OSError, match=f"the file system of {path} has no locks"):
        leases.Share(path)


def test_a_full_disk_can_be_locked(mounted):
    folder = mounted("size=64k")
    with pytest.raises(OSError), (folder / "filling").open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    with leases.lock(folder / "some.lock"):
        pass
    assert [file.name for file in Path(folder).iterdir()] == ["filling"]
