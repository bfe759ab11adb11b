"""A checkpoint with a program in it runs nothing, whoever reads it."""

import contextlib

import pytest
import torch

from salt.training import checkpoints, foreign
from salt.training.weights import read_weights
from tests.training.hostile import FILES, OBJECTS, with_object


@pytest.fixture
def made(tmp_path):
    return tmp_path / "made"


@pytest.fixture
def file(tmp_path):
    return tmp_path / "evil.ckpt"


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.filterwarnings("ignore")
def test_the_files_are_what_they_are_said_to_be(kind, made, file):
    FILES[kind](made, file)
    assert not made.exists()
    with contextlib.suppress(Exception):
        torch.load(file, weights_only=False)
    assert made.exists()


@pytest.mark.parametrize("kind", FILES)
def test_reading_runs_nothing(kind, made, file):
    FILES[kind](made, file)
    for read in (foreign.read, checkpoints.read, read_weights, checkpoints.facts):
        with contextlib.suppress(ValueError):
            read(str(file))
        assert not made.exists()


@pytest.mark.parametrize("kind", OBJECTS)
def test_the_weights_beside_it_are_read(kind, made, file):
    with_object(kind, made, file, state_dict={"model.a": torch.arange(2.0)})
    assert read_weights(file)["model.a"].tolist() == [0, 1]
    assert not made.exists()
