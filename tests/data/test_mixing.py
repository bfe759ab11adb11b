"""Stores in a random order."""

import numpy as np
import pytest

from salt.data import mixing
from salt.data.opening import Opening
from salt.data.order import make_order
from salt.data.recipes import Options, make_recipe
from salt.types import Schema


def by_class(jets, tracks, flows):
    """Sorted by class; each track says which jet it is of."""
    jets["flavour_label"] = np.arange(len(jets)) * 4 // len(jets)
    jets["pt"] = np.arange(len(jets))
    tracks["pt"] = np.arange(len(jets))[:, None]


@pytest.fixture
def mixed(make_file, tmp_path, monkeypatch):
    monkeypatch.setattr(mixing, "BLOCK_JETS", 8)

    path, labels = make_file(num_jets=2000, change=by_class), {"jets": ["flavour_label"]}

    def make(wanted=-1):
        recipe = make_recipe(Schema({"jets": ["pt"], "tracks": ["pt"]}), labels, Options())
        return Opening(store_dir=tmp_path / "stores", is_mixed=True).open(str(path), recipe, wanted, labels, "train")

    return make


def test_each_jet_is_there_once_with_its_own_tracks(mixed):
    batch = mixed().load().gather(np.arange(2000))
    jets = batch.inputs["jets"][:, 0]
    assert sorted(jets.tolist()) == list(range(2000))
    tracks = batch.inputs["tracks"]
    assert (tracks.values[:, 0] == jets[tracks.segments.owner]).all()


def test_neighbours_are_not_those_of_the_file(mixed):
    jets = mixed().column("jets", "flavour_label")
    counts = np.array([np.bincount(part, minlength=4) for part in np.split(jets, 20)])
    chi2 = ((counts - 25.0) ** 2 / 25).sum() / (20 * 3)
    assert chi2 < 10  # in the order of the file it is 100
    assert mixed().folder.manifest.is_mixed


def test_windows_of_a_mixed_store_are_fair_samples(mixed):
    split = mixed()
    labels = split.column("jets", "flavour_label")
    order = make_order("window", 2000, 100, 1, block=20, num_blocks=25)
    counts = np.array([np.bincount(labels[batch.numpy()], minlength=4) for batch in order.batches(0)])
    chi2 = ((counts - 25.0) ** 2 / 25).sum() / (20 * 3)
    assert chi2 < 3


def test_a_mixed_store_does_not_serve_fewer_jets(mixed, caplog):
    caplog.set_level("INFO")
    mixed()
    fewer = mixed(wanted=100)
    assert "holds 2000 jets in a random order, not the first 100" in caplog.text
    assert sorted(fewer.load().gather(np.arange(100)).inputs["jets"][:, 0].tolist()) == list(range(100))
