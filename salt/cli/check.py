"""What is wrong with a config, found before anything is built: one check, one function, config -> problems."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from jsonargparse import Namespace

from salt.cli.asked import READ_BY, Asked
from salt.cli.files import is_packaged
from salt.cli.parsed import made, schema, tasks
from salt.cli.resolve import goes_on
from salt.cli.umami import is_normalised
from salt.cli.widths import misfits
from salt.data.dicts import read_class_dict, read_norm_dict
from salt.data.fields import check_type
from salt.data.names import unknown
from salt.data.sources import Pattern, Sample, open_sample
from salt.tasks.classification import CLASS_NAMES
from salt.tasks.losses import loss_names, short_name
from salt.tasks.scaling import listed
from salt.training.init_from import checkpoint_of
from salt.training.run_files import exists, joined
from salt.types import PARAMETERS

Check = Callable[[Namespace, Asked], Iterator["Problem"]]

LABELS_LOOKED_AT = 10_000
"""So many jets of the training file are looked at for labels that no class is for."""


LABELS = {
    "label": "label", "target": "targets", "denominator": "target_denominators", "weight": "sample_weight",
}  # fmt: skip
"""What a task may ask the training file for -> its argument."""


class Problem(NamedTuple):
    """Something that the user has to mend: the key of the config, what is wrong, and how to mend it."""

    key: str
    cause: str
    mend: str

    def __str__(self) -> str:
        return f"{self.cause}\n  mend: {self.mend}"


def check(config: Namespace, asked: Asked) -> list[Problem]:
    """What the first check finds that finds something: what later ones would, may only follow from it."""
    checks: dict[str, list[Check]] = {
        "fit": [
            _missing_files, _sample_dicts, _losses, _train_contents, _val_contents, _norm_dict,
            _class_counts, _class_dict, _label_values, _widths, _monitored, _old_run, _first_weights,
        ],
        "validate": [_missing_files, _val_contents, _class_counts],
        "test": [_missing_files, _test_contents],
        "predict": [_missing_files, _test_contents],
    }  # fmt: skip
    found = (list(of(config, asked)) for of in checks[asked.verb])
    return next((problems for problems in found if problems), [])


def _caught(key: str, mend: str, run: Callable[[], object]) -> Iterator[Problem]:
    """The problem that `run` raises, if it does."""
    try:
        run()
    except (OSError, ValueError) as error:
        yield Problem(key, str(error), mend)


def _needed(config: Namespace, asked: Asked) -> Iterator[tuple[str, Any, Callable[[Any], object]]]:
    """Each file that the verb reads: its key, its name, and what opens it."""
    others = ["data.val_file"] if asked.verb == "fit" and _validates(config) else []
    for key in [READ_BY[asked.verb], *others]:
        yield key, config[key], partial(_open, key=key)
    if asked.verb == "fit":
        if config.data.norm_dict is not None or not is_normalised(config):
            yield "data.norm_dict", config.data.norm_dict, read_norm_dict
        if config.data.class_dict is not None or any(task.get("use_class_dict") for _, task in tasks(config)):
            yield "data.class_dict", config.data.class_dict, read_class_dict


def _validates(config: Namespace) -> bool:
    return config.trainer.limit_val_batches != 0


def _open(name: Pattern, key: str) -> None:
    open_sample(name, key).close()


def _missing_files(config: Namespace, asked: Asked) -> Iterator[Problem]:
    for key, name, read in _needed(config, asked):
        if name is None:
            yield Problem(key, f"{key} is not given", f"name a file: --{key}=FILE, or in the YAML")
        else:
            yield from _caught(key, f"correct {key}, or give --{key}=FILE", partial(read, name))


def _sample_dicts(config: Namespace, asked: Asked) -> Iterator[Problem]:
    """The sample's dictionaries and validation jets are of no use to another training file."""
    if is_packaged(config.data.train_file):
        return
    for key in ("data.val_file", "data.norm_dict", "data.class_dict"):
        if is_packaged(config[key]):
            cause = f"{key} is still that of the package's sample, but data.train_file is {config.data.train_file}"
            yield Problem(key, cause, f"give --{key}=FILE, made together with the training file (or null: none)")


