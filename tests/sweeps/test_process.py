import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from salt.sweeps.process import Process, configs_in, with_copies

NEVER = "ask me nothing"


@pytest.fixture
def started(tmp_path, monkeypatch):
    """The process of a command of salt, in a job of Slurm's."""
    for name, text in {
        "SLURM_RESTART_COUNT": "1",
        "SLURM_NTASKS": "4",
        "SLURM_PROCID": "3",
        "SLURM_JOB_ID": "7",
    }.items():
        monkeypatch.setenv(name, text)

    def start(*arguments):
        return Process(arguments, str(tmp_path), tmp_path / "it.log", "val/loss", "slurm-7-trial-0001")

    return start


def ended(process):
    return process.wait(lambda question: NEVER, lambda: None)


def test_a_trial_sees_its_job_but_not_the_tasks_and_restarts_of_its_worker(started):
    process = started("fit", "--help")
    variables = Path(f"/proc/{process._process.pid}/environ").read_bytes().decode().split("\0")
    names = {variable.partition("=")[0] for variable in variables}
    assert not names & {"SLURM_RESTART_COUNT", "SLURM_NTASKS", "SLURM_PROCID"}
    assert {"SLURM_JOB_ID=7", "SALT_JOB_ID=slurm-7-trial-0001"} <= set(variables)
    process.send(signal.SIGKILL)
    assert ended(process) == -signal.SIGKILL


def test_what_a_trial_says_is_added_to_its_file(started, tmp_path):
    assert [ended(started("--version")) for _ in range(2)] == [0, 0]
    assert (tmp_path / "it.log").read_text().count("salt ") == 2


def test_a_trial_ends_with_its_worker(tmp_path):
    program = (
        "from pathlib import Path\nfrom salt.sweeps.process import Process\n"
        f"it = Process(['fit', '--help'], {str(tmp_path)!r}, Path('it.log'), 'val/loss', '')\n"
        "print(it._process.pid, flush=True)\nimport os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=False)
    number = int(done.stdout)
    deadline = time.monotonic() + 20
    while Path(f"/proc/{number}/stat").exists() and " Z " not in Path(f"/proc/{number}/stat").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert "usage" not in (tmp_path / "it.log").read_text()  # it had no time to come to its end


def test_configs_are_found_in_every_spelling():
    arguments = ["--config", "a.yaml", "-c=b.yaml", "--name=x", "-c", "c.yaml", "--data.batch_size", "5"]
    found = configs_in(arguments)
    assert [name for name, is_config in found if is_config] == ["a.yaml", "b.yaml", "c.yaml"]
    assert [name for name, is_config in found if not is_config] == ["--name=x", "--data.batch_size", "5"]


def test_copies_stand_in_for_the_configs_that_were_copied(tmp_path):
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "1-mine.yaml").touch()
    found = with_copies(["--config", "gnn.yaml", "--config=there/mine.yaml", "--name", "x"], tmp_path)
    assert found == ["--config=gnn.yaml", f"--config={tmp_path}/configs/1-mine.yaml", "--name", "x"]
