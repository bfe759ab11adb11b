"""Fixtures for tests that run the program: in this process where they can, on the sample that the package ships."""

import contextlib
import importlib.util
import io
import logging
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: threads that spin starve whoever shares the cores
os.environ.update(MLFLOW_DISABLE_TELEMETRY="true", DO_NOT_TRACK="true")  # threads of loggers that ask the network

import h5py
import pytest
import yaml
from xdist.scheduler.loadscope import LoadScopeScheduling

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # so it is in what a script starts in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # ignored after nohup

OUTSIDE = tempfile.gettempdir()
"""Not inside pytest's own folders: another session could not clean up what is mounted there."""

SYS_ADMIN = 21  # linux/capability.h

SAMPLE = Path(__file__).parent.parent / "salt" / "configs" / "sample.h5"


class ByFile(LoadScopeScheduling):
    """Leaves the tests of a file to one process, for they share what is slow to make, and those of some folders."""

    def _split_scope(self, nodeid):
        file = nodeid.partition("::")[0]
        folder = file.rpartition("/")[0]
        return folder if folder in {"tests/slurm", "tests/simulate"} else file  # one cluster, one sample


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    return ByFile(config, log)


class Answer(NamedTuple):
    """What a command said."""

    code: int
    out: str
    err: str

    @property
    def error(self):
        """The error message, which has to be the last thing that was said."""
        assert self.err.count("salt: error:") == 1, self.err
        return self.err[self.err.index("salt: error:") :]


def run_salt(*arguments):
    """Run `salt` in this process."""
    from salt.cli.main import ONCE_A_NODE, main

    out, err, log = io.StringIO(), io.StringIO(), logging.getLogger("salt")
    handlers, levels = log.handlers[:], {name: logging.getLogger(name).level for name in ("salt", *ONCE_A_NODE)}
    log.handlers.clear()  # the program makes its own, for the stderr that it finds
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main([str(argument) for argument in arguments])
    except SystemExit as leave:
        code = leave.code
    finally:
        log.handlers[:] = handlers
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
    return Answer(code, out.getvalue(), err.getvalue())


@pytest.fixture
def salt(tmp_path, monkeypatch):
    """`salt` in this process, from an empty directory."""
    monkeypatch.chdir(tmp_path)
    return run_salt


@pytest.fixture
def overlay(tmp_path):
    """Write a YAML file of these keys, to be put on top of another."""

    def write(file="over.yaml", **content):
        path = tmp_path / file
        path.write_text(yaml.safe_dump(content))
        return path.name

    return write


@pytest.fixture
def dataset(tmp_path):
    """The sample and its dictionaries as the user's own files, in the folder `mine`; its datasets may be edited."""

    def make(edit=None):
        folder = tmp_path / "mine"
        folder.mkdir(exist_ok=True)
        for source in (SAMPLE, SAMPLE.with_name("norm_dict.yaml"), SAMPLE.with_name("class_dict.yaml")):
            shutil.copy(source, folder)
        if edit is not None:
            with h5py.File(folder / "sample.h5", "r+") as file:
                for name in list(file):
                    if (records := edit(name, file[name][:])) is not None:
                        attributes = dict(file[name].attrs)
                        del file[name]
                        file[name] = records
                        file[name].attrs.update(attributes)
        return folder / "sample.h5"

    return make


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory):
    """The directory of a run of two epochs of gnn.yaml on the sample, not to be written to; and what was said."""
    with contextlib.chdir(tmp_path_factory.mktemp("finished")):
        options = ["--trainer.max_epochs=2", "--trainer.log_every_n_steps=5", "--data.batch_size=250"]
        answer = run_salt("fit", "--config", "configs/gnn.yaml", *options)
        assert answer.code == 0, answer.err
        (run,) = Path("logs").absolute().iterdir()
    return run, answer


@pytest.fixture
def own_run(finished_run, tmp_path):
    """A copy of that run, whose config is the copy's own."""
    run = tmp_path / "logs" / finished_run[0].name
    shutil.copytree(finished_run[0], run)
    config = run / "config.yaml"
    config.write_text(config.read_text().replace(str(finished_run[0]), str(run)))
    return run


@pytest.fixture
def mounted():
    """Mount a disk in memory with options such as size=1m; it is gone after the test."""
    with contextlib.ExitStack() as stack:

        def make(*options):
            folder = Path(tempfile.mkdtemp(prefix="salt-test-", dir=OUTSIDE))
            stack.callback(folder.rmdir)
            mount = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", folder]
            done = subprocess.run(mount, capture_output=True, text=True, check=False)
            if done.returncode:
                is_fault = may_mount() and os.environ.get("SALT_CI") == "1"
                (pytest.fail if is_fault else pytest.skip)(f"mounting is not permitted here: {done.stderr.strip()}")
            stack.callback(subprocess.run, ["umount", "--lazy", folder], check=True)
            return folder

        yield make


def may_mount():
    """Whether this process has the right to mount: no script can install that."""
    status = Path("/proc/self/status")
    words = status.read_text().split() if status.exists() else ["CapEff:", "0"]
    return bool(int(words[words.index("CapEff:") + 1], 16) >> SYS_ADMIN & 1)


S3_NEEDS = ("s3fs", "moto.server", "flask", "flask_cors")


@pytest.fixture(scope="session")
def s3_server():
    """URL of a real S3 server on loopback."""
    missing = [name for name in S3_NEEDS if importlib.util.find_spec(name.partition(".")[0]) is None]
    if missing:
        reason = f"no {', '.join(missing)}: uv pip install 's3fs>=2024.6' 'moto[s3]>=5' flask flask-cors"
        (pytest.fail if os.environ.get("SALT_CI") == "1" else pytest.skip)(reason)
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def bucket(s3_server, monkeypatch):
    """Filesystem of the S3 server that AWS_ENDPOINT_URL names, with an empty bucket called `bucket`."""
    import s3fs

    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    s3fs.S3FileSystem.clear_instance_cache()
    filesystem = s3fs.S3FileSystem()
    filesystem.mkdir("bucket")
    yield filesystem
    s3fs.S3FileSystem.clear_instance_cache()
    filesystem.rm("bucket", recursive=True)
