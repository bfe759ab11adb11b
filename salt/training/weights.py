"""Weights of a checkpoint, whoever has written it: tensors alone, under our names, and whether they fit a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from salt.data.names import by_nearness
from salt.training import checkpoints
from salt.training.renames import renamed

NUM_SHOWN = 5
"""So many of the names that do not fit are shown."""


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Weights of a checkpoint of ours or of upstream's, on the CPU, under our names; nothing in it is executed.

    Names begin with `model.` (the model) or `norm.` (means and widths of the inputs). Raises ValueError where the file
    is not a checkpoint, or damaged; FileNotFoundError where there is none.
    """
    return weights_in(checkpoints.read(path), path)


def weights_in(content: Mapping[str, Any], path: object) -> dict[str, Tensor]:
    """Weights of a checkpoint that was read, under our names.

    Parameters
    ----------
    content : Mapping[str, Any]
        What is in it.
    path : object
        Its name, for messages.
    """
    weights = content["state_dict"]
    if not isinstance(weights, Mapping) or not all(
        isinstance(name, str) and isinstance(weight, Tensor) for name, weight in weights.items()
    ):
        raise ValueError(f"{path}: its state_dict is not a mapping of names to tensors, so it is no checkpoint")
    return renamed(weights)


def check_fit(weights: Mapping[str, Tensor], model: Mapping[str, Tensor], path: object) -> None:
    """Raise one ValueError that names what does not fit, if anything does not.

    Parameters
    ----------
    weights : Mapping[str, Tensor]
        Of a checkpoint.
    model : Mapping[str, Tensor]
        Those that the model has.
    path : object
        Name of the checkpoint, for the message.
    """
    missing = [f"{name} ({_nearest(name, weights, model)})" for name in model if name not in weights]
    more = [f"{name} ({_nearest(name, model, weights)})" for name in weights if name not in model]
    shapes = list(_other_shapes(weights, model))
    parts = [("not in the checkpoint", missing), ("not in the model", more), ("of another shape", shapes)]
    lines = [f"  {len(names)} {what}: {_some(names)}" for what, names in parts if names]
    if lines:
        raise ValueError(
            "\n".join([f"the weights of {path} are not those of this config's model", *lines])
            + "\n  mend: give the config.yaml of its own run; weights that fit in part are for model.init_from"
        )


def _other_shapes(weights: Mapping[str, Tensor], model: Mapping[str, Tensor]) -> Iterator[str]:
    for name in model.keys() & weights.keys():
        there, here = tuple(weights[name].shape), tuple(model[name].shape)
        if there != here:
            yield f"{name} {there} in the checkpoint, {here} in the model"


def _nearest(name: str, names: Mapping[str, Tensor], without: Mapping[str, Tensor]) -> str:
    """What may be meant: the nearest of the names that are not on both sides."""
    free = by_nearness(name, [other for other in names if other not in without])
    return f"nearest there: {free[0]}" if free else "nothing like it there"


def _some(names: list[str]) -> str:
    shown = "; ".join(names[:NUM_SHOWN])
    return shown if len(names) <= NUM_SHOWN else f"{shown}; and {len(names) - NUM_SHOWN} more"
