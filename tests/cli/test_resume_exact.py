"""`salt fit --config RUN/config.yaml --ckpt_path FILE`: to the last bit what the run would have become."""

import csv
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

SAVER = """
from pathlib import Path

import lightning
import torch


class Saver(lightning.Callback):
    def __init__(self, step: int):
        self.step = step

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.step:
            trainer.save_checkpoint("middle.ckpt")
"""

RANDOM = {  # all that draws random numbers: dropout of layers and attention, noise, an exact shuffle
    "model": {
        "ema_decay": 0.9,
        "model": {
            "init_args": {
                "encoder": {
                    "init_args": {
                        "num_layers": 1,
                        "attn_kwargs": {"num_heads": 4, "dropout": 0.1},
                        "dense_kwargs": {"activation": "ReLU", "dropout": 0.1},
                    }
                }
            }
        },
    },
    "data": {
        "shuffle": "exact",
        "transforms": [
            {
                "class_path": "salt.data.transforms.GaussianNoise",
                "init_args": {"noise_params": {"tracks": [{"variable": "d0", "mean": 0.0, "std": 0.2}]}},
            }
        ],
    },
}

DOUBLE = "--trainer.precision=64-true"
"""Training multiplies the errors of rounding, which depend on the order of sums: not these."""

SHORT = ("--trainer.max_epochs=2", "--trainer.log_every_n_steps=1", "--data.num_train=400", "--data.num_val=200")