def _norm_dict(config: Namespace, asked: Asked) -> Iterator[Problem]:
    if is_normalised(config):
        return  # umami's scale dict has no entries for variables that were not scaled
    of, norms = schema(config), read_norm_dict(config.data.norm_dict)
    where = f"{config.data.norm_dict} (data.norm_dict)"
    for stream, names in of.variables.items():
        if stream == PARAMETERS:
            continue  # chosen, not measured: they are not normalised
        dataset = of.dataset(stream)
        if dataset not in norms:
            cause = unknown("dataset", dataset, norms, where)
            yield Problem("data.norm_dict", cause, "take the dictionary that was made with the training file")
            continue
        for name in names:
            if name not in norms[dataset]:
                cause = unknown("variable", name, norms[dataset], f"{dataset!r} of {where}")
                yield Problem(f"data.variables.{stream}", cause, f"correct the name in data.variables.{stream}")
            elif not _usable(norms[dataset][name]):
                cause = f"{name} of {dataset!r} in {where} is {norms[dataset][name]}: std must not be 0, both finite"
                yield Problem("data.norm_dict", cause, f"leave {name} out, or correct the dictionary")


def _usable(entry: dict[str, float]) -> bool:
    mean, std = float(entry.get("mean", np.nan)), float(entry.get("std", np.nan))
    return bool(np.isfinite([mean, std]).all()) and std != 0


def _train_contents(config: Namespace, asked: Asked) -> Iterator[Problem]:
    yield from _contents(config, "data.train_file")


def _val_contents(config: Namespace, asked: Asked) -> Iterator[Problem]:
    if _validates(config):
        yield from _contents(config, "data.val_file")


def _contents(config: Namespace, key: str) -> Iterator[Problem]:
    with open_sample(config[key], key) as sample:
        yield from _variables(config, sample, key)
        yield from _labels(config, sample)


def _test_contents(config: Namespace, asked: Asked) -> Iterator[Problem]:
    with open_sample(config.data.test_file, "data.test_file") as sample:
        yield from _variables(config, sample, "data.test_file")


def _variables(config: Namespace, sample: Sample, file_key: str) -> Iterator[Problem]:
    of = schema(config)
    for stream, names in of.variables.items():
        key, dataset = f"data.variables.{stream}", of.dataset(stream)
        missing = list(_caught(key, f"correct {key}, or {file_key}", partial(sample.table, dataset, key)))
        yield from missing
        if missing:
            continue
        table = sample.table(dataset, key)
        for name in names:
            if name not in made(config, stream):
                look = partial(check_type, table.dtype, name, "variable", f"{table.where}, {key}")
                yield from _caught(key, f"correct the name in {key}", look)


def _labels(config: Namespace, sample: Sample) -> Iterator[Problem]:
    of = schema(config)
    for key, task in tasks(config):
        stream = task.get("input_name", "")
        if of.dataset(stream) not in sample.names():
            continue
        for kind, argument in LABELS.items():
            for name in listed(task.get(argument) or []):
                if name not in made(config, stream):
                    where = f"{key}.{argument}"
                    table = sample.table(of.dataset(stream), where)
                    look = partial(check_type, table.dtype, name, kind, f"{table.where}, {where}")
                    yield from _caught(where, f"correct {where}", look)


def _output_size(task: Namespace) -> int | None:
    return (task.get("dense_config") or {}).get("output_size")


def _losses(config: Namespace, asked: Asked) -> Iterator[Problem]:
    """Names that the parser took for what they are not: those of losses it leaves as they are."""
    for key, task in tasks(config):
        loss = task.get("loss")
        if isinstance(loss, str) and short_name(loss) not in loss_names():
            where = f"{key}.loss"
            yield Problem(
                where, unknown("loss", short_name(loss), loss_names(), f"torch.nn ({where})"), f"correct {where}"
            )


def _class_counts(config: Namespace, asked: Asked) -> Iterator[Problem]:
    for key, task in tasks(config):
        if "class_names" not in task:
            continue
        names = task.class_names or CLASS_NAMES.get(task.label)
        size = _output_size(task)
        if names is not None and size not in {None, len(names)}:
            cause = (
                f"task {task.name!r} has dense_config.output_size {size}, but {task.label} has {len(names)} classes: "
                f"{', '.join(names)} ({key}.class_names, or the attributes of {config.data.train_file})"
            )
            yield Problem(f"{key}.dense_config", cause, f"set {key}.dense_config.output_size to {len(names)}")


