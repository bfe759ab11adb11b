import csv
import logging
import time

import h5py
import numpy as np
import pytest
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger

from salt.callbacks import data_wait
from salt.callbacks.data_wait import DataWait
from salt.data import feeds
from salt.data.datamodule import SaltDataModule


class Sleeper(LightningModule):
    """A model whose steps take a given time."""

    def __init__(self, seconds):
        super().__init__()
        self.seconds = seconds
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch, batch_idx):
        time.sleep(self.seconds)
        return self.weight.sum()

    def validation_step(self, batch, batch_idx):
        pass

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


@pytest.fixture
def sample_file(tmp_path):
    jets = np.zeros(2000, [("pt", "f4")])
    tracks = np.zeros((2000, 5), [("d0", "f4"), ("valid", "?")])
    tracks["valid"][:, :3] = True
    with h5py.File(tmp_path / "train.h5", "w") as file:
        file["jets"], file["tracks"] = jets, tracks
    return tmp_path / "train.h5"


@pytest.fixture
def fit(tmp_path, sample_file, monkeypatch):
    """Train with slow steps or slow data; what was logged."""

    def run(step=0.0, data=0.0, **options):
        module = SaltDataModule({"jets": ["pt"], "tracks": ["d0"]}, str(sample_file), batch_size=100, **options)
        loader = module.train_dataloader

        def slow():
            made = loader()
            gather = made.feed.store.gather_all
            monkeypatch.setattr(feeds, "TOGETHER", 1)
            monkeypatch.setattr(made.feed.store, "gather_all", lambda parts: (time.sleep(data), gather(parts))[1])
            return made

        if data:
            monkeypatch.setattr(module, "train_dataloader", slow)
        logger = CSVLogger(tmp_path / "logs", "", "")
        trainer = Trainer(
            max_epochs=1,
            logger=logger,
            log_every_n_steps=5,
            callbacks=[DataWait()],
            accelerator="cpu",
            devices=1,
            limit_val_batches=0,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(Sleeper(step), datamodule=module)
        with (tmp_path / "logs" / "metrics.csv").open() as file:
            return [float(row["data_wait"]) for row in csv.DictReader(file) if row["data_wait"]], trainer

    return run


def test_slow_steps_do_not_wait(fit, caplog):
    shares, trainer = fit(step=0.02)
    assert shares[-1] < 0.3
    assert "data_wait" in trainer.progress_bar_metrics
    assert "waited" not in caplog.text


def test_slow_data_is_seen_and_told(fit, caplog, monkeypatch):
    monkeypatch.setattr(data_wait, "num_cpus", lambda: 8)
    shares, _ = fit(data=0.02)
    assert shares[-1] > 0.7
    assert "more data.num_workers than 0 may help (this process may use 8 CPUs)" in caplog.text


def test_workers_that_are_not_needed_are_told_once(fit, caplog):
    caplog.set_level(logging.INFO)
    fit(step=0.05, num_workers=1)
    assert caplog.text.count("data.num_workers: 0 would do") == 1
