"""Metadata: the facts of a run under upstream's names, which old scripts read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning import Trainer
from lightning.pytorch.accelerators import CPUAccelerator

from salt.callbacks.fingerprints import fingerprints
from salt.callbacks.processes import Process
from salt.callbacks.state import now
from salt.data.datamodule import SaltDataModule
from salt.data.sources import Sample, open_sample
from salt.data.splits import StoredSplit


def facts(trainer: Trainer, config: Mapping[str, Any], commit: str | None) -> dict[str, Any]:
    """Upstream's keys, in its order; then seed, stores and fingerprints of the data files. null: a file does not tell.

    Parameters
    ----------
    trainer : Trainer
        Has its model, and has opened its data.
    config : Mapping[str, Any]
        The merged config, as it is written.
    commit : str | None
        Of this package; None where it is not worked on.
    """
    data = config["data"]
    files = {name: _of_files(trainer, data, name) for name in ("train", "val")}
    train, val = files["train"], files["val"]
    is_cpu = isinstance(trainer.accelerator, CPUAccelerator)
    parameters = sum(each.numel() for each in trainer.lightning_module.parameters() if each.requires_grad)
    return {
        "train_file": data.get("train_file"),
        "val_file": data.get("val_file"),
        "num_train": _num_jets(trainer, "train"),
        "num_val": _num_jets(trainer, "val"),
        "batch_size": data.get("batch_size"),
        "trainable_params": parameters,
        "num_gpus": 0 if is_cpu else trainer.num_devices,
        "gpu_ids": [] if is_cpu else list(trainer.device_ids),
        "num_workers": data.get("num_workers"),
        "available_train": train["available"],
        "num_unique_jets_train": train["unique_jets"],
        "dsids": train["dsids"],
        "jet_counts_train": train["jet_counts"],
        "pp_config_train": train["config"],
        "object_classes": train["classes"],
        "available_val": val["available"],
        "num_unique_jets_val": val["unique_jets"],
        "jet_counts_val": val["jet_counts"],
        "pp_config_val": val["config"],
        "salt_hash": commit,
        "out_dir": str(trainer.default_root_dir),
        "log_url": _url(trainer),
        "timestamp": now(),
        "torch_version": str(torch.__version__),  # of a class of its own
        "lightning_version": lightning.__version__,
        "cuda_version": torch.version.cuda,
        "hostname": Process.this().host,
        "seed": config.get("seed_everything"),
        "stores": {name: _store(trainer, name) for name in ("train", "val")},
        "files": {name: of["files"] for name, of in files.items()},
    }


def _of_files(trainer: Trainer, data: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What the files of a split say of themselves; the config that is written may have their passwords no more."""
    module = trainer.datamodule  # type: ignore[attr-defined]
    pattern, key = module.files[name] if isinstance(module, SaltDataModule) else None, f"data.{name}_file"
    known: dict[str, Any] = dict.fromkeys(("available", "unique_jets", "dsids", "jet_counts", "config", "classes"))
    if pattern is None:
        return {**known, "files": []}
    with open_sample(pattern, key) as sample:
        jets = (data.get("input_map") or {}).get(data["global_object"], data["global_object"])
        attributes = _attributes(sample, jets, key)
        classes = attributes[0].get("flavour_label") or []
        return {
            "available": sample.num_jets,
            "unique_jets": joined([each.get("unique_jets") for each in attributes]),
            "dsids": joined([each.get("dsids") for each in attributes]),
            "jet_counts": joined([each.get("jet_counts") for each in attributes]),
            "config": attributes[0].get("config"),
            "classes": dict(enumerate(classes)) or None,
            "files": fingerprints(sample.files),
        }


def _attributes(sample: Sample, jets: str, key: str) -> list[dict[str, Any]]:
    """Attributes of each file, with those of its jets, as plain values."""
    of_jets = sample.table(jets, key).attrs if jets in sample.names() else {}
    return [{name: plain(value) for name, value in {**of_jets, **each}.items()} for each in sample.attributes()]


def plain(value: Any) -> Any:
    """An attribute of HDF5 as YAML has it; a text that is JSON as what it says."""
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, bytes):
        return plain(value.decode(errors="replace"))
    if isinstance(value, str):
        return _parsed(value)
    return value if isinstance(value, int | float | dict | None) else str(value)


def _parsed(text: str) -> Any:
    if not text.lstrip().startswith(("{", "[")):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def joined(values: Sequence[Any]) -> Any:
    """What several files say together: numbers are added, lists of names joined; None where one does not tell."""
    if any(value is None for value in values):
        return None
    first = values[0]
    if len(values) == 1:
        return first
    if isinstance(first, Mapping):
        return {name: joined([value.get(name) for value in values]) for name in first}
    if isinstance(first, list):
        return list(dict.fromkeys(each for value in values for each in value))
    return sum(values) if isinstance(first, int | float) else first


def _split(trainer: Trainer, name: str) -> Any:
    data = trainer.datamodule  # type: ignore[attr-defined]
    return data.split(name) if isinstance(data, SaltDataModule) and name in data.opened() else None


def _num_jets(trainer: Trainer, name: str) -> int | None:
    """How many jets are used."""
    split = _split(trainer, name)
    return None if split is None else split.num_jets


def _store(trainer: Trainer, name: str) -> str | None:
    """Where the store is that is read; None where there is none."""
    split = _split(trainer, name)
    return str(Path(split.folder.path)) if isinstance(split, StoredSplit) else None


def _url(trainer: Trainer) -> str | None:
    """Where a logger of the web shows the run."""
    urls = (getattr(getattr(logger, "experiment", None), "url", None) for logger in trainer.loggers)
    return next((url for url in urls if isinstance(url, str)), None)
