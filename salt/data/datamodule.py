"""SaltDataModule: from the `data` section of a YAML file to the loaders of a trainer."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from salt.data.loader import Loader
from salt.data.order import EpochOrder
from salt.data.reader import NonFinite
from salt.data.store import Store
from salt.types import Schema

info = rank_zero_only(logging.getLogger(__name__).info)
warn = rank_zero_only(logging.getLogger(__name__).warning)


class SaltDataModule(lightning.LightningDataModule):
    """Training, validation and test jets of HDF5 files.

    Each file is read once, whole, into memory, where the constituents of a jet need no padding; each epoch of training
    is an exact shuffle of all jets. Validation and test keep the order of the file.

    Parameters
    ----------
    train_file : str | None
        Jets to train with; None where there is no training.
    val_file : str | None
        Jets to validate with after each epoch; None with `trainer.limit_val_batches: 0` only.
    test_file : str | None
        Jets to test with; they need no labels.
    variables : dict[str, list[str]]
        Stream -> names of its input variables, in column order.
    global_object : str
        The stream with one row a jet (event, ...).
    input_map : dict[str, str] | None
        Stream -> name of its dataset in the file, where the two differ; None where they never do.
    norm_dict : str | Path | None
        YAML file with the mean and width of each variable, for the model; None where there is none.
    class_dict : str | Path | None
        YAML file with the weights of the classes, for the tasks that ask for them; None where none does.
    batch_size : int
        Jets of a batch, for each device.
    num_workers : int
        0: batches are gathered by one thread. Any other number does the same, and says so.
    num_train, num_val, num_test : int
        How many jets of each file to use, from the first on; -1 for all.
    labels : dict[str, list[str]] | None
        Stream -> labels that the losses need. Filled in from the model; None for no labels.
    non_finite_to_num : bool
        Replace input values that are NaN or infinite by 0, rather than raise.
    ignore_finite_checks : bool
        Keep input values that are NaN or infinite, rather than raise.
    persistent_workers : bool
        Accepted from older files; the thread needs no such choice.
    prefetch_factor : int
        Batches that are gathered ahead.
    seed : int | None
        What the shuffle of each epoch depends on, beside the epoch's number; None takes that of `seed_everything`.
    """

    def __init__(
        self,
        variables: dict[str, list[str]],
        train_file: str | None = None,
        val_file: str | None = None,
        test_file: str | None = None,
        global_object: str = "jets",
        input_map: dict[str, str] | None = None,
        norm_dict: str | Path | None = None,
        class_dict: str | Path | None = None,
        batch_size: int = 1000,
        num_workers: int = 0,
        num_train: int = -1,
        num_val: int = -1,
        num_test: int = -1,
        labels: dict[str, list[str]] | None = None,
        non_finite_to_num: bool = False,
        ignore_finite_checks: bool = False,
        persistent_workers: bool = True,
        prefetch_factor: int = 2,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        self.schema = Schema(variables, global_object, input_map or {})
        self.train_file, self.val_file, self.test_file = train_file, val_file, test_file
        self.num_train, self.num_val, self.num_test = num_train, num_val, num_test
        self.norm_dict, self.class_dict = norm_dict, class_dict
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.labels = labels or {}
        self.non_finite: NonFinite = "zero" if non_finite_to_num else "keep" if ignore_finite_checks else "raise"
        self.prefetch_factor = prefetch_factor
        self.seed = seed
        self._stores: dict[str, Store] = {}
        self._shuffle_seed: int | None = None

    def setup(self, stage: str) -> None:
        """Read the files of a stage: fit, validate, test or predict."""
        if self.num_workers > 0:
            warn("data.num_workers is %d: one prefetch thread serves all batches for now", self.num_workers)
        self._settle_seed()
        if stage == "fit":
            self._setup_fit()
        elif stage == "validate":
            self._read("val", self.val_file, self.num_val, self.labels)
        else:  # testing needs no labels: files without truth can be tested too
            self._read("test", self.test_file, self.num_test, {})

    def _settle_seed(self) -> None:
        """Choose the seed of the shuffle, the same on all ranks; one from a checkpoint stays."""
        if self.seed is not None:
            self._shuffle_seed = self.seed
        elif self._shuffle_seed is None:
            seed = torch.initial_seed()
            self._shuffle_seed = self.trainer.strategy.broadcast(seed) if self.trainer else seed

    def _setup_fit(self) -> None:
        validates = self.trainer.limit_val_batches != 0 if self.trainer else self.val_file is not None
        if validates and self.val_file is None:  # said before a long time of reading
            raise ValueError("data.val_file is not set: set it, or trainer.limit_val_batches: 0 for no validation")
        if not validates:
            self._read("train", self.train_file, self.num_train, self.labels)
        elif self.train_file == self.val_file:
            numbers = (self.num_train, self.num_val)
            num_jets = -1 if -1 in numbers else max(numbers)
            self._read("train", self.train_file, num_jets, self.labels)
            self._stores["val"] = self._stores["train"]
        else:
            self._read("train", self.train_file, self.num_train, self.labels)
            self._read("val", self.val_file, self.num_val, self.labels)

    def _read(self, name: str, file: str | None, num_jets: int, labels: Mapping[str, Sequence[str]]) -> None:
        """Read the store of that name, unless it is there."""
        if name in self._stores:
            return
        if file is None:
            raise ValueError(f"data.{name}_file is not set: set it in the config, or with --data.{name}_file FILE")
        start = time.perf_counter()
        keys = {"key": f"data.{name}_file", "num_key": f"data.num_{name}"}
        store = Store.read(file, self.schema, labels, num_jets, self.non_finite, **keys)
        self._stores[name] = store
        constituents = "".join(f", {number} {stream}" for stream, number in store.num_constituents.items())
        size, seconds = store.num_bytes / 1e6, time.perf_counter() - start
        info("read %s: %d jets%s, %.1f MB in memory, %.1f s", file, store.num_jets, constituents, size, seconds)

    @property
    def num_test_jets(self) -> int:
        """Number of jets that are tested; known after setup."""
        return self._store("test").num_jets

    def _store(self, name: str) -> Store:
        if name not in self._stores:
            stage = "test" if name == "test" else "fit"
            raise ValueError(f"no {name} jets have been read: call setup({stage!r}) first")
        return self._stores[name]

    def _loader(self, name: str, num_jets: int, shuffle: bool = False) -> Loader:
        store = self._store(name)
        assert self._shuffle_seed is not None  # set with the stores
        order = EpochOrder(
            num_jets=store.num_jets if num_jets == -1 else min(num_jets, store.num_jets),
            batch_size=self.batch_size,
            seed=self._shuffle_seed,
            shuffle=shuffle,
            rank=self.trainer.global_rank if self.trainer else 0,
            num_ranks=self.trainer.world_size if self.trainer else 1,
        )
        return Loader(store, order, self._epoch(), self.prefetch_factor)

    def _epoch(self) -> Callable[[], int]:
        """Where a loader learns the number of its epoch: the trainer, or a count of its own iterations."""
        trainer = self.trainer
        return (lambda: trainer.current_epoch) if trainer else count().__next__

    def train_dataloader(self) -> Loader:
        """Training jets, in another order each epoch."""
        return self._loader("train", self.num_train, shuffle=True)

    def val_dataloader(self) -> Loader:
        """Validation jets, in the order of the file."""
        return self._loader("val", self.num_val)

    def test_dataloader(self) -> Loader:
        """Test jets, in the order of the file."""
        return self._loader("test", self.num_test)

    def predict_dataloader(self) -> Loader:
        """Test jets, in the order of the file."""
        return self.test_dataloader()

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps: the seed of the shuffle, so that a resumed run goes on with the same orders."""
        return {"seed": self._shuffle_seed}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the seed of the run that is resumed, unless one is given."""
        if self.seed is None and "seed" in state_dict:
            self._shuffle_seed = state_dict["seed"]
