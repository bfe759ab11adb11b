"""A run that stops and goes on ends as one that never stopped: to the last bit, from wherever it was saved."""

from collections.abc import Mapping

import lightning
import pytest
import torch
from lightning.pytorch.loggers import Logger

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


class Jets(lightning.Callback):
    """The jets of each batch."""

    def __init__(self):
        self.seen = {}

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        self.seen[trainer.current_epoch, batch_idx] = batch.index.tolist(), batch.inputs["tracks"].values.sum().item()


class Rows(Logger):
    """What is logged, with the step and the names that it has there."""

    name = version = "rows"

    def __init__(self):
        super().__init__()
        self.seen = {}

    def log_hyperparams(self, *args, **kwargs):
        pass

    def log_metrics(self, metrics, step=None):
        self.seen[step, *sorted(metrics)] = metrics


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
    return sorted(key for key in one.keys() | other.keys() if not equal(one.get(key), other.get(key)))


def equal(one, other):
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


@pytest.fixture
def run(make_trainer, random_module, random_data, tmp_path):
    """Train; gives the losses that were seen, and the last checkpoint."""

    def train(*callbacks, ckpt_path=None, module=(), data=(), **options):
        jets, rows = Jets(), Rows()
        trainer = make_trainer(jets, *callbacks, **{"logger": rows, "log_every_n_steps": 1} | options)
        torch.manual_seed(99)  # as a program does before it knows of a checkpoint
        trainer.fit(random_module(**dict(module)), datamodule=random_data(**dict(data)), ckpt_path=ckpt_path)
        trainer.save_checkpoint(tmp_path / "end.ckpt")
        return jets.seen | rows.seen, torch.load(tmp_path / "end.ckpt", weights_only=True)

    return train


def check_every_resumption(run, folder, moments, **options):
    """Save a run at these moments, and see that it goes on from each to the same end, seeing the same on its way."""
    seen, end = run(Saver(folder, moments), **options)
    saved = sorted(folder.glob("*-*.ckpt"))
    for path in saved:
        seen_after, end_after = run(ckpt_path=path, **options)
        assert seen_after.items() <= seen.items(), path.name
        if seen_after:
            assert differing(end, end_after) == [], path.name
        else:
            assert int(path.stem.rpartition("-")[2]) == end["global_step"], path.name
    return [path.stem for path in saved]


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "saved"
    path.mkdir()
    return path


def test_a_run_goes_on_from_any_moment_as_if_it_had_never_stopped(run, folder):
    names = check_every_resumption(run, folder, MOMENTS, max_epochs=2, data={"num_train": 300}, val_check_interval=2)
    assert len(names) == 1 + 2 * (1 + 3 + 3 + 1 + 1 + 1)


def test_a_training_with_workers_goes_on_exactly(run, folder):
    options = {"max_epochs": 2, "data": {"num_train": 200, "num_workers": 2}}
    check_every_resumption(run, folder, ("on_train_epoch_start", "on_validation_end"), **options)


BOUNDARIES = ("on_train_batch_end", "on_validation_end", "on_train_epoch_end")

TRAININGS = {
    "validation at the end of each epoch": {},
    "validation every third batch": {"check_val_every_n_epoch": None, "val_check_interval": 3},
    "validation every other epoch": {"check_val_every_n_epoch": 2},
    "no validation": {"limit_val_batches": 0},
    "so many steps": {"max_epochs": -1, "max_steps": 3},
    "steps of two batches": {"accumulate_grad_batches": 2, "data": {"num_train": 300}},
    "half of the batches": {"limit_train_batches": 2, "data": {"num_train": 400}},
    "no average": {"module": {"ema_decay": None}},
}


@pytest.mark.parametrize("training", TRAININGS)
def test_a_run_goes_on_exactly_with(training, run, folder):
    usual = {"max_epochs": 2, "data": {"num_train": 200}}
    check_every_resumption(run, folder, BOUNDARIES, **usual | TRAININGS[training])
