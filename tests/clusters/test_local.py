"""Jobs on this machine: the script's environment, its tasks, its exit code, and the signals that come."""

import os
import signal
import subprocess
import sys
import time

import pytest

from salt.clusters import local
from salt.clusters.environments import Environment
from salt.clusters.job import STAGE, Job, Resources


@pytest.fixture
def job(tmp_path):
    """Make a job whose `salt` is a script of these lines, in a venv of its own."""

    def make(text, **fields):
        salt = tmp_path / "venv" / "bin" / "salt"
        salt.parent.mkdir(parents=True, exist_ok=True)
        salt.write_text(f"#!/bin/bash\n{text}\n")
        salt.chmod(0o755)
        environment = Environment("venv", str(tmp_path / "venv"))
        return Job(environment=environment, directory=tmp_path, **fields)

    return make


def test_a_job_runs_in_its_folder_with_its_words(job, tmp_path, capfd):
    assert local.run(job('pwd; echo "$@"; echo "$VIRTUAL_ENV"', arguments=("--name", "a  b"))) == 0
    words = "fit --name a  b --trainer.accelerator=cpu --trainer.devices=1 --trainer.num_nodes=1"
    assert capfd.readouterr().out.splitlines() == [str(tmp_path), words, str(tmp_path / "venv")]


def test_tasks_come_one_after_the_other(job, capfd):
    assert local.run(job('echo "$3 $SALT_TASK"', array=3, arguments=("--seed", "{task}"))) == 0
    assert capfd.readouterr().out.splitlines() == ["0 0", "1 1", "2 2"]


def test_the_exit_code_is_that_of_the_first_task_that_fails_and_no_other_begins(job, capfd):
    assert local.run(job('echo "$SALT_TASK"; exit $((SALT_TASK * 7))', array=3)) == 7
    assert capfd.readouterr().out.splitlines() == ["0", "1"]


def test_copies_go_to_a_folder_of_the_process_alone(job, capfd, monkeypatch):
    monkeypatch.setenv("TMPDIR", "/t")
    monkeypatch.delenv("SALT_JOB_ID", raising=False)
    assert local.run(job('echo "${@: -1}"; env | grep -c "^SALT_JOB_ID"', stage=STAGE)) == 1  # grep finds none
    where, number = capfd.readouterr().out.split()
    assert where.startswith("--data.move_files_temp=/t/salt-local-")
    assert number == "0"  # by that name, another run could be taken for this one


def test_two_nodes_are_refused(job):
    with pytest.raises(ValueError, match="--nodes 2: there is one machine here"):
        local.run(job("true", resources=Resources(nodes=2)))


def test_a_container_without_apptainer_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="there is no apptainer"):
        local.run(Job(environment=Environment("apptainer", "i.sif")))


def test_the_script_is_bash(job):
    (text,) = local.render(job("true", array=2, stage=STAGE)).values()
    subprocess.run(["bash", "-n"], input=text, text=True, check=True)


ANSWERS = """
for name in INT TERM HUP USR1 USR2; do trap "echo $name; exit 75" $name; done
echo ready
for i in $(seq 600); do sleep 0.1; done
"""

OUTSIDE = """
import sys
from pathlib import Path
from salt.clusters import local
from salt.clusters.environments import Environment
from salt.clusters.job import Job
folder = Path(sys.argv[1])
sys.exit(local.run(Job(environment=Environment("venv", str(folder / "venv")), directory=folder, array=2)))
"""


@pytest.mark.parametrize("name", ["INT", "TERM", "HUP", "USR1", "USR2"])
def test_a_signal_reaches_the_training_once_and_ends_the_job(job, tmp_path, name):
    job(ANSWERS)
    command = [sys.executable, "-c", OUTSIDE, tmp_path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.Signals[f"SIG{name}"])
        assert process.stdout.read() == f"{name}\n"
    assert process.returncode == 75


def test_a_training_that_is_killed_ends_the_job_with_the_code_of_the_shell(job):
    assert local.run(job("kill -KILL $$")) == 128 + signal.SIGKILL


def test_signals_mean_what_they_meant_after_the_job(job):
    before = signal.getsignal(signal.SIGTERM)
    local.run(job("true"))
    assert signal.getsignal(signal.SIGTERM) is before


def test_ctrl_c_in_a_terminal_comes_from_the_command_alone(job, capfd):
    """A terminal sends it to all processes of its group: twice, it would end the training without a checkpoint."""
    assert local.run(job("cut -d ' ' -f 5 /proc/$$/stat")) == 0
    assert int(capfd.readouterr().out) != os.getpgrp()


def test_nothing_is_left_of_a_job_that_was_told_to_end(job, tmp_path):
    job(f"echo $$ > {tmp_path}/pid\necho ready\nexec sleep 60")
    with subprocess.Popen([sys.executable, "-c", OUTSIDE, tmp_path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.1)
        process.terminate()
    assert process.returncode == 128 + signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_a_hangup_that_is_ignored_stays_so(job, tmp_path):
    job("echo ready\nsleep 1\necho went on")
    command = ["nohup", sys.executable, "-c", OUTSIDE, tmp_path]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    with subprocess.Popen(command, **options) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGHUP)
        assert process.stdout.readline() == "went on\n"
        process.terminate()


def test_a_training_is_told_to_end_where_the_command_is_killed(job, tmp_path):
    job('trap "echo told; exit" TERM; echo ready; for i in $(seq 600); do sleep 0.1; done')
    with subprocess.Popen([sys.executable, "-c", OUTSIDE, tmp_path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        process.kill()
        assert process.stdout.read() == "told\n"
