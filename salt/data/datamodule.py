"""SaltDataModule: from the `data` section of a YAML file to the loaders of a trainer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, Literal

import lightning
import torch

from salt.data.augment import Augmentation
from salt.data.choice import Choice
from salt.data.folds import Stage
from salt.data.labeller import LabellerConfig
from salt.data.loader import Loader
from salt.data.loading import Loading, Mode, Shuffle
from salt.data.objects import MaskformerConfig
from salt.data.opening import Opening
from salt.data.parameters import Parameters
from salt.data.recipe import NonFinite, Recipe
from salt.data.recipes import Options, joined_labels
from salt.data.space import available_memory
from salt.data.splits import Split
from salt.data.stages import Files, Stages
from salt.data.staging import Staging
from salt.data.transforms import Transform
from salt.data.unread import warn_of_unread
from salt.data.workers import speak_of_workers
from salt.types import PARAMETERS, EdgeFeatures, Schema, features_of_pairs

TRAINER_STAGES: dict[Stage, str] = {"train": "fit", "val": "validate", "test": "test"}
"""What Lightning calls them."""


class SaltDataModule(lightning.LightningDataModule):
    """Training, validation and test jets of HDF5 files.

    The files are converted once to a store, where the constituents of a jet need no padding and from where any jet can
    be taken; each epoch of training is an exact shuffle of all jets, as long as memory can hold them. Validation and
    test keep the order of the file; for a test the files are read as they are.

    Parameters
    ----------
    variables : dict[str, list[str]]
        Stream -> names of its input variables, in column order. The streams `global` and `parameters` are read from the
        dataset of the global object.
    train_file : Files
        Jets to train with: a path, a glob, a URL (s3://bucket/x_*.h5), or a list; None where there is no training.
    val_file : Files
        Jets to validate with after each epoch; None with `trainer.limit_val_batches: 0` only.
    test_file : Files
        Jets to test with; they need no labels.
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
        0: batches are gathered by one thread, which is enough as long as training does not wait for it. Otherwise the
        number of processes that gather them.
    num_train, num_val, num_test : int
        How many jets of each file to use, from the first on; -1 for all.
    labels : dict[str, list[str]] | None
        Stream -> labels that the losses need. Filled in from the model; None for no labels.
    columns : dict[str, list[str]] | None
        Stream -> columns that physical values need in a test, beside the inputs: those that the file has are in the
        batches. Filled in from the model; None for none.
    shuffle : Literal["auto", "exact", "window", "batch", "none"]
        How training jets are shuffled. exact: a new permutation of all jets in each epoch. window: exact among jets
        that are read together in some hundred randomly chosen blocks; for stores larger than memory. batch: batches are
        always the same neighbours of the file, in another order each epoch. none: the order of the file. auto: exact
        where the store fits in half of the memory that is free, else window; a line says which.
    batched_read : bool | None
        The old word for it: True is batch, False is exact; None leaves it to `shuffle`.
    store : bool
        Convert the files to a store. False streams the files themselves in each epoch.
    store_dir : str | Path | None
        Where stores go; None: beside the file if possible, else $SALT_STORE, else the system's folder for temporary
        files.
    window_jets : int | None
        Jets of a window of `shuffle: window`; None takes an eighth of the free memory for each of the two.
    device : str
        cpu, or cuda: the store's columns stay on the GPU where they fit, and batches are gathered there.
    sampling : dict[str, Any] | None
        Which jets to train with, and in which proportions, see `salt.data.sampling`; None for all as they are.
    fold : dict[str, Any] | None
        `{variable: jetFoldHash, k: 4, use: 0}`: leave out a fold in training, see `salt.data.folds`; None for no folds.
    num_inputs : dict[str, int] | None
        Stream -> only the first so many constituents; None for all.
    selections : dict[str, list[str]] | None
        Stream -> cuts that its constituents have to pass, like `d0 < 3.5`; None for no cuts.
    parameters : dict[str, dict] | None
        Values of the stream `parameters`, see `salt.data.parameters`; None where the network has no parameters.
    non_finite_to_num : bool
        Replace input values that are NaN or infinite by 0, rather than raise.
    ignore_finite_checks : bool
        Keep input values that are NaN or infinite, rather than raise.
    recover_malformed : bool
        Ignore labels of the truth origin that are malformed: they become -1.
    labeller_config : LabellerConfig | None
        Make the jets' classes from their truth, see `salt.data.labeller`; None takes the file's label.
    multi_target : list[dict[str, Any]] | None
        Targets that come from one field for some jets, from another for others; None for none.
    new_variables : dict[str, dict[str, str]] | None
        Stream -> name -> expression of its fields, and of `jets.<field>`: computed once, when the store is built.
    transforms : list[Transform] | None
        What is done to the inputs of training jets, new in each epoch; None for nothing.
    mf_config : MaskformerConfig | None
        Objects that are to be found among the constituents; None where there are none.
    edge_constructors : list[EdgeFeatures] | None
        Features of the pairs of constituents that the model makes of what it sees, before it is normalised, and after
        noise is added; None for none.
    move_files_temp : str | Path | None
        Folder to copy the store (or, without a store, the files) to before training; None copies nothing.
    pin_memory : bool
        Put batches into page-locked memory where a GPU trains.
    persistent_workers : bool
        Keep the processes of `num_workers` from epoch to epoch.
    prefetch_factor : int
        Batches that are gathered ahead, by each process if there are some.
    multiprocessing_context : str | None
        How processes are started: fork, spawn or forkserver; None for the system's own way.
    train_vds_path, val_vds_path, test_vds_path : str | None
        Accepted from older files: files of a glob are read one after the other, without a virtual dataset.
    test_suff : str | None
        Added to the name of the evaluation file; None for nothing.
    config_s3 : dict[str, Any] | None
        Accepted from older files: S3 takes its keys and its server from the environment (AWS_ACCESS_KEY_ID,
        AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL).
    seed : int | None
        What the shuffle of each epoch depends on, beside the epoch's number; None takes that of `seed_everything`.
    """

    def __init__(
        self,
        variables: dict[str, list[str]],
        train_file: Files = None,
        val_file: Files = None,
        test_file: Files = None,
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
        columns: dict[str, list[str]] | None = None,
        shuffle: Shuffle = "auto",
        batched_read: bool | None = None,
        store: bool = True,
        store_dir: str | Path | None = None,
        window_jets: int | None = None,
        device: Literal["cpu", "cuda"] = "cpu",
        sampling: dict[str, Any] | None = None,
        fold: dict[str, Any] | None = None,
        num_inputs: dict[str, int] | None = None,
        selections: dict[str, list[str] | None] | None = None,
        parameters: dict[str, dict[str, Any]] | None = None,
        non_finite_to_num: bool = False,
        ignore_finite_checks: bool = False,
        recover_malformed: bool = False,
        labeller_config: LabellerConfig | None = None,
        multi_target: list[dict[str, Any]] | None = None,
        new_variables: dict[str, dict[str, str]] | None = None,
        transforms: list[Transform] | None = None,
        mf_config: MaskformerConfig | None = None,
        edge_constructors: list[EdgeFeatures] | None = None,
        move_files_temp: str | Path | None = None,
        pin_memory: bool = True,
        persistent_workers: bool = True,
        prefetch_factor: int = 2,
        multiprocessing_context: str | None = None,
        train_vds_path: str | None = None,
        val_vds_path: str | None = None,
        test_vds_path: str | None = None,
        test_suff: str | None = None,
        config_s3: dict[str, Any] | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        vds_paths = {"train_vds_path": train_vds_path, "val_vds_path": val_vds_path, "test_vds_path": test_vds_path}
        warn_of_unread({**vds_paths, "config_s3": config_s3})
        self.schema = Schema(variables, global_object, input_map or {}, features_of_pairs(edge_constructors))
        self.files: dict[str, Files] = {"train": train_file, "val": val_file, "test": test_file}
        self.norm_dict, self.class_dict = norm_dict, class_dict
        of_objects = mf_config.required_labels() if mf_config else {}
        self.labels = joined_labels(labels or {}, of_objects)
        self.columns = columns or {}
        self.shuffle: Shuffle = shuffle if batched_read is None else "batch" if batched_read else "exact"
        self.seed = seed
        self.test_suff = test_suff
        non_finite: NonFinite = "zero" if non_finite_to_num else "keep" if ignore_finite_checks else "raise"
        self.options = Options(
            num_inputs=num_inputs or {},
            selections=selections or {},
            recover_malformed=recover_malformed,
            labeller_config=labeller_config,
            multi_target=multi_target or [],
            new_variables=new_variables or {},
            mf_config=mf_config,
            non_finite=non_finite,
        )
        staging = Staging(move_files_temp) if move_files_temp else None
        self._stages = Stages(
            self.schema,
            self.files,
            {"train": num_train, "val": num_val, "test": num_test},
            self.labels,
            self.columns,
            self.options,
            Choice(sampling, fold),
            Opening(store, store_dir, staging, is_mixed=self.shuffle == "window"),
        )
        self.transforms = transforms or []
        self.parameters = Parameters(parameters, variables.get(PARAMETERS)) if parameters else None
        self._loading = Loading(
            batch_size,
            num_workers=num_workers,
            prefetch=prefetch_factor,
            pin_memory=pin_memory,
            persistent_workers=persistent_workers,
            context=multiprocessing_context,
            window_jets=window_jets,
            device=device,
        )
        self._loaders: list[Loader] = []
        self._shuffle_seed: int | None = None
        self._sequence: dict[str, Any] = {}

    def recipe(self, name: Stage) -> Recipe:
        """What is read of the jets of train, val or test: tests need no labels, but what physical values need."""
        return self._stages.recipe(name)

    def test_columns(self) -> dict[str, list[str]]:
        """Those of `columns` that the test file has."""
        return self._stages.test_columns()

    def opened(self) -> list[Stage]:
        """Which jets have been opened: train, val or test."""
        return self._stages.opened()

    def split(self, name: Stage) -> Split:
        """The jets of train, val or test; known after setup."""
        return self._stages.split(name)

    @property
    def num_test_jets(self) -> int:
        """Number of jets that are tested; known after setup."""
        return self.split("test").num_jets

    def setup(self, stage: str) -> None:
        """Open the files of a stage: fit, validate, test or predict."""
        speak_of_workers(self._loading.num_workers)
        self._settle_seed()
        if stage == "fit":
            self._setup_fit()
        else:
            self._stages.open("val" if stage == "validate" else "test")

    def _settle_seed(self) -> None:
        """Choose the seed of the shuffle, the same on all ranks; one from a checkpoint stays."""
        if self.seed is not None:
            self._shuffle_seed = self.seed
        elif self._shuffle_seed is None:
            self._shuffle_seed = self._agreed(torch.initial_seed())

    def _setup_fit(self) -> None:
        validates = self.trainer.limit_val_batches != 0 if self.trainer else self.files["val"] is not None
        if validates and self.files["val"] is None:  # said before a long time of reading
            raise ValueError("data.val_file is not set: set it, or trainer.limit_val_batches: 0 for no validation")
        self._stages.open("train")
        if validates:
            self._stages.open("val")

    def _loader(self, name: Stage, shuffle: Mode, blocks: tuple[int, int] | None = None) -> Loader:
        split = self.split(name)
        assert self._shuffle_seed is not None  # set when the jets were opened
        chosen = self._stages.chosen(name, self._shuffle_seed)
        transforms = self.transforms if name == "train" else []
        stage, seed = TRAINER_STAGES[name], self._shuffle_seed
        augmentation = Augmentation(
            self.schema.variables, transforms, self.parameters, stage, seed, self.options.mf_config
        )
        ranks = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        loading = replace(
            self._loading,
            seed=self._shuffle_seed,
            rank=ranks[0],
            num_ranks=ranks[1],
            pin_memory=self._loading.pin_memory and torch.cuda.is_available(),
            blocks=blocks,
            free=self._agreed(available_memory()),
        )
        loader = loading.loader(split, shuffle, chosen, augmentation, self._epoch())
        self._loaders.append(loader)
        return loader

    def _agreed(self, value: int | None) -> int | None:
        """The first rank's value, on all ranks."""
        return self.trainer.strategy.broadcast(value) if self.trainer else value

    def _epoch(self) -> Callable[[], int]:
        """Where a loader learns the number of its epoch: the trainer, or a count of its own iterations."""
        trainer = self.trainer
        return (lambda: trainer.current_epoch) if trainer else count().__next__

    def train_dataloader(self) -> Loader:
        """Training jets, in another order each epoch; a resumed run keeps what memory decided when it began."""
        before = self._sequence
        shuffle: Shuffle = before.get("mode", "auto") if self.shuffle == "auto" else self.shuffle
        blocks = (before["block"], before["num_blocks"]) if "block" in before else None
        loader = self._loader("train", shuffle, blocks)
        self._sequence = loader.feed.order.sequence()
        return loader

    def val_dataloader(self) -> Loader:
        """Validation jets, in the order of the file."""
        return self._loader("val", "none")

    def test_dataloader(self) -> Loader:
        """Test jets, in the order of the file, of which each rank has a part; there may be too few for all ranks."""
        self.allow_zero_length_dataloader_with_multiple_devices = True
        return self._loader("test", "parts")

    def predict_dataloader(self) -> Loader:
        """Test jets, in the order of the file."""
        return self.test_dataloader()

    def teardown(self, stage: str) -> None:
        """Close the files of a stage, and remove copies that nobody else uses."""
        for loader in self._loaders:
            loader.close()
        self._loaders.clear()
        self._stages.close()

    def on_exception(self, exception: BaseException) -> None:
        """Remove copies also where training fails."""
        self.teardown("fit")

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps: the seed and the sort of the shuffle, so that a resumed run has the same orders."""
        return {"seed": self._shuffle_seed, "sequence": self._sequence}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the seed of the run that is resumed, unless one is given, and its sort of shuffle."""
        if self.seed is None and "seed" in state_dict:
            self._shuffle_seed = state_dict["seed"]
        self._sequence = state_dict.get("sequence", {})
