"""Runs of several processes on one machine, by Lightning's launcher or torchrun, which are watched until they end."""

import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

MARK = "SALT_RANKS_TEST"
"""Environment variable by which the processes of a run are known."""

SEEN = """
from pathlib import Path

import lightning


class Seen(lightning.Callback):
    '''Write the numbers of the jets of each batch, a file for each rank.'''

    def on_train_batch_end(self, trainer, module, outputs, batch, number):
        with Path(f"seen-{trainer.current_epoch}-{trainer.global_rank}").open("a") as file:
            file.write("".join(f"{jet}\\n" for jet in batch.index.tolist()))
"""

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m"]

LAUNCHERS = {
    "lightning": [sys.executable, "-m", "salt"],
    "torchrun": [*TORCHRUN, "salt"],
    "nodes": [*TORCHRUN, "wrapped"],  # a module that the test writes
}


class Ranks:
    """A `salt` that was started, with all of its processes.

    Parameters
    ----------
    folder : Path
        Where it runs.
    command : list[str]
        What is started.
    environment : dict[str, str]
        Variables besides ours.
    """

    def __init__(self, folder, command, environment):
        self.mark = uuid.uuid4().hex
        self.output = folder / f"output-{self.mark}"
        self.is_rank = command[2] == "salt"  # else it is torchrun
        variables = {**os.environ, MARK: self.mark, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(folder), **environment}
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                command, cwd=folder, env=variables, stdout=output, stderr=output, start_new_session=True
            )

    @property
    def said(self):
        return self.output.read_text(errors="replace")

    def code(self, seconds=200):
        """Exit code, once it has ended."""
        return self.process.wait(seconds)

    def wait_for(self, condition, seconds=100):
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, f"ended with {self.process.returncode}: {self.said}"
            assert time.monotonic() < deadline, self.said
            time.sleep(0.02)

    def processes(self):
        """Id -> parent, rank of each process that lives; what has none written is the first rank, or torchrun."""
        found = {}
        for path in Path("/proc").glob("[0-9]*"):
            try:
                fields = (path / "stat").read_text().rpartition(")")[2].split()
                variables = dict(each.split(b"=", 1) for each in (path / "environ").read_bytes().split(b"\0") if each)
            except (OSError, ValueError):  # it has just ended, or begins
                continue
            if fields[0] not in "ZX" and variables.get(MARK.encode()) == self.mark.encode():
                found[int(path.name)] = (int(fields[1]), variables.get(b"LOCAL_RANK", b"").decode())
        return found

    def rank(self, number):
        """Process id of a rank."""
        if number == 0 and self.is_rank:
            return self.process.pid
        of = [
            id for id, (parent, rank) in self.processes().items() if parent == self.process.pid and rank == str(number)
        ]
        (process,) = of
        return process

    def ends(self, seconds):
        """Whether all processes end within some seconds."""
        deadline = time.monotonic() + seconds
        while (living := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.02)
        return not living

    def close(self):
        """End all processes, whatever the test found."""
        for process in self.processes():
            os.kill(process, signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def start(tmp_path):
    """Start `salt`, on two ranks where a launcher is named."""
    (tmp_path / "seen.py").write_text(SEEN)
    runs = []

    def run(launcher, *arguments, ranks=2, **environment):
        quiet = ["--trainer.enable_progress_bar=false"]
        several = ["--trainer.accelerator=cpu", f"--trainer.devices={ranks}"] if ranks else []
        command = [*LAUNCHERS[launcher], *map(str, arguments), *several, *quiet]
        runs.append(Ranks(tmp_path, command, environment))
        return runs[-1]

    yield run
    for each in runs:
        each.close()
