"""Sweeps of tiny trainings on the packaged sample, and studies without any."""

import os
import signal
import subprocess
import sys
import time

import pytest
import yaml

from salt.sweeps.folder import write_plan
from salt.sweeps.plan import Plan
from salt.sweeps.study import Study

TINY = ["--config=simple.yaml", "--trainer.max_epochs=1", "--trainer.limit_train_batches=2"]
"""Arguments of a training of seconds."""

SPACE = {"model.lrs_config.max": {"low": 1e-4, "high": 1e-2, "log": True}, "data.batch_size": [250, 500]}


@pytest.fixture
def space(tmp_path, monkeypatch):
    """Write a space, and be where it is."""
    monkeypatch.chdir(tmp_path)

    def write(**content):
        (tmp_path / "space.yaml").write_text(yaml.safe_dump({"parameters": SPACE, **content}))
        return "space.yaml"

    return write


@pytest.fixture
def plan(tmp_path):
    """A plan; some of it may be said otherwise."""

    def make(**changes):
        facts = {"name": "toy", "method": "random", "objective": "val/loss", "direction": "min", "parameters": SPACE}
        more = {"trials": 3, "prune": "off", "seed": 42, "arguments": tuple(TINY), "directory": str(tmp_path)}
        return Plan(**{**facts, **more, **changes})

    return make


@pytest.fixture
def study(tmp_path, plan):
    """The study of a plan, in the folder `sweep`; opened again each time."""

    def make(**changes):
        folder = tmp_path / "sweep"
        if not folder.is_dir():
            folder.mkdir()
            write_plan(folder, plan(**changes).content())
        return Study(folder)

    return make


class Worker:
    """A `salt sweep` in a process of its own, which can be killed, with all that it has started."""

    def __init__(self, folder, arguments, **environment):
        self.output = folder / f"worker-{time.monotonic_ns()}.log"
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "salt", "sweep", *arguments],
                cwd=folder,
                env={**os.environ, **environment},
                stdout=output,
                stderr=output,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
            )

    @property
    def said(self):
        return self.output.read_text(errors="replace")

    def ended(self, seconds=200):
        """Its exit code."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            pytest.fail(f"still at work after {seconds} s: {self.said}")

    def wait_for(self, file, text, seconds=120):
        """Wait until a file has this text."""
        deadline = time.monotonic() + seconds
        while not file.is_file() or text not in file.read_text(errors="replace"):
            assert self.process.poll() is None, f"ended before {text!r}: {self.said}"
            assert time.monotonic() < deadline, f"no {text!r} in {file}: {self.said}"
            time.sleep(0.05)


@pytest.fixture
def work(tmp_path):
    """Start a worker in the test's folder."""
    workers = []

    def start(*arguments, **environment):
        workers.append(Worker(tmp_path, arguments, **environment))
        return workers[-1]

    yield start
    for worker in workers:
        if worker.process.poll() is None:
            worker.process.kill()  # its trial ends with it
            worker.process.wait()
