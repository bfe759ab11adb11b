"""A run that stops and goes on ends as one that never stopped: to the last bit, from wherever it was saved."""

import threading
from collections.abc import Mapping

import lightning
import pytest
import torch
from lightning.pytorch.loggers import Logger

from salt.training.rates import LRSConfig

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
            # other threads may draw from Python's random numbers
            others = " ".join(thread.name for thread in threading.enumerate())
            assert differing(end, end_after) == [], (path.name, others)
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


@pytest.fixture
def middle(run, folder):
    """Checkpoint of the middle of the second of three epochs of 6 batches, after 8 steps."""
    run(Saver(folder, ["on_train_batch_start"]), max_steps=9)
    return folder / "on_train_batch_start-1-8.ckpt"


def jets_of(seen, epoch):
    """The jets of an epoch, batch by batch."""
    return [jets for key, (jets, _) in ((k, v) for k, v in seen.items() if len(k) == 2 and k[0] == epoch)]


def test_another_batch_size_goes_on_with_the_jets_that_are_left(run, middle, caplog):
    straight, _ = run()
    left = {jet for jets in jets_of(straight, 1)[2:] for jet in jets}
    seen, _ = run(ckpt_path=middle, data={"batch_size": 50})
    assert {jet for jets in jets_of(seen, 1) for jet in jets} == left
    assert "a global batch has 50 jets, not 100 as before: going on after 200 jets of epoch 1" in caplog.text


def test_a_batch_size_that_does_not_divide_sees_a_few_jets_again(run, middle, caplog):
    run(ckpt_path=middle, data={"batch_size": 150})
    assert "going on after 150 jets of epoch 1, 50 of which are seen again" in caplog.text


def test_other_jets_begin_the_epoch_anew(run, middle, caplog):
    seen, _ = run(ckpt_path=middle, data={"num_train": 500})
    assert len({jet for jets in jets_of(seen, 1) for jet in jets}) == 500
    assert "another order than before (num_jets 600, now 500): epoch 1 begins anew" in caplog.text


def test_a_checkpoint_of_before_says_that_it_is_not_exact(run, middle, caplog):
    checkpoint = torch.load(middle, weights_only=True)
    del checkpoint["salt"]
    torch.save(checkpoint, middle)
    _, end = run(ckpt_path=middle)
    assert end["global_step"] == 18
    assert "holds no random states" in caplog.text


def test_a_checkpoint_of_a_later_format_is_refused(run, middle):
    checkpoint = torch.load(middle, weights_only=True)
    checkpoint["salt"]["format"] = 2
    torch.save(checkpoint, middle)
    with pytest.raises(ValueError, match=r"in format 2; salt .* reads formats up to 1"):
        run(ckpt_path=middle)


def test_what_the_config_says_of_the_optimiser_wins_over_the_checkpoint(run, middle):
    _, end = run(ckpt_path=middle, module={"lrs_config": LRSConfig(weight_decay=0.5)})
    assert end["optimizer_states"][0]["param_groups"][0]["weight_decay"] == 0.5


def test_the_average_is_what_is_validated_and_saved(run, make_trainer, random_module, random_data, tmp_path):
    seen, end = run()
    validated = [row["val/loss"] for row in seen.values() if "val/loss" in row][-1]
    raw = end["salt"]["raw_state_dict"]
    assert any(not torch.equal(value, raw[name]) for name, value in end["state_dict"].items())
    again = make_trainer().validate(random_module(ema_decay=None), random_data(), tmp_path / "end.ckpt", verbose=False)
    assert again[0]["val/loss"] == validated


@pytest.mark.parametrize("decay", [1.0, -0.1])
def test_a_decay_that_is_none_is_refused(random_module, decay):
    with pytest.raises(ValueError, match=r"model\.ema_decay is"):
        random_module(ema_decay=decay)
