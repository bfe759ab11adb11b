"""Learning rates and initial values that may stay where a model becomes wider.

Yang et al., Tensor Programs V: Tuning large neural networks via zero-shot hyperparameter transfer, arXiv:2203.03466.

Against a model of a base width, a layer of m times as many inputs learns 1/m as fast, and has m times the weight decay:
under an optimiser whose steps do not depend on the size of the gradient its outputs then change as much as those of the
base. The layers that read a growing width and write a fixed one (of the paper's three formulations the one without
multipliers of outputs) begin with 1/sqrt(m) of the usual weights besides; biases begin as wide as those of the base.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import yaml
from torch import Tensor, nn
from torch.optim import Adam, Adamax, AdamW, NAdam, Optimizer, RAdam

from salt.data.names import by_nearness, unknown
from salt.training.lion import Lion
from salt.training.optim import Group
from salt.training.run_files import exists, joined, open_run_file, write_whole

Shapes = dict[str, list[int | None]]
"""Parameter -> the base's size in each dimension that grows with the width; None: one that does not."""

FILE = "storeshapes"
"""Of the shapes, in the folder `shape_path`; upstream's name."""

OF_SIGNS: tuple[type[Optimizer], ...] = (AdamW, Adam, NAdam, RAdam, Adamax, Lion)
"""Optimisers whose steps do not depend on the size of the gradient: the rates here are for them."""

WIDTH = ("apply_to", "parameter_name", "parameter_base", "parameter_delta")
"""Keys of a width."""


@dataclass(frozen=True)
class Width:
    """A width, and where a model says it.

    Parameters
    ----------
    places : list[tuple[str, str]]
        Argument of the model, and the key in it that says the width.
    base, delta : int
        Width of the base, and another.
    """

    places: list[tuple[str, str]]
    base: int
    delta: int


@dataclass(frozen=True)
class MupConfig:
    """What `model.mup_config` says.

    Parameters
    ----------
    shape_path : str
        Folder with the shapes.
    widths : dict[str, Width]
        Their names are the user's own.
    """

    shape_path: str
    widths: dict[str, Width]

    @property
    def file(self) -> str:
        """The file of the shapes."""
        return joined(self.shape_path, FILE)

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> MupConfig:
        """From a mapping; ValueError where a key is wrong."""
        widths = {name: _width(name, of) for name, of in config.items() if name != "shape_path"}
        if not isinstance(config.get("shape_path"), str) or not widths:
            raise ValueError(
                f"model.mup_config has the keys {', '.join(config)}\n"
                "  mend: give shape_path: FOLDER, and a width: embed_dim: {apply_to: [init_nets, encoder], "
                "parameter_name: [output_size, embed_dim], parameter_base: 256, parameter_delta: 8}"
            )
        return cls(config["shape_path"], widths)


def _width(name: str, of: Any) -> Width:
    key = f"model.mup_config.{name}"
    if not isinstance(of, Mapping) or set(of) != set(WIDTH):
        raise ValueError(f"{key} is {of}\n  mend: give it {', '.join(WIDTH)}, and nothing else")
    if len(of["apply_to"]) != len(of["parameter_name"]) or not of["apply_to"]:
        raise ValueError(
            f"{key} has {len(of['apply_to'])} entries in apply_to, and {len(of['parameter_name'])} in parameter_name\n"
            "  mend: give one name for each argument of the model"
        )
    if of["parameter_base"] == of["parameter_delta"]:
        raise ValueError(
            f"{key}: parameter_base and parameter_delta are both {of['parameter_base']}: what grows cannot be told\n"
            "  mend: give them two widths"
        )
    return Width(
        list(zip(of["apply_to"], of["parameter_name"], strict=True)), of["parameter_base"], of["parameter_delta"]
    )


def shapes_of(base: nn.Module, delta: nn.Module) -> Shapes:
    """What differs between two models of different widths."""
    others = dict(delta.named_parameters())
    return {
        name: [size if size != other else None for size, other in zip(weight.shape, others[name].shape, strict=True)]
        for name, weight in base.named_parameters()
    }


