"""Ranks that watch each other: small processes without torch."""

import signal
import subprocess
import sys
import time

import pytest

RANK = """
import logging, os, signal, sys, threading, time
logging.basicConfig(format="%(message)s")
from salt.training import company
from salt.training.company import COMPANY

rank, size, folder, deed = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
company.PATIENCE = (0.3, 1.0, 5.0)


def broadcast(value):
    path = f"{folder}/value"
    if rank == 0:
        with open(path + ".tmp", "w") as file:
            file.write(repr(value))
        os.rename(path + ".tmp", path)
    while not os.path.exists(path):
        time.sleep(0.01)
    return eval(open(path).read())


with COMPANY.kept():
    COMPANY.join(rank, size, "127.0.0.1", broadcast, [])
    open(f"{folder}/joined-{rank}", "w").close()
    while not os.path.exists(f"{folder}/go"):
        time.sleep(0.01)
    if deed == "fail":
        raise ValueError("too bad")
    if deed == "leave":
        raise SystemExit(75)
    if deed == "wait":
        time.sleep(60)
    if deed == "collective":
        time.sleep(0.1)
        raise RuntimeError("connection closed by peer")
    if deed == "ask":
        company.PATIENCE = (20.0, 1.0, 5.0)
        print(COMPANY.loss_behind(RuntimeError("connection closed by peer")), file=sys.stderr)
    if deed == "die":
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGKILL)
    if deed == "hang":
        signal.pthread_sigmask(signal.SIG_BLOCK, {company.WAKING})
        time.sleep(60)
    if deed == "tidy":
        try:
            time.sleep(60)
        finally:
            open(f"{folder}/tidied-{rank}", "w").close()
"""


@pytest.fixture
def ranks(tmp_path):
    """Start ranks, each of which does something once all have met."""
    running = []

    def start(*deeds):
        for rank, deed in enumerate(deeds):
            command = [sys.executable, "-c", RANK, rank, len(deeds), tmp_path, deed]
            running.append(subprocess.Popen([str(word) for word in command], stderr=subprocess.PIPE, text=True))
        deadline = time.monotonic() + 60
        while len(list(tmp_path.glob("joined-*"))) < len(deeds):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        (tmp_path / "go").touch()
        return running

    yield start
    for each in running:
        each.kill()
        each.communicate()


def said_and_codes(processes):
    said = [each.communicate(timeout=30)[1] for each in processes]
    return said, [each.returncode for each in processes]


@pytest.mark.parametrize("victim", [0, 1, 2])
def test_all_end_with_one_that_is_killed_and_say_so(ranks, victim):
    processes = ranks("wait", "wait", "wait")
    processes[victim].kill()
    said, codes = said_and_codes(processes)
    others = [rank for rank in range(3) if rank != victim]
    assert [codes[rank] for rank in others] == [137, 137]
    assert all(f"rank {victim} was killed" in said[rank] for rank in others)


def test_ranks_that_end_well_disturb_nobody(ranks):
    said, codes = said_and_codes(ranks("nothing", "nothing", "nothing"))
    assert codes == [0, 0, 0]
    assert said == ["", "", ""]


@pytest.mark.parametrize(("deed", "code"), [("fail", 1), ("leave", 75)])
@pytest.mark.parametrize("first", [True, False])
def test_all_end_with_the_code_of_one_that_fails(ranks, deed, code, first):
    said, codes = said_and_codes(ranks(*((deed, "wait") if first else ("wait", deed))))
    assert codes == [code, code]
    assert f"rank {0 if first else 1} has ended with code {code}" in said[1 if first else 0]


def test_a_collective_that_fails_with_a_rank_is_not_the_reason(ranks):
    processes = ranks("collective", "wait")
    processes[1].kill()
    said, codes = said_and_codes(processes)
    assert codes == [137, -signal.SIGKILL]
    assert "rank 1 was killed" in said[0]


def test_a_collective_that_fails_before_its_reason_is_known_waits_for_it(ranks):
    said, _codes = said_and_codes(ranks("ask", "die"))
    assert "rank 1 was killed" in said[0].splitlines()[0]


def test_who_ends_for_another_tidies_up(ranks, tmp_path):
    processes = ranks("tidy", "wait")
    processes[1].kill()
    assert said_and_codes(processes)[1][0] == 137
    assert (tmp_path / "tidied-0").exists()


def test_who_hangs_is_ended_by_force(ranks):
    processes = ranks("hang", "wait")
    processes[1].kill()
    said, codes = said_and_codes(processes)
    assert codes[0] == 137
    assert "hangs, and ends by force" in said[0]
