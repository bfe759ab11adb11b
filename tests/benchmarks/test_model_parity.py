"""Whole models say what upstream's say, from the same weights, of the same jets."""

import importlib
import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch

from salt.ragged import Ragged
from salt.training.weights import check_fit, weights_in
from salt.types import Batch

pytestmark = pytest.mark.peers

ROOT = Path(__file__).parents[2]
BENCHMARKS = ROOT / "benchmarks"
SCRIPT = Path(__file__).with_name("upstream_model.py")

MODELS = ("gn2", "gn3")
NUM_JETS = 60
TOLERANCE = {torch.float32: 2e-6, torch.float64: 1e-10}


@pytest.fixture(scope="module")
def benchmarks():
    """Modules of the training-step benchmark by name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield {name: importlib.import_module(name) for name in ("models", "step", "step_worker")}


@pytest.fixture(scope="module")
def folder(peer_python, benchmarks, tmp_path_factory):
    """With a batch for each model, and what upstream's says of it."""
    folder = tmp_path_factory.mktemp("parity")
    for name in MODELS:
        arrays = benchmarks["step"].make_batch(benchmarks["models"].MODELS[name], NUM_JETS, seed=0)
        assert (arrays["lengths_tracks"] == 0).any()
        np.savez(folder / f"{name}.npz", **arrays)
    path = os.pathsep.join(map(str, (BENCHMARKS / "peers", BENCHMARKS)))
    command = [peer_python, "-P", SCRIPT, folder, *MODELS]
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, cwd=tempfile.gettempdir(), env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def loaded(benchmarks, folder, name):
    """Our model with upstream's weights, a batch in the order of the file, and what upstream says of it."""
    theirs = torch.load(folder / f"{name}.pt", weights_only=True)
    stepper = benchmarks["step_worker"].Packed(benchmarks["models"].MODELS[name], [folder / f"{name}.npz"], fused=False)
    model = torch.nn.ModuleDict({"model": stepper.model})
    weights = weights_in({"state_dict": {f"model.{key}": value for key, value in theirs["weights"].items()}}, name)
    check_fit(weights, model.state_dict(), name)
    model.load_state_dict(weights)
    return stepper, theirs


def as_in(batch, dtype):
    inputs = {
        stream: x.with_values(x.values.to(dtype)) if isinstance(x, Ragged) else x.to(dtype)
        for stream, x in batch.inputs.items()
    }
    return Batch(inputs, batch.labels, batch.index)


def tracks_in_order(batch):
    """Places in our batch of the tracks of the file, in its order."""
    ragged = batch.inputs["tracks"]
    places = [torch.arange(start, end) for start, end in zip(ragged.offsets[:-1], ragged.offsets[1:], strict=True)]
    return torch.cat([places[jet] for jet in batch.index.argsort()])


def pairs_in_order(batch):
    """The same of all ordered pairs of tracks of one jet."""
    lengths = batch.inputs["tracks"].segments.lengths
    counts = lengths * (lengths - 1)
    ends = counts.cumsum(0)
    places = [torch.arange(end - count, end) for count, end in zip(counts, ends, strict=True)]
    return torch.cat([places[jet] for jet in batch.index.argsort()])


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", MODELS)
def test_probabilities_and_losses_are_those_of_upstream(benchmarks, folder, name, dtype):
    stepper, theirs = loaded(benchmarks, folder, name)
    model, batch = stepper.model.to(dtype).eval(), as_in(stepper.batch(0), dtype)
    with torch.inference_mode():
        preds = model(batch.inputs)
        losses = stepper.losses(batch)
    ours = {
        "jets_classification": preds["jets_classification"].softmax(-1)[batch.index.argsort()],
        "track_origin": preds["track_origin"].softmax(-1)[tracks_in_order(batch)],
        "track_vertexing": preds["track_vertexing"].sigmoid()[pairs_in_order(batch)],
        **{f"loss of {task}": loss for task, loss in losses.items()},
    }
    assert ours.keys() == theirs[str(dtype)].keys()
    for output, expected in theirs[str(dtype)].items():
        assert ours[output].shape == expected.shape, output
        difference = float((ours[output] - expected).abs().max())
        assert difference < TOLERANCE[dtype] * max(1, float(expected.abs().max())), (output, difference)