def write_shapes(file: str, shapes: Shapes) -> None:
    """Write shapes, in the format of upstream's library mup."""
    write_whole(file, lambda stream: stream.write(yaml.safe_dump(shapes).encode()))


def read_shapes(file: str) -> Shapes:
    """Read shapes; FileNotFoundError where there are none."""
    if not exists(file):
        raise FileNotFoundError(
            f"no shapes in {file} (model.mup_config.shape_path)\n  mend: make them: setup_mup --config FILE"
        )
    with open_run_file(file, "r") as stream:
        shapes: Shapes = yaml.safe_load(stream)
    return shapes


def check_optimizer(kind: type[Optimizer]) -> None:
    """Raise ValueError for an optimiser for which the rates are others."""
    if not issubclass(kind, OF_SIGNS):
        names = ", ".join(by_nearness(kind.__name__, (each.__name__ for each in OF_SIGNS)))
        raise ValueError(
            f"model.mup_config has no learning rates for {kind.__name__} (model.optimizer); it has them for {names}\n"
            "  mend: take one of these, or leave mup_config out"
        )


class Multipliers:
    """How much wider the layers of a model are than those of its base.

    Parameters
    ----------
    model : nn.Module
        The model.
    shapes : Shapes
        Of its base.
    file : str
        Where these are from, for messages.
    """

    def __init__(self, model: nn.Module, shapes: Shapes, file: str) -> None:
        _check_fit(model, shapes, file)
        self._model = model
        self._shapes = shapes

    def factors(self) -> dict[str, float]:
        """Parameter -> m, where it is not 1: of matrices that read a width that grows."""
        found = {name: self._wider(name, 1) for name, weight in self._model.named_parameters() if self._is_read(name)}
        return {name: factor for name, factor in found.items() if factor != 1}

    @torch.no_grad()
    def rescale(self) -> None:
        """Give the initial weights the widths that they shall have."""
        for name, layer in self._model.named_modules():
            if not isinstance(layer, nn.Linear) or self._shapes[f"{name}.weight"][1] is None:
                continue
            factor = self._wider(f"{name}.weight", 1)
            if self._shapes[f"{name}.weight"][0] is None:
                layer.weight.mul_(1 / math.sqrt(factor))
            if layer.bias is not None:
                layer.bias.mul_(math.sqrt(factor))

    def _wider(self, name: str, dimension: int) -> float:
        base = self._shapes[name][dimension]
        return 1.0 if base is None else self._model.get_parameter(name).shape[dimension] / base

    def _is_read(self, name: str) -> bool:
        """Whether a parameter is the matrix of a layer that reads a growing width; learned tokens are none."""
        shape = self._shapes[name]
        if len(shape) != 2 or shape[1] is None:
            return False
        owner = self._model.get_submodule(name.rpartition(".")[0])
        return shape[0] is not None or isinstance(owner, nn.Linear)


def grouped(
    named: Sequence[tuple[str, Tensor]], factors: Mapping[str, float], rate: float, weight_decay: float
) -> list[Group]:
    """Groups of parameters with the learning rate and the weight decay of each; the product of the two is the same."""
    return [
        Group([pair for pair in named if factors.get(pair[0], 1.0) == factor], rate / factor, weight_decay * factor)
        for factor in sorted({factors.get(name, 1.0) for name, _ in named})
    ]


def _check_fit(model: nn.Module, shapes: Shapes, file: str) -> None:
    """Raise ValueError where the shapes are of another model."""
    sizes = {name: len(weight.shape) for name, weight in model.named_parameters()}
    mend = f"remove {file}: it is made anew; or setup_mup --config FILE"
    for name in sorted(shapes.keys() - sizes.keys()):
        raise ValueError(f"{unknown('parameter', name, sizes, f'the model, which {file} knows')}\n  mend: {mend}")
    for name, size in sizes.items():
        if len(shapes.get(name, [])) != size:
            raise ValueError(f"{file} (model.mup_config.shape_path) does not know the parameter {name}\n  mend: {mend}")
