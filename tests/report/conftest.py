"""A toy run directory: jets whose b tracks are displaced, and a tagger that is better than their impact parameters."""

import csv
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml

SLOTS = 40
ORIGINS = ("Pileup", "Fake", "Primary", "FromB", "FromBC", "FromC", "FromTau", "OtherSecondary")
CLASSES = ["bjets", "cjets", "ujets", "taujets"]
CONE_LABELS = np.array([5, 4, 0, 15])
FLOATS = ["lifetimeSignedD0Significance", "lifetimeSignedZ0SinThetaSignificance"]
HITS = [
    "numberOfInnermostPixelLayerHits",
    "numberOfNextToInnermostPixelLayerHits",
    "numberOfInnermostPixelLayerSharedHits",
    "numberOfInnermostPixelLayerSplitHits",
    "numberOfPixelSharedHits",
    "numberOfSCTSharedHits",
]
JET_TYPE = np.dtype(
    [("pt_btagJes", "f4"), ("eta_btagJes", "f4"), ("flavour_label", "i4"), ("HadronConeExclTruthLabelID", "i4")]
)
TRACK_TYPE = np.dtype(
    [(name, "f4") for name in FLOATS]
    + [(name, "u1") for name in HITS]
    + [("ftagTruthOriginLabel", "i4"), ("ftagTruthVertexIndex", "i4"), ("valid", "?")]
)


def make_jets(num_jets, generator):
    """Jets and tracks of the test or training file; every fiftieth jet has no track."""
    flavour = generator.choice(4, size=num_jets, p=[0.32, 0.12, 0.54, 0.02])
    jets = np.zeros(num_jets, JET_TYPE)
    jets["pt_btagJes"] = 1000 * (20 + generator.exponential(45, num_jets))
    jets["eta_btagJes"] = generator.uniform(-2.5, 2.5, num_jets)
    jets["flavour_label"] = flavour
    jets["HadronConeExclTruthLabelID"] = CONE_LABELS[flavour]
    tracks = np.zeros((num_jets, SLOTS), TRACK_TYPE)
    num_tracks = np.minimum(generator.poisson(7, num_jets), SLOTS)
    num_tracks[::50] = 0
    real = np.arange(SLOTS) < num_tracks[:, None]
    displaced_share = np.array([0.5, 0.3, 0.0, 0.4])[flavour]
    displaced = generator.random(real.shape) < displaced_share[:, None]
    pile_up = ~displaced & (generator.random(real.shape) < 0.15)
    flight = generator.exponential(np.array([7.0, 3.0, 0.0, 3.0])[flavour])[:, None]
    d0 = generator.normal(0, 1.1, real.shape) + displaced * flight * generator.exponential(1, real.shape)
    z0 = generator.normal(0, 1.1, real.shape) + displaced * flight * generator.normal(0.3, 0.6, real.shape)
    z0 = np.where(pile_up, generator.normal(0, 40, real.shape), z0)
    tracks["lifetimeSignedD0Significance"] = np.where(real, d0, np.nan)
    tracks["lifetimeSignedZ0SinThetaSignificance"] = np.where(real, z0, np.nan)
    for name, probability in zip(HITS, (0.9, 0.95, 0.05, 0.05, 0.08, 0.1), strict=True):
        tracks[name] = real & (generator.random(real.shape) < probability)
    secondary = np.array([3, 5, 7, 6])[flavour][:, None]
    origin = np.where(displaced, secondary, np.where(pile_up, 0, 2))
    tracks["ftagTruthOriginLabel"] = np.where(real, origin, -1)
    tracks["ftagTruthVertexIndex"] = np.where(real, np.where(displaced, 1, np.where(pile_up, -2, 0)), -1)
    tracks["valid"] = real
    return jets, tracks


def extended(array, columns):
    """The structured array with more columns."""
    wider = np.zeros(array.shape, np.dtype(array.dtype.descr + [(name, values.dtype.str) for name, values in columns]))
    for name in array.dtype.names:
        wider[name] = array[name]
    for name, values in columns:
        wider[name] = values
    return wider


def predictions(jets, tracks, generator):
    """Columns that a tagger called toy adds to the jets and to the tracks."""
    shown = np.where(tracks["valid"], np.nan_to_num(tracks["lifetimeSignedD0Significance"]), 0)
    pull = 0.5 * np.log1p(np.clip(np.sort(shown)[:, -3:].sum(axis=1), 0, None))
    hint = np.array([2.2, 0.6, 0.0, 0.6])[jets["flavour_label"]] + generator.normal(0, 1.0, len(jets))
    logits = np.stack([3.5 * pull + 2 * hint - 7, 1.5 * pull + hint - 3, np.zeros(len(jets)), np.full(len(jets), -4.0)])
    scores = (np.exp(logits) / np.exp(logits).sum(axis=0)).astype("f4")
    truth = tracks["ftagTruthOriginLabel"]
    guess = generator.dirichlet(np.ones(8), truth.shape) + 0.35 * (truth[..., None] == np.arange(8))
    guess = np.where(tracks["valid"][..., None], guess / guess.sum(axis=-1, keepdims=True), 0).astype("f4")
    vertex = np.where(generator.random(truth.shape) < 0.8, tracks["ftagTruthVertexIndex"], np.arange(SLOTS))
    track_columns = [(f"toy_p{name}", guess[..., i]) for i, name in enumerate(ORIGINS)]
    track_columns += [("VertexIndex", np.where(tracks["valid"], vertex, -1).astype("i1")), ("mask", ~tracks["valid"])]
    return [(f"toy_{p}", scores[i]) for i, p in enumerate(("pb", "pc", "pu", "ptau"))], track_columns


