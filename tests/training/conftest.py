"""A small model with all that draws random numbers: dropout of layers and of attention, noise, an exact shuffle."""

import lightning
import pytest
import torch

from salt.cli.files import PACKAGED
from salt.data import SaltDataModule
from salt.data.transforms import GaussianNoise
from salt.models import ClassificationTask, GlobalAttentionPooling, SaltModel, Transformer
from salt.training.module import SaltModule
from salt.training.rates import LRSConfig
from salt.types import Schema

SCHEMA = Schema({"jets": ["pt_btagJes", "eta_btagJes"], "tracks": ["d0", "z0SinTheta", "lifetimeSignedD0Significance"]})
NOISE = {"tracks": [{"variable": "d0", "mean": 0.0, "std": 0.3}]}
QUIET = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)


@pytest.fixture
def random_module():
    """Makes a module whose training draws random numbers, from the same weights each time."""
    return _module


def _module(**options):
    torch.manual_seed(1)
    dense = {"output_size": 8, "hidden_layers": [8], "dropout": 0.2}
    encoder = Transformer(1, 8, attn_kwargs={"num_heads": 2, "dropout": 0.2}, dense_kwargs={"dropout": 0.2})
    task = ClassificationTask("jets_classification", "jets", "flavour_label", {"input_size": 8, "output_size": 4})
    model = SaltModel(
        SCHEMA,
        [{"input_name": "tracks", "dense_config": dense}],
        torch.nn.ModuleList([task]),
        encoder=encoder,
        pool_net=GlobalAttentionPooling(8),
    )
    rates = LRSConfig(initial=1e-4, max=1e-2, end=1e-4)
    return SaltModule(
        model, **{"lrs_config": rates, "norm_dict": PACKAGED / "norm_dict.yaml", "ema_decay": 0.9} | options
    )


@pytest.fixture
def random_data():
    """Makes 600 jets in 6 batches, exactly shuffled, with noise."""
    return _data


def _data(**options):
    sample = str(PACKAGED / "sample.h5")
    few = {"num_train": 600, "num_val": 300, "batch_size": 100, "seed": 3, "shuffle": "exact"}
    labels = {"jets": ["flavour_label"]}
    return SaltDataModule(
        SCHEMA.variables, sample, sample, labels=labels, **few | {"transforms": [GaussianNoise(NOISE)]} | options
    )


@pytest.fixture
def make_trainer(tmp_path):
    """Makes a trainer of three epochs that says nothing."""

    def make(*callbacks, **options):
        few = {"max_epochs": 3, "num_sanity_val_steps": 1, "accelerator": "cpu", "devices": 1}
        return lightning.Trainer(default_root_dir=tmp_path, callbacks=list(callbacks), **QUIET | few | options)

    return make
