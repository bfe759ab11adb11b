"""The record of a run: what it was asked to do, in its own directory."""

from __future__ import annotations

import logging
import shutil
from contextlib import ExitStack
from pathlib import Path

import lightning.pytorch as pl
from jsonargparse import Namespace
from lightning.pytorch.cli import LightningArgumentParser, SaveConfigCallback

log = logging.getLogger(__name__)

COPIED = ("norm_dict", "class_dict")
"""Keys of `data` that name small files that the run keeps a copy of."""


class RunRecord(SaveConfigCallback):
    """Write the merged `config.yaml` and copies of the dictionaries into the run's directory.

    The saved config names the copies, so that it works without the originals. Nothing is written by a run that is not
    a `fit`, or that only tries things out (fast_dev_run).
    """

    def __init__(self, parser: LightningArgumentParser, config: Namespace) -> None:
        super().__init__(parser, config, save_to_log_dir=False)

    def save_config(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Write the record."""
        if stage != "fit" or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        run = Path(trainer.default_root_dir)
        run.mkdir(parents=True, exist_ok=True)
        with ExitStack() as undo:  # a record is there whole, or not at all
            config = self.config.clone()
            for key in COPIED:
                if config.data[key] is not None:
                    copy = run / Path(config.data[key]).name
                    if copy == Path(config.data[key]):  # a run that is resumed has it already
                        continue
                    undo.callback(copy.unlink, missing_ok=True)
                    shutil.copyfile(config.data[key], copy)
                    config.data[key] = str(copy)
            temporary = run / ".config.yaml.part"
            undo.callback(temporary.unlink, missing_ok=True)
            self.parser.save(config, temporary, skip_unset=False, overwrite=True, multifile=False, format="yaml")
            temporary.rename(run / "config.yaml")
            undo.pop_all()
        log.info("run directory: %s", run)
