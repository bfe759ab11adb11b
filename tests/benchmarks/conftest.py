import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
PEER = Path(os.environ.get("PEER_VENV") or ROOT / ".peer-venv") / "bin" / "python"


@pytest.fixture(scope="session")
def run_benchmark():
    """Run a script of benchmarks/ with these arguments and --json, to what it prints."""

    def run(script, *arguments):
        command = [sys.executable, ROOT / "benchmarks" / script, "--json", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.fixture(scope="session")
def peer_python():
    """The interpreter of upstream's environment."""
    if not PEER.exists():
        reason = f"{PEER} is missing: run benchmarks/peers/setup"
        if os.environ.get("SALT_CI") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return PEER


@pytest.fixture(scope="session")
def run_upstream(peer_python):
    """Run a script of this folder in upstream's environment, with these files."""

    def run(script, *paths):
        command = [peer_python, "-P", Path(__file__).with_name(script), *paths]
        done = subprocess.run(command, cwd=paths[0].parent, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr

    return run


@pytest.fixture(scope="session")
def ask_upstream(run_upstream, tmp_path_factory):
    """What a script of this folder, in upstream's environment, answers to these cases."""

    def ask(script, cases):
        folder = tmp_path_factory.mktemp("upstream")
        torch.save(cases, folder / "cases.pt")
        run_upstream(script, folder / "cases.pt", folder / "answers.pt")
        return torch.load(folder / "answers.pt", weights_only=True)

    return ask


@pytest.fixture(scope="session")
def run_against_peer(run_benchmark, peer_python):
    """The same, for scripts that need upstream's environment."""
    return lambda script, *arguments: run_benchmark(script, "--peer-python", peer_python, *arguments)
