"""The cluster that the tests of this folder share."""

import os

import pytest

from tests.slurm.cluster import Cluster, missing


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
