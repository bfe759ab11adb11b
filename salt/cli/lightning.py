"""fit, validate, test, predict: LightningCLI, with the base config, the two links, and the CLI's rooms around it."""

from __future__ import annotations

import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
import yaml
from jsonargparse import ArgumentError, Namespace
from lightning import Callback, Trainer
from lightning.pytorch.accelerators import CUDAAccelerator
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from salt.callbacks import pruning
from salt.callbacks.data_wait import DataWait
from salt.callbacks.finite import FiniteCheck
from salt.callbacks.label_check import LabelCheck
from salt.callbacks.progress import Progress
from salt.callbacks.ranks import Ranks
from salt.callbacks.record import RunRecord
from salt.callbacks.state import RunState
from salt.callbacks.stopping import Stopping
from salt.cli import configs, devices, environment, loggers, plugins, secrets, shapes, widths
from salt.cli.asked import Asked
from salt.cli.check import check
from salt.cli.ensemble import is_sweep_asked, test_sweep
from salt.cli.files import PACKAGED, packaged_config
from salt.cli.keys import unknown_keys
from salt.cli.launch import settle, with_parent
from salt.cli.messages import in_short
from salt.cli.parser import EPILOGS, complete, keys_given
from salt.cli.quiet import quiet
from salt.cli.resolve import resolve
from salt.cli.resume import FOUND_BY_WORD, continue_curves, found_by_word, resumed
from salt.cli.run_lock import held
from salt.cli.runs import with_run
from salt.cli.validation import write_table
from salt.cli.words import faults
from salt.cli.written import absolute_paths
from salt.data.datamodule import SaltDataModule
from salt.data.death import ended_by_signals
from salt.loggers.guard import build as build_logger
from salt.training.checkpoints import best, readable
from salt.training.company import COMPANY
from salt.training.memory import keep_freed_memory
from salt.training.module import SaltModule
from salt.training.run_files import is_url, remove_parts
from salt.training.signals import DOOR

SKIPPED = {"model", "train_dataloaders", "val_dataloaders", "dataloaders", "datamodule", "return_predictions"}
"""Arguments of the trainer's methods that are not for the user."""

BASE = PACKAGED / "base.yaml"

warn = logging.getLogger(__name__).warning


