"""The record of a run: what it was asked to do, with what, by whom; in its own directory."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

import lightning
import yaml
from jsonargparse import Namespace
from lightning import LightningModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser, SaveConfigCallback
from lightning.pytorch.loggers import CSVLogger

from salt import __version__
from salt.callbacks import state
from salt.callbacks.differences import flat
from salt.callbacks.metadata import facts
from salt.callbacks.provenance import Provenance
from salt.callbacks.resumption import changed_data, changed_keys
from salt.callbacks.run_text import LOADER, read, read_yaml, write, write_yaml
from salt.callbacks.secrets import secrets_in, secrets_of_environment, without_secrets
from salt.training.run_files import absolute, exists, joined, remove

log = logging.getLogger(__name__)

COPIED = ("norm_dict", "class_dict")
"""Keys of `data` that name small files that the run keeps a copy of."""

CONFIG, METADATA, PATCH = "config.yaml", "metadata.yaml", "diff.patch"

HEADER = f"# lightning.pytorch=={lightning.__version__}\n# salt=={__version__}\n"


class RunRecord(SaveConfigCallback):
    """Write the merged config, copies of the dictionaries, where all comes from and how it goes into a run's folder.

    The saved config names the copies, so that it works without the originals. Nothing is written by a run that is not
    a `fit`, or that only tries things out (fast_dev_run). A run that is gone on with inside its directory keeps its
    config, unless options have changed it: then the one before is kept as config-1.yaml.

    Parameters
    ----------
    parser : LightningArgumentParser
        Knows how to write the config.
    config : Namespace
        What was asked for.
    arguments : Sequence[str]
        What the user wrote after `salt`.
    checkpoint : str | None
        Where training goes on from; None: it begins.
    is_resumed : bool
        Whether the run goes on inside its directory.
    """

    def __init__(
        self,
        parser: LightningArgumentParser,
        config: Namespace,
        arguments: Sequence[str] = (),
        checkpoint: str | None = None,
        is_resumed: bool = False,
    ) -> None:
        super().__init__(parser, config, save_to_log_dir=False)
        self.arguments = arguments
        self.checkpoint = checkpoint
        self.is_resumed = is_resumed

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write the record."""
        if stage != "fit" or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        run = str(trainer.default_root_dir)
        with ExitStack() as undo:  # a record is there whole, or not at all
            config = self._with_copies(run, undo)
            content = self._plain(config)
            secrets = secrets_in(content) | secrets_of_environment()
            content = {**without_secrets(content), "ckpt_path": None}  # it is of this training, not of the next
            provenance = Provenance.here(self.arguments, secrets)
            before = run if self.is_resumed else _run_of(self.checkpoint)
            changed = changed_keys(joined(before, CONFIG), content) if before is not None else []
            for each in changed:
                log.info("changed since %s: %s", before, each)
            self._write_metadata(trainer, run, before, content, provenance, bool(changed), undo)
            if not self.is_resumed or changed or not exists(joined(run, CONFIG)):
                _keep_old(run, undo)
                _write(joined(run, CONFIG), content, undo, HEADER)
            _write_patch(run, provenance, secrets, undo)
            state.begin(run, epochs=trainer.max_epochs)
            undo.pop_all()
        log.info("run directory: %s", run)
        _log_to(trainer, content)

    def _with_copies(self, run: str, undo: ExitStack) -> Namespace:
        """The config, with the dictionaries copied into the run."""
        config = self.config.clone()
        names: set[str] = set()
        for key in COPIED:
            original = config.data[key]
            if original is None:
                continue
            name = str(original).rpartition("/")[2]
            copy = joined(run, name if name not in names else f"{key}_{name}")
            names.add(name)
            if not exists(copy):
                undo.callback(remove, copy)
            if str(original) != copy:
                write(copy, read(original))
            config.data[key] = copy
        return config

    def _plain(self, config: Namespace) -> dict[str, Any]:
        """The config as YAML has it."""
        dumped = self.parser.dump(config, skip_unset=False, skip_validation=True, format="yaml")  # it has been parsed
        content = yaml.load(dumped, LOADER)
        assert isinstance(content, dict)
        return content

    def _write_metadata(
        self,
        trainer: Trainer,
        run: str,
        before: str | None,
        content: dict[str, Any],
        provenance: Provenance,
        changed: bool,
        undo: ExitStack,
    ) -> None:
        """Write where all comes from, or add it to what is written already; warn of data that have changed."""
        commit = None if provenance.salt is None else provenance.salt.commit
        record = provenance.record()
        metadata = {**without_secrets(facts(trainer, content, commit)), **record}
        for each in changed_data(joined(before, METADATA), metadata) if before is not None else []:
            log.warning("%s", each)
        old = read_yaml(joined(run, METADATA)) if self.is_resumed else {}
        if old:
            names = ("timestamp", "hostname", "salt_version", "command", "environment", "git", "salt_git")
            entry = {
                "ckpt_path": self.checkpoint,
                "config_changed": changed,
                **{name: metadata[name] for name in names},
            }
            if record["packages"] != old.get("packages"):
                entry["packages"] = record["packages"]
            resumed = [*(old.get("resumed") or []), entry]
            jobs = {name: record[name] for name in ("salt_job_id", "slurm_job_id")}
            metadata = {**old, **jobs, "resumed": resumed}
        else:
            metadata |= {"ckpt_path": self.checkpoint, "tag": self._tagged(provenance, run)}
        _write(joined(run, METADATA), metadata, undo)

    def _tagged(self, provenance: Provenance, run: str) -> str | None:
        """Tag the commit that the user works on, where that is asked for; the tag's name."""
        if not self.config.get("tag"):
            return None
        name = f"salt/{run.rpartition('/')[2]}"
        try:
            if provenance.repository is None:
                raise ValueError(f"--tag: {Path.cwd()} is in no git repository")
            provenance.repository.tag(name)
        except ValueError as error:
            if not self.config.get("force"):
                raise ValueError(f"{error}\n  mend: leave --tag out, or give --force to go on without a tag") from error
            log.warning("%s", error)
            return None
        log.info("tagged %s as %s", provenance.repository.commit[:12], name)
        return name


