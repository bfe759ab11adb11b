"""LabelCheck: looks at the labels' values before a run leaves anything behind."""

from __future__ import annotations

from lightning import Callback, LightningModule, Trainer

from salt.data.datamodule import SaltDataModule
from salt.training.module import SaltModule


class LabelCheck(Callback):
    """Ask each task whether it can learn from the labels that the stores hold, the first thing in a fit."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Raise where a label has no class."""
        data = trainer.datamodule  # type: ignore[attr-defined]
        if stage != "fit" or not isinstance(data, SaltDataModule) or not isinstance(pl_module, SaltModule):
            return
        for name in data.opened():
            for task in pl_module.model.heads():
                task.check_labels(data.split(name).ranges(task.input_name))