class SaltCLI(LightningCLI):
    """LightningCLI of one verb, which completes and checks its config before it builds anything.

    Parameters
    ----------
    verb : str
        fit, validate, test or predict.
    arguments : Sequence[str]
        What the user wrote, the verb first.
    resumed : str | None
        Directory of the run that goes on, in itself; None: a new one.
    """

    def __init__(self, verb: str, arguments: Sequence[str], resumed: str | None = None) -> None:
        arguments = secrets.options_without_keys(arguments)
        files, options = configs.split(arguments[1:])
        self._verb = verb
        self._config_files = files
        named = [*environment.config_files(os.environ, verb), *files]
        self._files = [secrets.without_keys(configs.read(file)) for file in (BASE, *map(packaged_config, named))]
        self._num_below = len(self._files) - len(files)  # what the environment's variables go over
        self._options = configs.options(options)
        self.asked = Asked(verb, keys_given(options), datetime.now(), resumed)
        self._checkpoint: str | None = None
        self._run = ExitStack()
        of_verb = {"exit_on_error": False, "default_config_files": [str(BASE)], "epilog": EPILOGS[verb]}
        self._new: list[Path] = []
        try:
            super().__init__(
                SaltModule,
                SaltDataModule,
                save_config_callback=RunRecord if verb == "fit" else None,
                save_config_kwargs={"arguments": arguments},
                seed_everything_default=42,
                trainer_defaults={"callbacks": _always(verb)},
                parser_kwargs={"prog": "salt", "exit_on_error": False, verb: of_verb},
                args=[verb, *options],
                auto_configure_optimizers=False,
                load_from_checkpoint_support=False,
            )
        except BaseException:
            self._remove_empty()
            raise
        finally:
            self._run.close()

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]
        """The one verb that was asked for: the other's parser would cost a second."""
        return {self._verb: SKIPPED}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Our own arguments, and the two links: what data and model must know of each other."""
        complete(parser)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse, after a look for keys that nothing reads: the parser's own words about them fill pages."""
        known = self._subcommand_parsers[self._verb]
        messages = list(unknown_keys([*self._files, self._options], known))
        if messages:
            raise ValueError("\n".join(messages))
        below, above = self._files[: self._num_below], [*self._files[self._num_below :], self._options]
        self._files += environment.sources(os.environ, self._verb, known, below, above)
        with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
            warnings.filterwarnings("ignore", ".*args parameter is intended to run from within Python.*")
            file = Path(folder) / "config.yaml"  # the parser would merge less: mappings not, but items of lists
            written = widths.completed(loggers.with_places(configs.merged(self._files)), self._options.content)
            file.write_text(yaml.safe_dump(written, sort_keys=False))
            with self._said_in_short():
                super().parse_arguments(parser, [args[0], f"--config={file}", *args[1:]])

    def _parse_ckpt_path(self) -> None:
        """A checkpoint does not change the config: Lightning's own would take hyperparameters from it."""

    def instantiate_classes(self) -> None:
        """Build the model, the data and the trainer, if this machine has the devices for it; from a checkpoint on."""
        misfits = list(devices.misfits(self.config[self._verb]))
        if misfits:
            raise ValueError("\n".join(map(str, misfits)))
        with warnings.catch_warnings():  # its successor is an argument that Lightning does not hand on
            warnings.simplefilter("ignore")
            self.parser.add_instantiator(build_logger, Logger, subclasses=True)
        try:
            with self._said_in_short():
                super().instantiate_classes()
        except MisconfigurationException as error:  # Lightning's word for what the user can mend
            raise ValueError(" ".join(str(error).split())) from error
        self.config_init[self._verb].ckpt_path = self._checkpoint

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Build the trainer, which writes checkpoints in our way, and metrics.csv whatever other loggers it has."""
        config = self.config_init[self._verb].trainer
        kwargs["logger"] = loggers.with_csv(config.logger, config.default_root_dir)
        return super().instantiate_trainer(**kwargs, plugins=plugins.completed(config.plugins))

    @contextmanager
    def _said_in_short(self) -> Iterator[None]:
        try:
            yield
        except (ArgumentError, TypeError, ValueError) as error:
            raise ValueError(in_short(str(error), [*self._files, self._options])) from error

    def before_instantiate_classes(self) -> None:
        """Fill in what only files and the machine know, then look for problems: first for those that need no file."""
        if wrong := list(faults(self.config[self._verb])):
            raise ValueError("\n".join(wrong))
        config = resolve(self.config[self._verb], self.asked)
        problems = check(config, self.asked)
        if problems:
            raise ValueError("\n".join(map(str, dict.fromkeys(problems))))
        if self._verb == "fit":
            shapes.make_missing(self.config[self._verb], self.asked)
        run = str(config.trainer.default_root_dir)
        absolute_paths(config)
        self._checkpoint = self._checkpoint_of(config, run)
        config.ckpt_path = None  # what is saved describes a run, and not where one came from
        self.save_config_kwargs |= {"checkpoint": self._checkpoint, "is_resumed": self.asked.resumed is not None}
        self.config[self._verb] = config
        self._new = [folder for folder in (Path(run), Path(run).parent) if not is_url(run) and not folder.exists()]

    def before_fit(self) -> None:
        """Take the run's directory for this process alone, and have its files go on where the checkpoint stands."""
        if self._checkpoint is None:
            self.model.begin()  # before anything is written: what it begins with may be refused
        if self.config[self._verb].compile:
            self.model.model.compile()  # in place: the names of its parameters stay
        if isinstance(self.trainer.accelerator, CUDAAccelerator):
            torch.set_float32_matmul_precision("medium")  # as upstream; on CPUs it would be bfloat16 here and there
        if self.trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        run = self.trainer.default_root_dir
        self._run.enter_context(held(run))
        if self.trainer.is_global_zero:
            remove_parts(run)
        continue_curves(self.trainer.loggers, self._checkpoint if self.asked.resumed else None)

    def _checkpoint_of(self, config: Namespace, run: str) -> str | None:
        """The checkpoint to go on from, or to test: the one that was asked for, else the best one for a test."""
        asked_for = config.ckpt_path
        if asked_for in FOUND_BY_WORD:
            return found_by_word(str(asked_for), self._config_files)
        if self._verb != "fit" and "ckpt_path" not in self.asked.keys:  # a config may name that which a run came from
            return best(run).path
        if asked_for is not None and not self.asked.resumed:
            readable(asked_for)
        return None if asked_for is None else str(asked_for)

    def validate(self, model: SaltModule, **options: Any) -> None:
        """Validate, and write what was found, in place of Lightning's table."""
        results = self.trainer.validate(model, **{**options, "verbose": False})
        write_table(self.trainer, results)

    def predict(self, model: SaltModule, **options: Any) -> None:
        """Write what a test writes, which asks for no labels either; Lightning's own would keep it all in memory."""
        self.trainer.test(model, **options, verbose=False)

    def _remove_empty(self) -> None:
        """Remove the folders of a run that failed before it wrote anything: a logger makes them early."""
        for folder in self._new:
            with suppress(OSError):
                folder.rmdir()


def _always(verb: str) -> list[Callback]:
    """What every training has, and every evaluation, whatever callbacks its config names."""
    of_fit = [LabelCheck(), DataWait(), FiniteCheck(), RunState(), Progress(), Stopping(), *pruning.asked_for()]
    return [Ranks(), *(of_fit if verb == "fit" else [])]


def main(arguments: Sequence[str], cli: Callable[..., SaltCLI] = SaltCLI) -> int:
    """Run fit, validate, test or predict, as the arguments begin; another `cli` does something else of the same."""
    quiet()
    keep_freed_memory()
    verb = arguments[0]
    if unused := settle():
        warn("this job has %d tasks, but srun has not started them: srun salt %s ...", unused + 1, verb)
    answering = DOOR.opened() if verb == "fit" else ended_by_signals()
    with with_parent(), COMPANY.kept(), answering, secrets.handed_on():
        if verb == "fit":
            return _fit(arguments, cli)
        if verb == "test" and is_sweep_asked(arguments):
            test_sweep(arguments)
        else:
            cli(verb, with_run(arguments))
    return 0


def _fit(arguments: Sequence[str], cli: Callable[..., SaltCLI]) -> int:
    """Train, or go on with a training, if anything is left to do."""
    written_out, run, finished = resumed(arguments)
    if not finished:
        cli("fit", written_out, run)
    elif run is not None:
        with held(run):
            remove_parts(run)
    return 0
