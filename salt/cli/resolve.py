"""What only files, the machine and the clock know, filled into the config: one rule, one function. It is what is saved.

Each rule takes a config that it may change (the copy that `resolve` made) and says in the log what it filled in.
"""

from __future__ import annotations

import logging
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jsonargparse import Namespace

from salt.cli import loggers, umami
from salt.cli.asked import READ_BY, Asked
from salt.cli.files import PACKAGED, is_packaged, packaged_path
from salt.cli.machine import as_evaluation, as_launched, other_gpus, without_gpu
from salt.cli.parsed import fill, made, schema, tasks
from salt.data.dicts import read_class_dict
from salt.data.sources import Pattern, open_sample
from salt.training.init_from import checkpoint_of
from salt.training.run_files import absolute, exists, joined

log = logging.getLogger(__name__)

FILES = ("train_file", "val_file", "test_file", "norm_dict", "class_dict")
"""Keys of `data` that name files."""

DEFAULT_MONITOR = "val/jets_classification_loss"
"""What base.yaml monitors."""

TIMESTAMP = re.compile(r"_\d{8}-\d{6}$")


def resolve(config: Namespace, asked: Asked) -> Namespace:
    """The config with everything filled in; the one that is given stays as it is."""
    config = config.clone()
    rules = [packaged_files, files_beside, linked_norm_dict, umami_layout, class_names_of_file, class_weights]
    rules += [without_gpu, other_gpus, monitored_loss, switched_off]
    rules += {"fit": [as_launched, run_directory, first_weights]}.get(asked.verb, [as_evaluation])
    for rule in rules:
        rule(config, asked)
    return config


def packaged_files(config: Namespace, asked: Asked) -> None:
    """The paths of the package's own sample and dictionaries."""
    for key in FILES:
        if isinstance(config.data[key], str | Path):
            config.data[key] = packaged_path(str(config.data[key]))
    if asked.verb == "fit" and config.data.train_file == str(PACKAGED / "sample.h5"):
        log.info("training on the package's sample of 2,000 simulated jets (data.train_file names another file)")


def files_beside(config: Namespace, asked: Asked) -> None:
    """Dictionaries and other files beside the training file, where the config still names those of the sample."""
    train = _first(config.data.train_file)
    if asked.verb != "fit" or train is None or is_packaged(train):
        return
    names = {"norm_dict": "norm_dict.yaml", "class_dict": "class_dict.yaml"}
    if "train" in Path(train).name:
        names |= {f"{part}_file": Path(train).name.replace("train", part) for part in ("val", "test")}
    for key, name in names.items():
        beside = Path(train).parent / name
        if is_packaged(config.data[key]) and beside.is_file():
            fill(config.data, key, str(beside), "data.", "the folder of data.train_file")
    weighs = any(task.get("use_class_dict") for _, task in tasks(config))
    if not weighs and is_packaged(config.data.class_dict):
        config.data.class_dict = None  # that of the sample, which no task asks for


def class_names_of_file(config: Namespace, asked: Asked) -> None:
    """Names of the classes, where the training file knows them."""
    labeller, file = config.data.labeller_config, config.data.train_file
    for key, task in tasks(config):
        if "class_names" not in task or task.class_names is not None or task.get("label_map") is not None:
            continue
        if task.label in made(config, task.input_name) and labeller:
            fill(task, "class_names", labeller.class_names, f"{key}.", "data.labeller_config.class_names")
            continue
        names = [] if file is None else _names_in(file, schema(config).dataset(task.input_name), task.label)
        if names:
            fill(task, "class_names", names, f"{key}.", f"the attributes of {file}")


def linked_norm_dict(config: Namespace, asked: Asked) -> None:
    """The link from data to model read the config as it was parsed, before the rules above."""
    config.model.norm_dict = config.data.norm_dict


def umami_layout(config: Namespace, asked: Asked) -> None:
    """What files of umami's layout bring: names of their variables, and inputs that are normalised already."""
    umami.fill_variables(config, READ_BY[asked.verb])
    umami.leave_normalised(config, asked.verb)


def _names_in(file: Pattern, dataset: str, label: str) -> list[str]:
    """Names of the classes of a label, if the file has them."""
    try:
        with open_sample(file, "data.train_file") as sample:
            found = np.atleast_1d(sample.table(dataset, "data.train_file").attrs.get(label, [])).tolist()
    except (OSError, ValueError, ImportError):
        return []  # a check finds what is wrong with the file
    return [name.decode() if isinstance(name, bytes) else str(name) for name in found]


