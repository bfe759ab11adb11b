"""Runs of upstream's program of many kinds, evaluated by ours with the config that was saved: the same scores."""

import shutil
from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401 (registers LZ4, in which upstream writes)
import numpy as np
import pytest

pytestmark = [pytest.mark.peers, pytest.mark.slow]

TOLERANCE = 2e-6
CONFIGS = Path(__file__).parent / "upstream_runs"
KINDS = {
    "edges": ["edges"],
    "parameters that are inputs": ["parameters"],
    "parameters that transform features": ["parameters", "featurewise"],
    "variables of jets, and two streams": ["variables"],
    "regression": ["regression"],
}
PREDICTED = ("GNN_", "gaussian_")
"""How names of columns begin that a model has filled; Gaussians have their task's."""


@pytest.fixture
def upstreams(run_against_peer, tmp_path):
    """Have upstream train and test a kind of model: paths."""

    def made(kind):
        files = [CONFIGS / f"{name}.yaml" for name in ("base", *KINDS[kind])]
        configs = [argument for file in files for argument in ("--config", file)]
        return run_against_peer("upstream_run.py", tmp_path / "upstream", "--generate", *configs)

    return made


def tables(path):
    with h5py.File(path) as file:
        return {name: dataset[:] for name, dataset in file.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_of_upstreams_has_the_same_scores_here(salt, upstreams, tmp_path, kind):
    theirs = upstreams(kind)
    run = shutil.copytree(theirs["run"], tmp_path / "run", ignore=shutil.ignore_patterns("*.h5"))
    checkpoint = run / "ckpts" / Path(theirs["checkpoint"]).name
    answer = salt("test", "--config", run / "config.yaml", "--ckpt_path", checkpoint)
    assert answer.code == 0, answer.err
    ours, expected = tables(run / "ckpts" / Path(theirs["evaluation"]).name), tables(theirs["evaluation"])
    assert {stream: table.dtype for stream, table in ours.items()} == {s: table.dtype for s, table in expected.items()}
    for stream, table in expected.items():
        for name in table.dtype.names:
            assert_same(ours[stream], table, name)


def assert_same(ours, expected, name):
    """Compare a column; jets differ in what is predicted for them."""
    a, b = ours[name], expected[name]
    if name == "VertexIndex":  # theirs is a cast of -inf where there is no track
        assert np.array_equal(a, np.where(ours["valid"], b, -1))
    elif name.startswith(PREDICTED):
        assert b.std() > 20 * TOLERANCE, f"{name} says the same of all"
        assert (np.abs(a - b) / np.maximum(np.abs(b), 1)).max() < TOLERANCE, name
    else:
        assert np.array_equal(a, b, equal_nan=a.dtype.kind == "f"), name
