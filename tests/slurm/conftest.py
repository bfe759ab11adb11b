"""The cluster that the tests of this folder share, and trainings on it."""

import os

import pytest

from tests.slurm.cluster import Cluster, missing
from tests.slurm.training import Training


def pytest_collection_modifyitems(items):
    for item in items:
        if "tests/slurm/" in item.path.as_posix():
            item.add_marker(pytest.mark.slurm)


@pytest.fixture(scope="session")
def cluster():
    """A Slurm of its own, for as long as the tests run."""
    if absent := missing():
        reason = f"no {', '.join(absent)}: apt-get install slurm-wlm munge"
        (pytest.fail if os.environ.get("SALT_CI") == "1" else pytest.skip)(reason)
    running = Cluster()
    yield running
    running.close()


@pytest.fixture
def training(cluster, tmp_path):
    """Make a training that is submitted and disturbed; its job is cancelled after the test."""
    made = []

    def make(**options):
        folder = tmp_path / f"training{len(made)}"
        folder.mkdir()
        made.append(Training(cluster, folder, **options))
        return made[-1]

    yield make
    for each in made:
        if each.job is not None and cluster.state(each.job) in {"PENDING", "RUNNING"}:
            cluster.cancel(each.job)


@pytest.fixture(scope="session")
def undisturbed(cluster, tmp_path_factory):
    """A training of so many tasks that nobody disturbs, of which there is one in all."""
    known = {}

    def find(tasks=1):
        if tasks not in known:
            known[tasks] = Training(cluster, tmp_path_factory.mktemp("undisturbed"), tasks)
            cluster.wait(known[tasks].submit(), timeout=180)
        return known[tasks]

    return find