def _write(file: str, content: dict[str, Any], undo: ExitStack, header: str = "") -> None:
    """Write a file, to be removed again if the record cannot be written."""
    if not exists(file):
        undo.callback(remove, file)
    write_yaml(file, content, header)


def _keep_old(run: str, undo: ExitStack) -> None:
    """Keep the config of before under another name."""
    old = read(joined(run, CONFIG))
    if old:
        kept = _free_name(run, "config-{}.yaml")
        undo.callback(remove, kept)
        write(kept, old)
        undo.callback(write, joined(run, CONFIG), old)
        log.info("the config of before is kept as %s", kept)


def _write_patch(run: str, provenance: Provenance, secrets: set[str], undo: ExitStack) -> None:
    """Keep what is not in any commit: without it nobody could tell with which code the run was made."""
    dirty = provenance.dirty()
    if not dirty:
        return
    file = joined(run, PATCH) if not exists(joined(run, PATCH)) else _free_name(run, "diff-{}.patch")
    undo.callback(remove, file)
    write(file, provenance.patch(secrets))
    directories = " and ".join(each.directory for each in dirty)
    log.warning("changes in %s are in no commit: they are kept in %s", directories, file)


def _free_name(run: str, pattern: str) -> str:
    """The first name that no file of the run has."""
    return next(name for number in count(1) if not exists(name := joined(run, pattern.format(number))))


def _run_of(checkpoint: str | None) -> str | None:
    """The run that a checkpoint belongs to; None where it lies elsewhere."""
    run = "/".join(absolute(checkpoint).split("/")[:-2]) if checkpoint else None
    return run if run and exists(joined(run, CONFIG)) else None


def _log_to(trainer: Trainer, content: dict[str, Any]) -> None:
    """Give the config to the loggers, but for that whose file lies beside config.yaml."""
    values = {
        re.sub(r"\[(\d+)\]", r".\1", key): value if isinstance(value, int | float | str | None) else str(value)
        for key, value in flat(content)  # MLflow takes no brackets
    }
    for logger in trainer.loggers:
        if not isinstance(logger, CSVLogger):
            logger.log_hyperparams(values)
