"""`salt store build`: the stores that `salt fit` of the same arguments would build, and nothing else."""

from __future__ import annotations

import logging
from typing import Any, Literal

from salt.cli.files import is_packaged
from salt.cli.lightning import SaltCLI
from salt.data.datamodule import SaltDataModule
from salt.data.splits import FileSplit
from salt.training.module import SaltModule

log = logging.getLogger(__name__)

SPLITS: tuple[Literal["train", "val"], ...] = ("train", "val")

IDLE: dict[str, Any] = {
    "accelerator": "cpu",
    "strategy": "auto",
    "devices": 1,
    "num_nodes": 1,
    "precision": "32-true",
    "logger": False,
    "callbacks": None,
    "plugins": None,
    "profiler": None,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}
"""A trainer that does not train."""


class StoreCLI(SaltCLI):
    """A `fit` that ends where its jets are stored: the model says which labels, and is not trained."""

    def before_instantiate_classes(self) -> None:
        """Complete and check the config as for a training, and leave out whatever only a training needs."""
        super().before_instantiate_classes()
        config = self.config[self._verb]
        data = config.data
        if not data.store:
            raise ValueError("data.store is false: such a training needs no store\n  mend: give --data.store=true")
        if config.trainer.limit_val_batches == 0:
            data.val_file = None
        data.move_files_temp = None
        for key, value in IDLE.items():
            config.trainer[key] = value

    def before_fit(self) -> None:
        """There is no run."""

    def fit(self, model: SaltModule, datamodule: SaltDataModule, **_: Any) -> None:
        """Open the training and validation jets, in the place of the trainer's `fit`: their stores are built so."""
        datamodule.setup("fit")
        for name in SPLITS:
            file = datamodule.files[name]
            if is_packaged(file):
                log.info("data.%s_file is of the package: such files are read into memory, without a store", name)
            elif file is not None and isinstance(datamodule.split(name), FileSplit):
                raise ValueError(
                    f"no place for a store of {file} (data.{name}_file)\n"
                    f"  mend: make room, or name a folder: --data.store_dir=FOLDER, or the variable SALT_STORE"
                )
        datamodule.teardown("fit")
