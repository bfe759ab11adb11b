"""A run that stops and goes on ends as one that never stopped: to the last bit, from wherever it was saved."""

import logging
import random
from collections.abc import Mapping

import lightning
import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger

from tests.training.conftest import random_data, random_module

MOMENTS = (
    "on_train_start",
    "on_train_epoch_start",
    "on_train_batch_start",
    "on_train_batch_end",
    "on_validation_start",
    "on_validation_end",
    "on_train_epoch_end",
)


class Saver(lightning.Callback):
    """Saves at each of these moments, as moment-epoch-step of the run."""

    def __init__(self, folder, moments=MOMENTS):
        self.folder = folder
        for moment in moments:
            setattr(self, moment, lambda trainer, *_, moment=moment: self.save(trainer, moment))

    def save(self, trainer, moment):
        if not trainer.sanity_checking:
            trainer.save_checkpoint(self.folder / f"{moment}-{trainer.current_epoch}-{trainer.global_step}.ckpt")


class Losses(lightning.Callback):
    """The loss of each step, and what was logged at the end of validations and epochs."""

    def __init__(self):
        self.seen = {}

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        self.seen["step", trainer.current_epoch, batch_idx] = outputs["loss"].item(), batch.index.tolist()

    def on_validation_end(self, trainer, module):
        if not trainer.sanity_checking:
            metrics = {name: value.item() for name, value in trainer.callback_metrics.items() if "val/" in name}
            self.seen["validation", trainer.current_epoch, trainer.global_step] = metrics

    def on_train_epoch_end(self, trainer, module):
        self.seen["epoch", trainer.current_epoch] = trainer.callback_metrics["train/loss_epoch"].item()


def flat(state, prefix=""):
    """Dotted key -> what a checkpoint holds there, but for what tells one run from another."""
    if isinstance(state, Mapping | list | tuple):
        items = state.items() if isinstance(state, Mapping) else enumerate(state)
        return {key: value for name, inner in items for key, value in flat(inner, f"{prefix}.{name}").items()}
    return {prefix: state}


def differing(one, other):
    """Keys under which two checkpoints differ."""
    kept = ("epoch", "global_step", "state_dict", "optimizer_states", "lr_schedulers", "salt", "SaltDataModule")
    one, other = (flat({key: checkpoint[key] for key in kept}) for checkpoint in (one, other))
    same = {key for key in one.keys() & other.keys() if torch.equal(*map(torch.as_tensor, (one[key], other[key])))} if (
        all(not isinstance(value, str | None) for value in one.values())
    ) else {key for key in one.keys() & other.keys() if equal(one[key], other[key])}
    return sorted((one.keys() | other.keys()) - same)


def equal(one, other):
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other
