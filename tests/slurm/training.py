"""A training as a job of the cluster, small, and disturbed at a step that the test chooses."""

import csv
import os
import sys
import time
from pathlib import Path

import torch

from salt.clusters.environments import Environment
from salt.clusters.job import Job, Resources
from salt.clusters.script import body

PAUSE = '''
import os
import time
from pathlib import Path

import lightning

from salt.training.signals import DOOR


class Pause(lightning.Callback):
    """Wait to be disturbed, in the first run of a job, once it has come to a step, or to the validation after it."""

    def _wait(self, trainer):
        step, place = os.environ.get("PAUSE", ":").split(":")
        if trainer.sanity_checking or "SLURM_RESTART_COUNT" in os.environ or str(trainer.global_step) != step:
            return None
        Path(f"at-{place}-{trainer.global_rank}").write_text(str(os.getpid()))
        deadline = time.monotonic() + 60
        while not DOOR.received and time.monotonic() < deadline:
            time.sleep(0.01)

    def on_train_batch_end(self, trainer, *_):
        self._wait(trainer) if "train" in os.environ.get("PAUSE", "") else None

    def on_validation_batch_start(self, trainer, *_):
        self._wait(trainer) if "val" in os.environ.get("PAUSE", "") else None
'''

STEPS = 30
"""Of a whole training: three epochs of 10 batches, by all ranks together."""

OPTIONS = ("--config=simple.yaml", "-ls=a", "--trainer.max_epochs=3", "--trainer.log_every_n_steps=1",
           "--data.num_train=1000", "--data.num_val=400", "--model.ema_decay=0.9",
           "--trainer.callbacks+=pause.Pause")  # fmt: skip

UNSTEADY = {"data_wait", "epoch"}
"""What is measured by the clock, and what goes with everything that is logged at a step."""


class Training:
    """A job that trains, in a folder of its own.

    Parameters
    ----------
    cluster : Cluster
        Where.
    folder : Path
        The folder.
    tasks : int
        Ranks.
    stage : str | None
        Folder for copies of the data.
    restarts : int
        How often it is begun again when it was killed.
    options : tuple[str, ...]
        Of `salt fit`, beyond those that all have.
    """

    def __init__(self, cluster, folder, tasks=1, stage=None, restarts=1, options=()):
        self.cluster, self.folder, self.tasks = cluster, folder, tasks
        (folder / "pause.py").write_text(PAUSE)
        options = (*OPTIONS, f"--data.batch_size={100 // tasks}", *options)
        needs = Resources(tasks=tasks)
        environment = Environment("venv", str(Path(sys.executable).parent.parent))
        job = Job(arguments=options, resources=needs, environment=environment, max_restarts=restarts, stage=stage)
        self.script = folder / "job.sh"
        self.script.write_text(f"#!/bin/bash\n{body(job)}")
        self.job = None

    def submit(self, *words, pause=None, environment=None):
        """Submit; with `pause`, like 13:train, the training waits there to be disturbed."""
        environment = {"PYTHONPATH": str(self.folder), "PAUSE": pause or ":", **(environment or {})}
        words = (f"--ntasks-per-node={self.tasks}", "--open-mode=append", "--output=job.log", *words)
        self.job = self.cluster.submit(*words, self.script, cwd=self.folder, environment=environment)
        return self.job

    def until_paused(self, seconds=120):
        """Wait until each rank waits; gives their process ids."""
        deadline = time.monotonic() + seconds
        while len(found := sorted(self.folder.glob("at-*-*"))) < self.tasks or not all(map(Path.read_text, found)):
            assert time.monotonic() < deadline, self.said
            assert self.cluster.state(self.job) in {"PENDING", "RUNNING"}, self.said
            time.sleep(0.05)
        return [int(file.read_text()) for file in found]

    @property
    def said(self):
        return self.cluster.said(self.job)

    @property
    def run(self):
        """The run's directory; there has to be one only."""
        (run,) = (self.folder / "logs").iterdir()
        return run

    def curve(self):
        """(step, name) -> value, of what was logged; each has to be there once."""
        with (self.run / "metrics.csv").open() as file:
            rows = [(int(row.pop("step")), row) for row in csv.DictReader(file)]
        values = [((step, name), value) for step, row in rows for name, value in row.items() if value]
        values = [each for each in values if each[0][1] not in UNSTEADY]
        assert len(dict(values)) == len(values)
        return dict(values)

    def weights(self):
        """Name of each checkpoint -> its weights."""
        files = sorted((self.run / "ckpts").iterdir())
        return {file.name: torch.load(file, weights_only=True)["state_dict"] for file in files}

    def left(self):
        """Files that must not be left anywhere."""
        ends = (".part", ".tmp", ".lock", ".claim")
        return [path for path in self.folder.rglob("*") if path.name.endswith(ends) or path.name.startswith("hpc_ckpt")]


def check_same(one, other):
    """The same weights after each epoch, to the last bit, and the same curve."""
    one_weights, other_weights = one.weights(), other.weights()
    assert one_weights.keys() == other_weights.keys()
    for file, weights in one_weights.items():
        different = [name for name, values in weights.items() if not torch.equal(values, other_weights[file][name])]
        assert (file, different) == (file, [])
    assert one.curve() == other.curve()
    assert os.fspath(one.run) != os.fspath(other.run)
