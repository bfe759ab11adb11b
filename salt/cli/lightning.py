"""fit and test: LightningCLI, with the base config, the two links, and the rooms of the CLI around it."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
import yaml
from jsonargparse import ArgumentError
from jsonargparse.typing import register_type
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from salt.callbacks.data_wait import DataWait
from salt.callbacks.label_check import LabelCheck
from salt.callbacks.record import RunRecord
from salt.cli import configs
from salt.cli.check import check
from salt.cli.files import PACKAGED, packaged_config
from salt.cli.keys import unknown_keys
from salt.cli.messages import in_short
from salt.cli.resolve import Asked, resolve
from salt.cli.runs import best_checkpoint, with_run
from salt.data.datamodule import SaltDataModule
from salt.data.death import ended_by_signals
from salt.training.memory import keep_freed_memory
from salt.training.module import SaltModule

SKIPPED = {"model", "train_dataloaders", "val_dataloaders", "dataloaders", "datamodule"}
"""Arguments of the trainer's methods that are not for the user."""

SHORT = {"-n": "name", "-ls": "log_suffix"}
"""Options with a short form."""

BASE = PACKAGED / "base.yaml"

# Class weights are lists in YAML and tensors in torch; 1.67 is not to become 1.6699999570846558.
register_type(torch.Tensor, serializer=lambda x: [float(str(value)) for value in x.numpy()], deserializer=torch.tensor)


class SaltCLI(LightningCLI):
    """LightningCLI of one verb, which completes and checks its config before it builds anything.

    Parameters
    ----------
    verb : str
        fit or test.
    arguments : Sequence[str]
        What the user wrote, the verb first.
    """

    def __init__(self, verb: str, arguments: Sequence[str]) -> None:
        files, options = configs.split(arguments[1:])
        self._verb = verb
        self._files = [configs.read(file) for file in (BASE, *map(packaged_config, files))]
        self._options = configs.options(options)
        self.asked = Asked(verb, _keys(options), datetime.now())
        parser_kwargs = {"exit_on_error": False, "default_config_files": [str(BASE)]}  # what --help shows
        self._new: list[Path] = []
        try:
            super().__init__(
                SaltModule,
                SaltDataModule,
                save_config_callback=RunRecord if verb == "fit" else None,
                seed_everything_default=42,
                trainer_defaults={"callbacks": [LabelCheck(), DataWait()]} if verb == "fit" else None,
                parser_kwargs={"prog": "salt", "exit_on_error": False, verb: parser_kwargs},
                args=[verb, *options],
                auto_configure_optimizers=False,
                load_from_checkpoint_support=False,
            )
        except BaseException:
            self._remove_empty()
            raise

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]
        """The one verb that was asked for: the other's parser would cost a second."""
        return {self._verb: SKIPPED}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Our own arguments, and the two links: what data and model must know of each other."""
        parser.add_argument("-n", "--name", type=str, default="salt", help="Name of the model and of the run.")
        parser.add_argument(
            "-ls", "--log_suffix", type=str | None, default=None, help="End of the run directory's name, not the time."
        )
        parser.link_arguments("name", "model.name")
        parser.link_arguments("data.norm_dict", "model.norm_dict")
        parser.link_arguments(
            ("data.variables", "data.global_object", "data.input_map"),
            "model.model.init_args.schema",
            compute_fn=_schema,
        )
        parser.link_arguments("model", "data.labels", compute_fn=_required_labels, apply_on="instantiate")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse, after a look for keys that nothing reads: the parser's own words about them fill pages."""
        messages = list(unknown_keys([*self._files, self._options], self._subcommand_parsers[self._verb]))
        if messages:
            raise ValueError("\n".join(messages))
        with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
            warnings.filterwarnings("ignore", ".*args parameter is intended to run from within Python.*")
            file = Path(folder) / "config.yaml"  # the parser would merge less: mappings not, but items of lists
            file.write_text(yaml.safe_dump(configs.merged(self._files), sort_keys=False))
            with self._said_in_short():
                super().parse_arguments(parser, [args[0], f"--config={file}", *args[1:]])

    def instantiate_classes(self) -> None:
        """Build the model, the data and the trainer."""
        with self._said_in_short():
            super().instantiate_classes()

    @contextmanager
    def _said_in_short(self) -> Iterator[None]:
        try:
            yield
        except (ArgumentError, TypeError, ValueError) as error:
            raise ValueError(in_short(str(error), [*self._files, self._options])) from error

    def before_instantiate_classes(self) -> None:
        """Fill in what only files and the machine know, then look for problems."""
        config = resolve(self.config[self._verb], self.asked)
        problems = check(config, self.asked)
        if problems:
            raise ValueError("\n".join(map(str, dict.fromkeys(problems))))
        if self._verb == "test" and config.ckpt_path is None:
            config.ckpt_path = str(best_checkpoint(Path(config.trainer.default_root_dir)))
        self.config[self._verb] = config
        run = Path(config.trainer.default_root_dir)
        self._new = [folder for folder in (run, run.parent) if not folder.exists()]

    def _remove_empty(self) -> None:
        """Remove the folders of a run that failed before it wrote anything: a logger makes them early."""
        for folder in self._new:
            with suppress(OSError):
                folder.rmdir()


def _schema(variables: dict[str, list[str]], global_object: str, input_map: dict[str, str] | None) -> dict[str, Any]:
    """Arguments of the Schema: the parser builds dataclasses itself."""
    return {"variables": variables, "global_object": global_object, "input_map": input_map or {}}


def _required_labels(model: SaltModule) -> dict[str, list[str]]:
    return model.required_labels()


def _keys(options: Sequence[str]) -> frozenset[str]:
    """Names of the options given on the command line."""
    names = (option.partition("=")[0] for option in options if option.startswith("-") and option != "--")
    return frozenset(SHORT.get(name, name.removeprefix("--").removesuffix("+")) for name in names)


def main(arguments: Sequence[str], cli: type[SaltCLI] = SaltCLI) -> int:
    """Run fit or test; the arguments begin with the verb. Another `cli` does something else of the same arguments."""
    _quiet()
    keep_freed_memory()
    verb = arguments[0]
    arguments = with_run(arguments) if verb == "test" else list(arguments)
    with ended_by_signals():
        cli(verb, arguments)
    return 0


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a remark of Lightning's tells the user something: other products and absent hardware do not."""
    message = record.getMessage()
    return not any(words in message for words in ("litlogger", "TPU available", "Skipping setting a default"))


def _quiet() -> None:
    """Third parties' remarks that say nothing to a user of this program."""
    for message in (
        ".*does not have many workers.*",  # one thread serves, see data.num_workers
        ".*Experiment logs directory.*exists and is not empty.*",  # it holds the config
        ".*LeafSpec.*deprecated.*",
        ".*Checkpoint directory.*exists and is not empty.*",
    ):
        warnings.filterwarnings("ignore", message)
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(_is_news)
    warnings.filterwarnings("ignore", category=DeprecationWarning, module="lightning|jsonargparse")  # not ours to mend
