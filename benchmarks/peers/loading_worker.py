"""Upstream's side of the loading benchmark: its own data module, with its own defaults.

Started by loading.py with the interpreter of the peer's environment, from outside the repository.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterable, Iterator
from typing import Any

import lightning
import numpy as np
from loading_side import Opened, Padded, Side, serve
from torch import Tensor
from worker import facts_of_peer

import salt
from salt.data import SaltDataModule


class Upstream(Side):
    """Upstream's."""

    def prepare(self) -> None:
        self.trainer = lightning.Trainer(
            accelerator="cpu",
            devices=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )

    def module(self, setting: dict[str, Any]) -> SaltDataModule:
        """Its data module, set up; what it prints is not wanted."""
        with contextlib.redirect_stdout(io.StringIO()):
            module = SaltDataModule(
                train_file=setting["file"],
                val_file=setting["file"],
                batch_size=setting["batch_size"],
                num_workers=setting["num_workers"],
                num_train=-1,
                num_val=-1,
                num_test=-1,
                norm_dict=setting["norm_dict"],
                class_dict=setting["class_dict"],
                variables=setting["variables"],
                labels=setting["labels"],
            )
            module.trainer = self.trainer  # its setup asks the trainer for the rank
            module.setup("fit")
        return module

    def open(self, setting: dict[str, Any]) -> Opened:
        return Opened(self.module(setting).train_dataloader(), consume)

    def padded(self, setting: dict[str, Any]) -> Iterator[tuple[np.ndarray, Padded]]:
        """Of its validation loader, which keeps the order of the file."""
        self.prepare()
        first = 0
        for inputs, masks, labels in self.module(setting).val_dataloader():
            count = len(next(iter(inputs.values())))
            yield np.arange(first, first + count), Padded(inputs, masks, labels)
            first += count


def consume(batch: tuple[dict, dict, dict]) -> tuple[int, Iterable[Tensor]]:
    tensors = Padded(*batch).tensors()
    return len(tensors["inputs.jets"]), tensors.values()


if __name__ == "__main__":
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    serve(Upstream(), facts_of_peer(salt))
