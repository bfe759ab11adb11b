"""Runs of the program in processes of their own, which can be watched, killed, and looked for afterwards."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
import pytest

SAMPLE = Path(__file__).parent.parent.parent / "salt" / "configs" / "sample.h5"

MARK = "SALT_KILL_TEST"
"""Environment variable by which the processes of a run are known."""

COPIES = {"train": 40, "val": 10}
"""How often the jets of the sample are repeated, so that building and copying take a while."""


@pytest.fixture(scope="session")
def jets(tmp_path_factory):
    """A folder with files that take longer to read than the sample, and the dictionaries."""
    folder = tmp_path_factory.mktemp("jets")
    for name, copies in COPIES.items():
        with h5py.File(SAMPLE) as source, h5py.File(folder / f"{name}.h5", "w") as target:
            for key in source:
                records = np.concatenate([source[key][:]] * copies)
                chunks = (1000, *records.shape[1:])
                target.create_dataset(key, data=records, chunks=chunks, **hdf5plugin.LZ4()).attrs.update(
                    source[key].attrs
                )
    for name in ("norm_dict.yaml", "class_dict.yaml"):
        shutil.copy(SAMPLE.with_name(name), folder)
    return folder


def not_ignoring_signals():
    """What is started in the background of a script ignores Ctrl-C, and so do its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


class Run:
    """A `salt fit`.

    Parameters
    ----------
    folder : Path
        Where it runs; what it says is written there.
    options : list[str]
        Beyond those that all have.
    """

    def __init__(self, folder, options):
        self.mark = uuid.uuid4().hex
        self.output = folder / f"output-{self.mark}"
        command = [sys.executable, "-m", "salt", "fit", *options]
        environment = {**os.environ, MARK: self.mark, "PYTHONUNBUFFERED": "1"}
        with self.output.open("wb") as output:
            streams = {"stdout": output, "stderr": output}
            self.process = subprocess.Popen(
                command, cwd=folder, env=environment, **streams, start_new_session=True, preexec_fn=not_ignoring_signals
            )

    @property
    def said(self):
        return self.output.read_text(errors="replace")

    def wait_for(self, pattern, seconds=60):
        """Wait until it says something."""
        deadline = time.monotonic() + seconds
        while not re.search(pattern, self.said):
            assert self.process.poll() is None, f"ended with {self.process.returncode} before {pattern}: {self.said}"
            assert time.monotonic() < deadline, f"never said {pattern}: {self.said}"
            time.sleep(0.002)

    def processes(self):
        """Ids of its processes that live."""
        return [int(path.name) for path in Path("/proc").glob("[0-9]*") if self._is_ours(path)]

    def _is_ours(self, path):
        try:
            is_dead = (path / "stat").read_text().rpartition(")")[2].split()[0] in "ZX"
            return not is_dead and f"{MARK}={self.mark}".encode() in (path / "environ").read_bytes()
        except OSError:  # it has just ended
            return False

    def ends(self, seconds):
        """Whether all of its processes end within some seconds."""
        deadline = time.monotonic() + seconds
        while (living := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.01)
        return not living

    def kill(self):
        """End all of its processes, whatever the test found."""
        for process in self.processes():
            os.kill(process, signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def fit(jets, tmp_path):
    """Start a `salt fit` on files in the folder `data`, in the test's own folder."""
    (tmp_path / "data").mkdir()
    for source in jets.iterdir():
        os.link(source, tmp_path / "data" / source.name)
    runs = []

    def start(*options, base=True):
        """With `base`, simple.yaml on those files; else the options say all."""
        names = {"train_file": "train.h5", "val_file": "val.h5", "norm_dict": "norm_dict.yaml"}
        files = [f"--data.{key}=data/{name}" for key, name in names.items()]
        more = ["--data.class_dict=data/class_dict.yaml", "--data.batch_size=500"]
        first = ["--config=simple.yaml", *files, *more] if base else []
        runs.append(Run(tmp_path, [*first, *options]))
        return runs[-1]

    yield start
    for run in runs:
        run.kill()
