"""What is wrong with the devices that a config asks for, on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from jsonargparse import Namespace

from salt.cli.launch import Launch, launched

CPU = frozenset({"cpu", "auto"})
"""Accelerators that are the CPU where there is no GPU."""

GPU = frozenset({"gpu", "cuda", "auto"})


class Misfit(NamedTuple):
    """What is wrong, and how to mend it."""

    cause: str
    mend: str

    def __str__(self) -> str:
        return f"{self.cause}\n  mend: {self.mend}"


def misfits(config: Namespace) -> Iterator[Misfit]:
    """What the trainer could not do here."""
    if (launch := launched()) is not None:
        yield from _of_launch(config, launch)
    accelerator, devices = config.trainer.accelerator, config.trainer.devices
    number = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if accelerator in {"gpu", "cuda"} and number == 0:
        cause = f"trainer.accelerator is {accelerator}, but there is no GPU here that PyTorch can use"
        yield Misfit(cause, "give --trainer.accelerator=cpu, or auto")
    elif accelerator in GPU and number:
        yield from _of_gpus(devices, number)
    elif accelerator in CPU and not torch.backends.mps.is_available():
        yield from _of_cpus(devices)


def _of_gpus(devices: Any, number: int) -> Iterator[Misfit]:
    """More GPUs than there are, or others."""
    chosen = chosen_devices(devices)
    there = f"there {'is' if number == 1 else 'are'} {number} here: {', '.join(map(str, range(number)))}"
    if chosen is None:
        yield _strange(devices)
    elif isinstance(chosen, list) and (not chosen or min(chosen) < 0 or max(chosen) >= number):
        cause = f"trainer.devices is {devices}, which names GPUs by number, but {there}"
        yield Misfit(cause, f"name some of them: --trainer.devices=[{number - 1}]")
    elif isinstance(chosen, int) and (chosen > number or chosen == 0 or chosen < -1):
        cause = f"trainer.devices asks for {chosen} GPUs, but {there}"
        yield Misfit(cause, f"give --trainer.devices={number}, or auto for all")


def _of_cpus(devices: Any) -> Iterator[Misfit]:
    """What only GPUs can be asked for."""
    chosen = chosen_devices(devices)
    if chosen is None:
        yield _strange(devices)
    elif isinstance(chosen, list):
        cause = f"trainer.devices is {devices}, which names GPUs, but training is on the CPU"
        yield Misfit(cause, "give a number of processes: --trainer.devices=1")
    elif chosen < 1 and devices != "auto":
        cause = f"trainer.devices is {devices}, but on the CPU it is a number of processes"
        yield Misfit(cause, "give --trainer.devices=1, or more")


def _of_launch(config: Namespace, launch: Launch) -> Iterator[Misfit]:
    """Another number of ranks than processes that somebody else has started."""
    devices, nodes = config.trainer.devices, config.trainer.num_nodes
    number = number_of(devices)
    if number is None or (number, nodes) == (launch.per_node, launch.nodes):
        return
    cause = f"trainer.devices is {devices} and trainer.num_nodes {nodes}, but {launch}"
    several = f" --trainer.num_nodes={launch.nodes}" if (nodes, launch.nodes) != (1, 1) else ""
    yield Misfit(cause, f"give --trainer.devices={launch.per_node}{several}, or start as many processes")


def _strange(devices: Any) -> Misfit:
    cause = f"trainer.devices is {devices!r}: expected a number, a list of GPUs' numbers, or auto"
    return Misfit(cause, "give --trainer.devices=1, [0,1] or auto")


def chosen_devices(devices: Any) -> int | list[int] | None:
    """How many devices (-1: all), or which ones, as Lightning reads 2, [1], "0,1", "1," and auto; None: neither."""
    if devices == "auto":
        return -1
    if isinstance(devices, list | tuple):
        return list(devices)
    try:
        if isinstance(devices, str) and "," in devices:
            return [int(each) for each in devices.split(",") if each.strip()]
        return int(devices)
    except (TypeError, ValueError):
        return None


def number_of(devices: Any) -> int | None:
    """How many devices of a node these are; None where the machine decides, or nobody understands it."""
    chosen = chosen_devices(devices)
    number = len(chosen) if isinstance(chosen, list) else chosen
    return None if number is None or number < 0 else number
