"""Losses by name, and of each value alone: a task adds them up itself, and says what to divide by."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from salt.data.names import unknown

PREFIXES = ("torch.nn.", "nn.", "")
"""What may stand in front of a name."""


def loss_names() -> list[str]:
    """Names of the losses that torch.nn has."""
    return [name for name, of in vars(nn).items() if name.endswith("Loss") and issubclass(of, nn.Module)]


def short_name(loss: str) -> str:
    """The name of a loss without what may stand in front of it."""
    return next(loss.removeprefix(prefix) for prefix in PREFIXES if loss.startswith(prefix))


def make_loss(loss: nn.Module | str, task: str = "") -> nn.Module:
    """The loss of torch.nn with this name: `MSELoss`, `torch.nn.MSELoss`; one that is made already is given back.

    Parameters
    ----------
    loss : nn.Module | str
        A name, or a loss.
    task : str
        Whose loss it is, for messages.

    Raises
    ------
    ValueError
        Where torch.nn has no loss of this name, or it adds up what is to be averaged.
    """
    if isinstance(loss, str):
        name = short_name(loss)
        if name not in loss_names():
            raise ValueError(unknown("loss", name, loss_names(), f"torch.nn (key loss of task {task!r})"))
        loss = _made(name)
    if getattr(loss, "reduction", None) == "sum":
        raise ValueError(
            f"task {task!r}: the loss {type(loss).__name__} has reduction 'sum', but losses are means over all "
            "devices: leave reduction out, and scale the task by its weight"
        )
    return loss


def _made(name: str) -> nn.Module:
    return getattr(nn, name)()


def elementwise(loss: nn.Module, task: str = "") -> nn.Module:
    """The same loss of each value alone, whatever its reduction was.

    Raises
    ------
    ValueError
        Where it has no such thing as a loss of each value.
    """
    alone = copy.copy(loss)
    alone.reduction = "none"  # type: ignore[assignment]
    probe = torch.full((2, 3), 0.5)
    try:
        fits = alone.cpu()(probe, probe).shape == probe.shape
    except (TypeError, ValueError, RuntimeError, IndexError):
        fits = False
    if not fits:
        raise ValueError(
            f"task {task!r}: {type(loss).__name__} gives no loss for each value; there are L1Loss, MSELoss, HuberLoss, "
            "SmoothL1Loss and others like them"
        )
    return alone


def known_sum(losses: Tensor, known: Tensor, labels: Mapping[str, Tensor], sample_weight: str | None) -> Tensor:
    """Sum of the losses that have a target, weighted; what has none, or its weight, may be no number.

    Parameters
    ----------
    losses : Tensor
        (..., R), finite where they are not known, without a gradient that is not.
    known : Tensor
        (..., R) bool, which of them have a target.
    labels : Mapping[str, Tensor]
        Labels of the rows.
    sample_weight : str | None
        The label (...) that weighs a row; None: all alike.
    """
    if sample_weight is not None:
        losses = losses * labels[sample_weight].to(losses.dtype)[..., None].where(known, 0)
    return losses.where(known, 0).sum()


def in_full(raw: Tensor) -> Tensor:
    """Raw numbers in at least single precision: 16 bits are too few for physical values, and for sums."""
    return raw.to(torch.promote_types(raw.dtype, torch.float32))
