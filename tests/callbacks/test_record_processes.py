import json
import os
import subprocess
import sys
from dataclasses import asdict, replace

import pytest

from salt.callbacks.processes import Process, hold, is_held


@pytest.fixture
def sleeper():
    """Another process, and what it is called."""
    code = "from salt.callbacks.processes import Process; from dataclasses import asdict; import json, time;"
    code += "print(json.dumps(asdict(Process.this())), flush=True); time.sleep(600)"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        yield process, Process(**json.loads(process.stdout.readline()))
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_process_that_lives_has_not_ended(sleeper):
    assert Process.this().has_ended() is False
    assert sleeper[1].has_ended() is False


def test_a_killed_process_has_ended(sleeper):
    process, named = sleeper
    process.kill()
    process.wait()
    assert named.has_ended() is True


def test_a_zombie_has_ended(sleeper):
    process, named = sleeper
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert named.has_ended() is True


def test_a_number_that_was_given_again_is_another_process(sleeper):
    named = sleeper[1]
    assert replace(named, process_started=named.process_started - 1).has_ended() is True


def test_a_number_of_before_the_machine_was_started_means_nothing(sleeper):
    assert replace(sleeper[1], boot_id="another").has_ended() is True


def test_of_another_machine_or_container_nothing_is_known(sleeper):
    assert replace(sleeper[1], host="another").has_ended() is None
    assert replace(sleeper[1], pid_namespace="another").has_ended() is None


def test_a_record_names_its_process(sleeper):
    named = sleeper[1]
    assert Process.of({**asdict(named), "state": "running", "reason": None}) == named
    assert Process.of({"state": "running"}) is None


def test_a_folder_is_held_by_one_until_it_lets_go(tmp_path):
    assert is_held(tmp_path) is False
    let_go = hold(tmp_path)
    assert is_held(tmp_path) is True
    with pytest.raises(BlockingIOError):
        hold(tmp_path)
    let_go()
    assert is_held(tmp_path) is False
    assert list(tmp_path.iterdir()) == []