def _first(files: Any) -> str | None:
    """The first name of what a key of files says."""
    return str(files[0]) if isinstance(files, list) and files else None if files is None else str(files)


def class_weights(config: Namespace, asked: Asked) -> None:
    """Weights of the classes in the losses that ask for the class dictionary."""
    wanted = [(key, task) for key, task in tasks(config) if task.get("use_class_dict")]
    if asked.verb in {"test", "predict"} or not wanted or config.data.class_dict is None:
        return
    try:
        weights = read_class_dict(config.data.class_dict)
    except (OSError, ValueError):
        return  # a check says so
    for key, task in wanted:
        of = weights.get(schema(config).dataset(task.input_name), {})
        loss = task.loss if isinstance(task.loss, Namespace) else Namespace(class_path=_loss_path(task.loss))
        arguments = loss.get("init_args") or Namespace()
        if task.label in of and arguments.get("weight") is None:
            arguments.weight = torch.tensor([float(w) for w in of[task.label]])
            loss.init_args = arguments
            task.loss = loss
            shown = ", ".join(f"{w:g}" for w in of[task.label])
            log.info("filled %s.loss.init_args.weight = [%s] from %s", key, shown, config.data.class_dict)


def _loss_path(name: str | None) -> str:
    """Class path of a loss of torch.nn."""
    return f"torch.nn.{(name or 'CrossEntropyLoss').rpartition('.')[2]}"


def monitored_loss(config: Namespace, asked: Asked) -> None:
    """The loss that names checkpoints, where it is that of base.yaml, and of a task that this model does not have."""
    names = {task.get("name") for _, task in tasks(config)}
    callbacks = config.trainer.callbacks if isinstance(config.trainer.callbacks, list) else []
    for i, callback in enumerate(callbacks if names and DEFAULT_MONITOR.removesuffix("_loss")[4:] not in names else []):
        if callback.get("init_args.monitor_loss") == DEFAULT_MONITOR:
            reason = "the sum of all losses: no task is called jets_classification"
            fill(callback.init_args, "monitor_loss", "val/loss", f"trainer.callbacks[{i}].init_args.", reason)


SWITCHES = {"enable_progress_bar": "ProgressBar", "enable_model_summary": "ModelSummary"}
"""Key of the trainer -> how callbacks' names end that Lightning refuses where it is false."""


def switched_off(config: Namespace, asked: Asked) -> None:
    """Without the callbacks of base.yaml for what is switched off."""
    callbacks = config.trainer.callbacks if isinstance(config.trainer.callbacks, list) else []
    off = tuple(end for key, end in SWITCHES.items() if config.trainer.get(key) is False)
    kept = [each for each in callbacks if not (off and each.class_path.endswith(off))]
    if len(kept) < len(callbacks):
        config.trainer.callbacks = kept


def run_directory(config: Namespace, asked: Asked) -> None:
    """The run's own directory, logs/<name>_<time> or logs/<name>_<suffix>, for checkpoints and loggers.

    The config of an old run names that run's directory: the new one lies beside it, with a time of its own. Only a run
    that is resumed goes on in its own directory.
    """
    old = absolute(config.trainer.default_root_dir or "logs")
    logs, _, name = old.rpartition("/")
    is_run = TIMESTAMP.search(name) is not None or exists(joined(old, "config.yaml"))
    if is_run and "log_suffix" not in asked.keys and asked.resumed is None:
        config.log_suffix = None
    suffix = config.log_suffix or asked.now.strftime("%Y%m%d-%H%M%S")
    run = asked.resumed or joined(logs if is_run else old, f"{config.name}_{suffix}")
    config.trainer.default_root_dir = run
    loggers.complete(config, run, old)


def first_weights(config: Namespace, asked: Asked) -> None:
    """The best checkpoint of the run that a training begins from; of no use to one that goes on."""
    if config.model.init_from is None or goes_on(config, asked):
        return
    with suppress(OSError, ValueError):  # a check says so
        path = checkpoint_of(config.model.init_from.ckpt)
        if path != config.model.init_from.ckpt:
            fill(config.model.init_from, "ckpt", path, "model.init_from.", config.model.init_from.ckpt)


def goes_on(config: Namespace, asked: Asked) -> bool:
    """Whether a training has a checkpoint of its own to go on from."""
    return asked.resumed is not None or config.ckpt_path is not None