def write_file(file, jets, tracks, process="ttbar"):
    """An HDF5 file of the field."""
    with h5py.File(file, "w") as handle:
        handle.attrs["process"] = process
        handle["jets"] = jets
        handle["jets"].attrs["flavour_label"] = CLASSES
        if tracks is not None:
            handle.create_dataset("tracks", data=tracks, compression="gzip", compression_opts=1, chunks=(100, SLOTS))


def write_record(file, num_epochs=4, steps_in_epoch=50):
    """The CSV of Lightning's logger, with its holes."""
    names = ["epoch", "step", "lr-AdamW", "train/jets_classification_loss", "train/loss", "train/track_origin_loss"]
    names += ["val/jets_classification_loss", "val/loss", "val/track_origin_loss"]
    with file.open("w", newline="") as lines:
        writer = csv.DictWriter(lines, names)
        writer.writeheader()
        for step in range(num_epochs * steps_in_epoch):
            epoch, done = step // steps_in_epoch, (step + 1) / steps_in_epoch
            if (step + 1) % 2 == 0:
                writer.writerow({"epoch": epoch, "step": step, "lr-AdamW": 5e-4 * np.sin(np.pi * done / num_epochs)})
                writer.writerow({"epoch": epoch, "step": step} | losses("train", done, 0.05 * np.sin(40.0 * step)))
            if (step + 1) % steps_in_epoch == 0:
                writer.writerow({"epoch": epoch, "step": step} | losses("val", done, 0.02))


def losses(stage, done, offset):
    """Losses that fall with the epochs done."""
    jets, origins = 0.5 + 0.5 / (1 + done) + offset, 0.8 + 0.6 / (1 + 2 * done) + offset
    found = {"jets_classification_loss": jets, "track_origin_loss": origins, "loss": jets + 0.5 * origins}
    return {f"{stage}/{name}": value for name, value in found.items()}


def make_run(directory, num_jets=6000, num_training_jets=8000):
    """A tested run in ``directory/toy_20260102-030405`` with its files beside it."""
    generator = np.random.default_rng(7)
    directory.mkdir(parents=True, exist_ok=True)
    write_file(directory / "pp_output_train.h5", *make_jets(num_training_jets, generator))
    jets, tracks = make_jets(num_jets, generator)
    write_file(directory / "pp_output_test.h5", jets, tracks)
    run = directory / "toy_20260102-030405"
    (run / "ckpts").mkdir(parents=True)
    jet_columns, track_columns = predictions(jets, tracks, generator)
    file = run / "ckpts" / "epoch=003-val_loss=0.61000__test_pp_output_test.h5"
    write_file(file, extended(jets, jet_columns), extended(tracks, track_columns))
    config = {
        "name": "toy",
        "seed_everything": 42,
        "data": {
            "train_file": str(directory / "pp_output_train.h5"),
            "test_file": "pp_output_test.h5",
            "variables": {"jets": ["pt_btagJes", "eta_btagJes"], "tracks": [*FLOATS, *HITS]},
            "batch_size": 1000,
            "num_train": num_training_jets,
        },
        "trainer": {"max_epochs": 4},
    }
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    (run / "metadata.yaml").write_text(yaml.safe_dump({"num_train": num_training_jets, "trainable_params": 123456}))
    write_record(run / "metrics.csv")
    return run


@pytest.fixture(scope="session")
def toy_run(tmp_path_factory) -> Path:
    """A tested run, read only: tests that change something copy it or write elsewhere."""
    return make_run(tmp_path_factory.mktemp("toy"))


@pytest.fixture
def own_run(tmp_path) -> Path:
    """A small tested run of a test's own, to break."""
    return make_run(tmp_path, num_jets=1200, num_training_jets=1500)


@pytest.fixture
def edit():
    """A function that rewrites a dataset of a file through ``change(array)``; None removes it."""

    def apply(file, name, change):
        with h5py.File(file, "r+") as handle:
            attributes = dict(handle[name].attrs)
            changed = change(handle[name][()])
            del handle[name]
            if changed is not None:
                handle[name] = changed
                handle[name].attrs.update(attributes)

    return apply