def _class_dict(config: Namespace, asked: Asked) -> Iterator[Problem]:
    wanted = [(key, task) for key, task in tasks(config) if task.get("use_class_dict")]
    of, file = schema(config), config.data.class_dict
    weights_of = read_class_dict(file) if wanted else {}
    for key, task in wanted:
        dataset, size = of.dataset(task.input_name), _output_size(task)
        weights = weights_of.get(dataset, {})
        if task.label not in weights:
            cause = unknown("label", task.label, weights, f"{dataset!r} of {file} (data.class_dict)")
            yield Problem(f"{key}.use_class_dict", cause, "make the dictionary anew, or set use_class_dict to false")
        elif size not in {None, len(weights[task.label])}:
            cause = (
                f"{file} (data.class_dict) has {len(weights[task.label])} weights for {task.label} of {dataset!r}, "
                f"but task {task.name!r} has dense_config.output_size {size}"
            )
            yield Problem(f"{key}.dense_config", cause, "let the two agree, or set use_class_dict to false")


def _label_values(config: Namespace, asked: Asked) -> Iterator[Problem]:
    """Labels in the training file that no class is for: cross-entropy would fail in the middle of an epoch."""
    of = schema(config)
    with open_sample(config.data.train_file, "data.train_file") as sample:
        for key, task in tasks(config):
            stream, size = task.get("input_name", ""), _output_size(task)
            dataset = of.dataset(stream)
            plain = "class_names" in task and task.label not in made(config, stream)
            if not plain or size is None or dataset not in sample.names():
                continue
            table = sample.table(dataset, f"{key}.label")
            if task.label not in (table.dtype.names or ()):
                continue
            labels = table.read(0, min(LABELS_LOOKED_AT, table.num_jets))[task.label]
            labels = labels[~np.isin(labels, list(task.get("label_map") or {}))]
            top = int(labels.max()) if labels.size else -1
            if top >= max(size, 2):  # one class is against all else
                cause = (
                    f"label {task.label} of {dataset!r} in {config.data.train_file} has the value {top}, but task "
                    f"{task.name!r} knows the classes 0 to {size - 1} (dense_config.output_size {size})"
                )
                mend = f"raise output_size, or give {key}.label_map: {{{top}: -1}} leaves it out"
                yield Problem(f"{key}.label_map", cause, mend)


def _widths(config: Namespace, asked: Asked) -> Iterator[Problem]:
    for misfit in misfits(config):
        cause = f"{misfit.key} is {misfit.width}, but {misfit.because}"
        yield Problem(misfit.key, cause, f"set {misfit.key} to {misfit.expected}, or leave it out")


def _monitored(config: Namespace, asked: Asked) -> Iterator[Problem]:
    """A loss that names checkpoints, but that no task has; other metrics are known once the tasks are built."""
    names = [f"{task.name}_loss" for _, task in tasks(config) if "name" in task]
    losses = [f"{stage}/{name}" for stage in ("val", "train") for name in ("loss", *names)]
    callbacks = config.trainer.callbacks if isinstance(config.trainer.callbacks, list) else []
    for i, callback in enumerate(callbacks if names else []):
        wanted = callback.get("init_args.monitor_loss")
        if wanted is not None and wanted.endswith("loss") and wanted not in losses:
            key = f"trainer.callbacks[{i}].init_args.monitor_loss"
            yield Problem(key, unknown("loss", wanted, losses, key), "name one that is logged")


def _first_weights(config: Namespace, asked: Asked) -> Iterator[Problem]:
    """The checkpoint that a training begins from, which is not needed later."""
    begins = config.model.init_from
    if begins is not None and not goes_on(config, asked):
        mend = "give model.init_from.ckpt a checkpoint, or the directory of a run"
        yield from _caught("model.init_from.ckpt", mend, partial(checkpoint_of, begins.ckpt))


def _old_run(config: Namespace, asked: Asked) -> Iterator[Problem]:
    """A run directory that holds a run: two runs' checkpoints in one could not be told apart."""
    run = str(config.trainer.default_root_dir)
    may_be = config.trainer.fast_dev_run or config.overwrite_config or asked.resumed is not None
    if not may_be and exists(joined(run, "config.yaml")):
        mend = f"give another --log_suffix, go on with that run (salt fit --resume {run}), or --overwrite_config"
        yield Problem("log_suffix", f"there is a run in {run} already", mend)
