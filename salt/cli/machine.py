"""Rules of `resolve` for what the machine decides: devices, and how many processes take part."""

from __future__ import annotations

import logging

import torch
from jsonargparse import Namespace

from salt.cli import devices
from salt.cli.asked import Asked
from salt.cli.launch import Launch, launched
from salt.cli.parsed import fill

log = logging.getLogger(__name__)


def without_gpu(config: Namespace, asked: Asked) -> None:
    """On a machine without a GPU: cpu, one device, no other machine, 32-true, but for what the command line asks."""
    trainer = config.trainer
    if torch.cuda.is_available() or trainer.accelerator not in {"gpu", "cuda"} or "trainer.accelerator" in asked.keys:
        return
    launch = launched()
    wanted = {"accelerator": "cpu", "devices": launch.per_node if launch else 1, "precision": "32-true"}
    if launch is None and trainer.get("num_nodes", 1) != 1:  # nobody would come
        wanted["num_nodes"] = 1
    changed = {k: v for k, v in wanted.items() if f"trainer.{k}" not in asked.keys}
    if trainer.devices in (-1, "-1"):  # all that there are; it may be a list
        changed["devices"] = wanted["devices"]
    for key, value in changed.items():
        trainer[key] = value
    log.info("no GPU here: trainer %s", ", ".join(f"{k} {v}" for k, v in changed.items()))


def other_gpus(config: Namespace, asked: Asked) -> None:
    """A config's list of GPUs is of the machine that it was written for: where there are others, as many of them."""
    chosen = devices.chosen_devices(config.trainer.devices)
    here = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not isinstance(chosen, list) or "trainer.devices" in asked.keys:
        return
    if chosen and max(chosen) >= here >= len(chosen):
        fill(config.trainer, "devices", list(range(len(chosen))), "trainer.", f"the {here} GPUs here, for {chosen}")


def as_launched(config: Namespace, asked: Asked) -> None:
    """As many devices as somebody else has started processes for, where the number is left to the machine."""
    launch = launched()
    if launch is not None and str(config.trainer.devices) in {"auto", "-1"}:
        fill(config.trainer, "devices", launch.per_node, "trainer.", launch.by)


def as_evaluation(config: Namespace, asked: Asked) -> None:
    """Several ranks where somebody has started them, or the command line says how; else one process. No logger."""
    config.trainer.logger = False
    launch = launched()
    if launch is not None and launch.size > 1:
        as_started(config, asked, launch)
    elif "trainer.strategy" not in asked.keys:
        as_one_process(config, asked)


def as_started(config: Namespace, asked: Asked, launch: Launch) -> None:
    """As many ranks as there are processes: what a config says was for its training; options are left for a check."""
    wanted = {"devices": launch.per_node, "num_nodes": launch.nodes}
    changed = {key: value for key, value in wanted.items() if f"trainer.{key}" not in asked.keys}
    for key, value in changed.items():
        config.trainer[key] = value
    if "trainer.strategy" not in asked.keys:
        config.trainer.strategy = "auto"


def as_one_process(config: Namespace, asked: Asked) -> None:
    """Evaluating is done with soon: one process, whatever the training has taken."""
    if config.trainer.devices not in (1, "1", "auto"):  # a list, too
        log.info("Setting --trainer.devices=1")
    config.trainer.devices = 1
    config.trainer.num_nodes = 1
    config.trainer.strategy = "auto"
