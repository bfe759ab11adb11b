import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from salt.simulate.command import main
from salt.simulate.events import Events

JETS = ("3000", "400", "600")
# A shell starts what runs in its background with SIGINT ignored, and so would be all its children.
PROGRAM = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from salt.simulate.command import main
sys.exit(main(sys.argv[1:]))
"""


def arguments(out, workers, jets=JETS):
    return ["--jets", *jets, "--seed", "7", "--workers", str(workers), "--out", str(out)]


def start(out, workers, jets=JETS):
    """`salt simulate` in a process of its own, to be killed."""
    command = [sys.executable, "-c", PROGRAM, *arguments(out, workers, jets)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)


def wait_for(condition, seconds=120):
    """Poll until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def read(path):
    with h5py.File(path) as file:
        return {name: file[name][:] for name in file}


@pytest.fixture(scope="session")
def read_file():
    """All datasets of an HDF5 file."""
    return read


@pytest.fixture(scope="session")
def simulate_arguments():
    """Arguments of the session's sample, for a folder and a number of workers."""
    return arguments


@pytest.fixture(scope="session")
def start_simulation():
    """`salt simulate` in a process of its own."""
    return start


@pytest.fixture
def decay_chain():
    """One event: B*0 -> B0 gamma; B0 -> D- pi+; D- -> K+ pi- pi-; and a primary pi+."""
    code = np.array([513, 511, 22, -411, 211, 321, -211, -211, 211])
    zeros = np.zeros(len(code))
    return Events(
        num_events=1,
        weight=np.ones(1),
        event=np.zeros(len(code), int),
        mother=np.array([0, 0, 0, 1, 1, 3, 3, 3, 8]),
        daughter=np.arange(len(code)),
        code=code,
        status=np.array([-83, -91, 91, -91, 91, 91, 91, 91, 83]),
        px=zeros + 1,
        py=zeros,
        pz=zeros,
        energy=zeros + 10,
        x=zeros,
        y=zeros,
        z=zeros,
    )


@pytest.fixture(scope="session")
def sample(tmp_path_factory):
    """A small ttbar sample made by two workers."""
    out = tmp_path_factory.mktemp("sample")
    assert main(arguments(out, workers=2)) == 0
    return out


@pytest.fixture(scope="session")
def train(sample):
    return read(sample / "pp_output_train.h5")


@pytest.fixture(scope="session")
def resumed(tmp_path_factory):
    """The same sample made by one worker, killed after its first chunk and run again: folder, log, orphans."""
    out = tmp_path_factory.mktemp("resumed")
    process = start(out, workers=1)
    wait_for(lambda: list(out.glob(".chunks-*/chunk-*.npz")) or process.poll() is not None)
    workers = children(process.pid)
    process.kill()
    process.communicate()
    time.sleep(0.5)
    orphans = [pid for pid in workers if is_running(pid)]
    left = sorted(path.name for path in out.glob("*"))
    again = start(out, workers=1)
    log = again.communicate()[1]
    assert again.returncode == 0, log
    return {"out": out, "log": log, "workers": workers, "orphans": orphans, "left": left}
