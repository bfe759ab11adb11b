"""Optimisers: from what `model.optimizer` says to one that is ready."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim import Optimizer

from salt.data.names import unknown
from salt.training.lion import Lion
from salt.training.muon import HybridMuonAdamW

TORCH = "torch.optim."

SPECIAL = frozenset({"Optimizer", "Muon", "SparseAdam"})
"""Of torch's, what cannot train a whole model: nothing at all, matrices alone, sparse gradients alone."""

OPTIMIZERS: dict[str, type[Optimizer]] = {
    "AdamW": torch.optim.AdamW,
    "lion": Lion,
    "HybridMuonAdamW": HybridMuonAdamW,
    **{
        name: kind
        for name, kind in vars(torch.optim).items()
        if inspect.isclass(kind) and issubclass(kind, Optimizer) and name not in SPECIAL
    },
}
"""Name -> class: upstream's names, and torch's."""

ALIASES = {"Lion": "lion", "salt.optim.HybridMuonAdamW": "HybridMuonAdamW"}
"""Other names of these, some of them upstream's class paths."""

FUSED = frozenset({"AdamW", "Adam", "SGD", "HybridMuonAdamW"})
"""Names of classes that have one kernel for the whole step: a quarter of the time of AdamW's default on CPUs."""

FUSED_ON = frozenset({"cpu", "cuda", "mps"})
"""Types of devices that have this kernel."""

SCHEDULED = {"lr": "max", "weight_decay": "weight_decay"}
"""Argument of an optimiser -> key of model.lrs_config that says it."""


class Group(NamedTuple):
    """Weights, with names, that have a learning rate and a weight decay in common."""

    named: Sequence[tuple[str, Tensor]]
    rate: float
    weight_decay: float


class Choice(NamedTuple):
    """An optimiser that was asked for: its class, and its arguments but weights, learning rate and weight decay."""

    kind: type[Optimizer]
    arguments: dict[str, Any]

    def build(self, groups: Sequence[Group], fused: bool) -> Optimizer:
        """The optimiser.

        Parameters
        ----------
        groups : Sequence[Group]
            What it is to optimise; the first has the learning rate of the schedule.
        fused : bool
            Whether it may unscale gradients and step in one kernel.
        """
        arguments = {"lr": groups[0].rate} | self.arguments
        decays = "weight_decay" in inspect.signature(self.kind).parameters
        if decays:
            arguments["weight_decay"] = groups[0].weight_decay
        weights = [weight for group in groups for _, weight in group.named]
        if self.kind.__name__ in FUSED and "foreach" not in arguments:
            arguments.setdefault("fused", fused and all(weight.device.type in FUSED_ON for weight in weights))
        if self.kind is HybridMuonAdamW:
            return HybridMuonAdamW([pair for group in groups for pair in group.named], **arguments)
        if len(groups) == 1:
            return self.kind(weights, **arguments)
        options = [{"lr": group.rate} | ({"weight_decay": group.weight_decay} if decays else {}) for group in groups]
        each = [[weight for _, weight in group.named] for group in groups]
        return self.kind([{"params": of, **option} for of, option in zip(each, options, strict=True)], **arguments)


def chosen(optimizer: str | Mapping[str, Any]) -> Choice:
    """What a name, or a class path with arguments, stands for; ValueError where that is nothing.

    Parameters
    ----------
    optimizer : str | Mapping[str, Any]
        The name of an optimiser of `OPTIMIZERS`, a class path, or `{class_path: ..., init_args: {...}}`.
    """
    name, arguments = (optimizer, {}) if isinstance(optimizer, str) else _with_arguments(optimizer)
    kind = _class(name)
    parameters = inspect.signature(kind).parameters
    known = [each for each in parameters if each not in {"params", "kwargs", *SCHEDULED}]
    takes_all = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
    for argument in arguments:
        if argument in SCHEDULED:
            raise ValueError(
                f"model.optimizer has {argument} in its init_args, which model.lrs_config.{SCHEDULED[argument]} says\n"
                f"  mend: give model.lrs_config.{SCHEDULED[argument]} instead"
            )
        if argument not in known and not takes_all:
            where = f"init_args of {name} (model.optimizer)"
            raise ValueError(f"{unknown('argument', argument, known, where)}\n  mend: correct the name")
    return Choice(kind, arguments)


def _with_arguments(optimizer: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    if not isinstance(optimizer.get("class_path"), str) or not optimizer.keys() <= {"class_path", "init_args"}:
        raise ValueError(
            f"model.optimizer is {dict(optimizer)}\n"
            "  mend: write a name, or {class_path: torch.optim.NAdam, init_args: {...}}"
        )
    arguments = optimizer.get("init_args") or {}
    return optimizer["class_path"], dict(arguments)


def _class(name: str) -> type[Optimizer]:
    """The class that has this name or path."""
    short = ALIASES.get(name, name.removeprefix(TORCH))
    if short in OPTIMIZERS:
        return OPTIMIZERS[short]
    if short == "Muon":
        raise ValueError(
            "model.optimizer Muon is for matrices alone, and a model has other weights besides\n"
            "  mend: set it to HybridMuonAdamW"
        )
    module, _, last = name.rpartition(".")
    if module and not name.startswith(TORCH):
        try:
            found = getattr(import_module(module), last)
        except (ImportError, AttributeError):
            found = None
        if inspect.isclass(found) and issubclass(found, Optimizer):
            return found
    message = unknown("optimizer", name, [*OPTIMIZERS], "model.optimizer")
    raise ValueError(f"{message}\n  mend: write one of these, or the class path of an optimiser")
