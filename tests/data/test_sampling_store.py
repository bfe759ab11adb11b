"""`data.sampling` and `data.fold` from the file to the batches, on jets like those of ttbar and Z'."""

import logging

import h5py
import numpy as np
import pytest
import torch

from salt.data import SaltDataModule
from salt.data.order import MODES

NUM_JETS = 40_000
FLAVOURS = {"bjets": 5, "cjets": 4, "ujets": 0}
PT = np.r_[np.linspace(20_000, 250_000, 9), np.linspace(250_000, 1_000_000, 6)[1:]]  # [MeV]
ETA = np.linspace(0, 2.5, 4)
SAMPLING = {
    "label": "flavour",
    "classes": FLAVOURS,
    "method": "countup",
    "variables": {
        "pt": {"bins": [[20_000, 250_000, 8], [250_000, 1_000_000, 5]]},
        "abs(eta)": {"bins": [[0, 2.5, 3]]},
    },
}
LABELS = {"jets": ["flavour", "jetFoldHash"]}


def jets_of(generator, shares, pt, width):
    """Jets of one process: shares of b, c and light jets, and taus; spectrum in pt [MeV], gaussian in eta."""
    jets = np.zeros(len(pt), [("pt", "f4"), ("eta", "f4"), ("flavour", "i1"), ("jetFoldHash", "u4")])
    jets["pt"], jets["flavour"] = pt, generator.choice([5, 4, 0, 15], len(pt), p=shares)
    jets["eta"] = generator.normal(0, width, len(pt))
    jets["jetFoldHash"] = generator.integers(0, 2**32, len(pt))
    return jets


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """First the jets of ttbar, whose spectrum falls, then those of Z', flat up to 1.1 TeV, with other flavours."""
    generator = np.random.default_rng(4)
    soft = 20_000 + generator.exponential(60_000, NUM_JETS // 2)
    hard = generator.uniform(20_000, 1_100_000, NUM_JETS // 2)
    ttbar = jets_of(generator, [0.4, 0.1, 0.45, 0.05], soft, 1.2)
    jets = np.concatenate([ttbar, jets_of(generator, [0.3, 0.3, 0.35, 0.05], hard, 0.9)])
    path = tmp_path_factory.mktemp("mixture") / "train.h5"
    with h5py.File(path, "w") as file:
        file["jets"] = jets
    return path


@pytest.fixture
def data_of(file):
    opened = []

    def make(**options):
        data = SaltDataModule(
            {"jets": ["pt", "eta"]}, str(file), batch_size=1000, labels=LABELS, **{"seed": 1} | options
        )
        data.setup("fit")
        opened.append(data)
        return data

    yield make
    for data in opened:
        data.teardown("fit")


def epoch(loader):
    """Jets of an epoch: their numbers, and what the batches say of them."""
    batches = list(loader)
    return {
        "jets": torch.cat([batch.index for batch in batches]).numpy(),
        "pt": torch.cat([batch.inputs["jets"][:, 0] for batch in batches]).numpy(),
        "eta": torch.cat([batch.inputs["jets"][:, 1] for batch in batches]).numpy(),
        **{label: torch.cat([batch.labels["jets"][label] for batch in batches]).numpy() for label in LABELS["jets"]},
    }


def numbers(of, bins=(PT, ETA)):
    """(3, K) jets of each class in each bin."""
    places = [of["flavour"] == value for value in FLAVOURS.values()]
    return np.array([np.histogram2d(of["pt"][here], np.abs(of["eta"][here]), bins)[0].ravel() for here in places])


def test_the_mixture_is_not_flat_before(data_of):
    of = epoch(data_of().train_dataloader())
    assert len(of["jets"]) == NUM_JETS
    shares = numbers(of) / numbers(of).sum(0)
    assert np.ptp(shares, axis=1).max() > 0.15
    assert (of["flavour"] == 15).sum() > 1000


@pytest.mark.parametrize("mode", ["auto", *MODES])
@pytest.mark.parametrize("store", [True, False])
def test_countup_is_flat_in_each_bin_and_has_no_jet_twice(data_of, mode, store):
    loader = data_of(sampling=SAMPLING, shuffle=mode, store=store, window_jets=5000).train_dataloader()
    first, second = epoch(loader), epoch(loader)
    counts = numbers(first)
    assert (counts[0] == counts[1]).all()
    assert (counts[0] == counts[2]).all()
    assert (counts[0] > 0).all()
    assert counts.sum() == len(first["jets"])  # no taus, none outside of the bins
    assert len(np.unique(first["jets"])) == len(first["jets"]) > 10_000
    assert set(first["jets"]) == set(second["jets"])
    assert (first["jets"].tolist() == second["jets"].tolist()) == (mode == "none")


def test_countup_is_flat_to_statistics_between_the_edges_of_the_bins(data_of):
    of = epoch(data_of(sampling=SAMPLING).train_dataloader())
    counts = numbers(of, (np.geomspace(22_000, 900_000, 25), np.linspace(0, 2.5, 7)))
    full = counts[:, counts.sum(0) > 60]
    mean = full.mean(0)
    chi2 = ((full - mean) ** 2 / mean).sum() / (2 * full.shape[1])
    assert full.shape[1] > 60
    assert chi2 < 1.4


def test_the_jets_are_those_of_the_file(data_of, file):
    of = epoch(data_of(sampling=SAMPLING).train_dataloader())
    with h5py.File(file) as opened:
        jets = opened["jets"][:][of["jets"]]
    for name in ("pt", "eta", "flavour", "jetFoldHash"):
        assert (of[name] == jets[name]).all()


def test_all_jets_of_the_rarest_class_of_each_bin_are_used(data_of):
    available = numbers(epoch(data_of().train_dataloader()))
    assert (numbers(epoch(data_of(sampling=SAMPLING).train_dataloader()))[0] == available.min(0)).all()


def test_the_choice_depends_on_the_seed_alone(data_of):
    chosen = [set(epoch(data_of(sampling=SAMPLING, seed=seed).train_dataloader())["jets"]) for seed in (1, 1, 2)]
    assert chosen[0] == chosen[1] != chosen[2]


@pytest.mark.parametrize("k", [2, 4])
def test_folds_are_disjoint_and_complete(data_of, k):
    trained = []
    for use in range(k):
        of = epoch(data_of(fold={"variable": "jetFoldHash", "k": k, "use": use}).train_dataloader())
        assert (of["jetFoldHash"] % k != use).all()
        assert len(np.unique(of["jets"])) == len(of["jets"])
        trained.append(set(of["jets"].tolist()))
    left_out = [set(range(NUM_JETS)) - jets for jets in trained]
    assert sum(map(len, left_out)) == NUM_JETS
    assert set.union(*left_out) == set(range(NUM_JETS))
    assert all(len(jets) == pytest.approx(NUM_JETS / k, rel=0.05) for jets in left_out)


def test_a_fold_is_tested_by_the_training_that_has_not_seen_it(data_of, file):
    fold = {"variable": "jetFoldHash", "k": 4, "use": 1}
    trained = set(epoch(data_of(fold=fold).train_dataloader())["jets"].tolist())
    data = SaltDataModule({"jets": ["pt", "eta"]}, test_file=str(file), fold=fold, sampling=SAMPLING)
    data.setup("test")
    tested = torch.cat([batch.index for batch in data.test_dataloader()]).tolist()
    data.teardown("test")
    assert set(tested) == set(range(NUM_JETS)) - trained
    assert tested == sorted(tested)


def test_a_sampled_fold_is_flat_too(data_of):
    of = epoch(data_of(sampling=SAMPLING, fold={"variable": "jetFoldHash", "k": 4, "use": 3}).train_dataloader())
    counts = numbers(of)
    assert (of["jetFoldHash"] % 4 != 3).all()
    assert (counts[0] == counts[1]).all()
    assert (counts[0] == counts[2]).all()


def test_what_was_chosen_is_logged_as_a_table(data_of, caplog):
    caplog.set_level(logging.INFO)
    of = epoch(data_of(sampling=SAMPLING).train_dataloader())
    (table,) = [message for message in caplog.messages if "chosen of data.train_file" in message]
    rows = {words[0]: words[1:] for words in (line.replace(",", "").split() for line in table.splitlines()[1:])}
    everything = epoch(data_of().train_dataloader())
    for (name, value), in_bins in zip(FLAVOURS.items(), numbers(everything).sum(1), strict=True):
        there, chosen = ((each["flavour"] == value).sum() for each in (everything, of))
        assert rows[name] == [str(there), str(int(in_bins)), str(chosen), "33.3%"]
    assert rows["together"][2] == str(len(of["jets"]))


def test_sampling_needs_no_other_store_than_its_columns(data_of, file, caplog):
    data_of(sampling=SAMPLING)
    caplog.set_level(logging.INFO)
    data_of(sampling=SAMPLING | {"method": "pdf", "target": "bjets"})
    assert not any("building" in message for message in caplog.messages)