def run_alone(*arguments):
    """Run `salt` in a process of its own, from the current directory."""
    script = Path("run.py")
    script.write_text("import sys; from salt.cli.main import main; sys.exit(main())")
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    command = [sys.executable, str(script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=800)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def fit(salt, tmp_path, monkeypatch):
    """`salt fit` of a name, on so many ranks; gives its run directory."""
    (tmp_path / "saver.py").write_text(SAVER)
    monkeypatch.syspath_prepend(tmp_path)

    def run(name, *arguments, ranks=1):
        arguments = ["fit", *arguments, "-ls", name]
        if ranks == 1:
            answer = salt(*arguments)
            assert answer.code == 0, answer.err
        else:
            run_alone(*arguments, f"--trainer.devices={ranks}", "--trainer.strategy=ddp")
        (path,) = Path("logs").glob(f"*_{name}")
        return path

    return run


def last(run):
    """The last checkpoint of a run."""
    return torch.load(max((run / "ckpts").glob("epoch=*.ckpt")), weights_only=True)


def first(run):
    """File of the checkpoint of a run's first epoch."""
    return min((run / "ckpts").glob("epoch=*.ckpt"))


def numbers(state, prefix=""):
    """Dotted key -> each number and tensor that a checkpoint holds there."""
    if isinstance(state, Mapping | list | tuple):
        items = state.items() if isinstance(state, Mapping) else enumerate(state)
        return {key: value for name, inner in items for key, value in numbers(inner, f"{prefix}.{name}").items()}
    return {prefix: torch.as_tensor(state)} if isinstance(state, torch.Tensor | float | int) else {}


PARTS = ("state_dict", "optimizer_states", "lr_schedulers", "salt", "epoch", "global_step")


def check_equal(one, other):
    """Weights, average, optimiser, schedule and random states: not one number is another."""
    one, other = (numbers({part: checkpoint[part] for part in PARTS}) for checkpoint in (one, other))
    assert one.keys() == other.keys()
    assert [key for key in one if not torch.equal(one[key], other[key])] == []


def rows(run):
    """What was logged, but for what is measured by the clock."""
    with (run / "metrics.csv").open() as file:
        return [{key: value for key, value in row.items() if key != "data_wait"} for row in csv.DictReader(file)]


def check_resumptions(fit, overlay, ranks, workers):
    """A run of two epochs, against what becomes of it from the end of the first, and from the middle of the second."""
    number = 400 // 50 // ranks  # batches of an epoch
    config = overlay(**RANDOM)
    saver = f"--trainer.callbacks+={{class_path: saver.Saver, init_args: {{step: {number + number // 2}}}}}"
    options = (*SHORT, "--data.batch_size=50", f"--data.num_workers={workers}", saver)
    straight = fit("straight", "--config=configs/gnn.yaml", f"--config={config}", *options, ranks=ranks)
    middle = Path("middle.ckpt").rename("half.ckpt")
    for name, checkpoint in (("end", first(straight)), ("middle", middle)):
        resumed = fit(name, f"--config={straight}/config.yaml", f"--ckpt_path={checkpoint}", ranks=ranks)
        check_equal(last(straight), last(resumed))
        assert rows(resumed) == rows(straight)[-len(rows(resumed)) :]
        assert len(rows(resumed)) > number


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_run_goes_on_to_the_last_bit(fit, overlay, workers):
    check_resumptions(fit, overlay, 1, workers)


@pytest.mark.slow
@pytest.mark.timeout(1000)
@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_of_two_ranks_goes_on_to_the_last_bit(fit, overlay, workers):
    check_resumptions(fit, overlay, 2, workers)


def test_a_longer_training_goes_on_with_a_longer_cycle(fit, salt):
    options = ("--config=simple.yaml", *SHORT, "--data.batch_size=50")
    short = fit("short", *options)
    longer = ("--trainer.max_epochs=3", "--model.lrs_config.last_epoch=0")  # as upstream's documents have it
    answer = salt("fit", "--config", short / "config.yaml", "--ckpt_path", first(short), "-ls", "longer", *longer)
    assert answer.code == 0, answer.err
    assert (
        "the cycle of the learning rate has 24 steps, not 16: going on at its step 8, as if it always had" in answer.err
    )
    rates = [float(row["lr-AdamW"]) for row in rows(Path("logs/simple_longer")) if row["lr-AdamW"]]
    whole = fit("whole", *options, "--trainer.max_epochs=3")
    assert rates == [float(row["lr-AdamW"]) for row in rows(whole) if row["lr-AdamW"]][8:]


def test_a_run_is_not_made_shorter_than_it_is(fit, salt):
    run = fit("a", "--config=simple.yaml", *SHORT, "--data.batch_size=100")
    last_epoch = max((run / "ckpts").glob("*.ckpt"))
    answer = salt("fit", "--config", run / "config.yaml", "--ckpt_path", last_epoch, "--trainer.max_epochs=1")
    assert answer.code == 2
    assert "has 2 epochs behind it; trainer.max_epochs is 1" in answer.error


@pytest.mark.slow
@pytest.mark.timeout(1000)
def test_two_ranks_train_as_one_does_on_the_same_batches(fit):
    options = ("--config=configs/gnn.yaml", *SHORT, "--data.num_train=-1", "--data.num_val=-1", DOUBLE)
    one = rows(fit("one", *options, "--data.batch_size=200"))
    two = rows(fit("two", *options, "--data.batch_size=100", ranks=2))
    assert len(one) == len(two) > 20
    tasks = ("jets_classification", "track_origin", "track_vertexing")
    losses = [f"{stage}/{loss}" for stage in ("train", "val") for loss in ("loss", *(f"{task}_loss" for task in tasks))]
    for name in [*losses, *(f"{name}_epoch" for name in losses if name.startswith("train"))]:
        values = [[float(row[name]) for row in run if row[name]] for run in (one, two)]
        assert values[0] == pytest.approx(values[1], abs=1e-12), name


def test_workers_give_the_weights_of_none(fit, overlay):
    options = ("--config=configs/gnn.yaml", f"--config={overlay(**RANDOM)}", *SHORT, "--data.batch_size=100")
    check_equal(last(fit("none", *options)), last(fit("two", *options, "--data.num_workers=2")))


@pytest.mark.slow
def test_another_seed_gives_other_jets_noise_and_weights(fit, overlay):
    options = ("--config=configs/gnn.yaml", f"--config={overlay(**RANDOM)}", *SHORT, "--data.batch_size=100")
    one, other = (rows(fit(f"seed{seed}", *options, f"--seed_everything={seed}")) for seed in (1, 2))
    assert one[1]["train/loss"] != other[1]["train/loss"]
