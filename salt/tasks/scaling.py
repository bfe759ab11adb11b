"""Scaling of regression targets: from physical values to numbers that are learnt well, and back.

Shapes: "..." the jets, or the tokens of a layout.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from salt.data.names import unknown

OPERATIONS = ("log", "exp", "linear")


class Scale(ABC):
    """How one target is scaled."""

    column: str | None = None
    """Column of the file that it needs; None: none."""

    @abstractmethod
    def learnt(self, values: Tensor, columns: Mapping[str, Tensor]) -> Tensor:
        """Physical values (...) to what is learnt (...)."""

    @abstractmethod
    def physical(self, learnt: Tensor, columns: Mapping[str, Tensor]) -> Tensor:
        """What is learnt (...) to physical values (...)."""

    @abstractmethod
    def width(self, learnt: Tensor, columns: Mapping[str, Tensor]) -> Tensor:
        """The width (...) of a Gaussian of what is learnt to that of physical values."""


class Normal(Scale):
    """The target less its mean, in units of its standard deviation.

    Parameters
    ----------
    mean, std : float
        Of the target; 0 and 1 leave it as it is.
    """

    def __init__(self, mean: float = 0.0, std: float = 1.0) -> None:
        self.mean, self.std = float(mean), float(std)
        if self.std == 0 or not (math.isfinite(self.mean) and math.isfinite(self.std)):
            raise ValueError(f"norm_params: mean {mean}, std {std}: std must not be 0, both finite")

    def learnt(self, values: Tensor, columns: Mapping[str, Tensor]) -> Tensor:
        """Less the mean, over the standard deviation."""
        return (values - self.mean) / self.std

    def physical(self, learnt: Tensor, columns: Mapping[str, Tensor]) -> Tensor:
        """Times the standard deviation, plus the mean."""
        return learnt * self.std + self.mean

    def width(self, learnt: Tensor, columns: Mapping[str, Tensor]) -> Tensor:
        """Times the standard deviation."""
        return learnt * abs(self.std)


class Ratio(Scale):
    """The target over another column of its stream. Where there is no such column the ratio is all there is to say.

    Parameters
    ----------
    column : str
        The denominator.
    """

    def __init__(self, column: str) -> None:
        self.column: str = column

    def learnt(self, values: Tensor, columns: Mapping[str, Tensor]) -> Tensor:
        """Over the denominator."""
        return values / columns[self.column].to(values.dtype)

    def physical(self, learnt: Tensor, columns: Mapping[str, Tensor]) -> Tensor:
        """Times the denominator, if there is one."""
        return learnt * columns[self.column].to(learnt.dtype) if self.column in columns else learnt

    def width(self, learnt: Tensor, columns: Mapping[str, Tensor]) -> Tensor:
        """Times its size."""
        return learnt * columns[self.column].to(learnt.dtype).abs() if self.column in columns else learnt


class Function(NamedTuple):
    """op_scale * op(x_scale * x + x_off) + op_off."""

    op: str = "linear"
    x_scale: float = 1.0
    x_off: float = 0.0
    op_scale: float = 1.0
    op_off: float = 0.0


class RegressionTargetScaler:
    """Scale each target by a function: op_scale * op(x_scale * x + x_off) + op_off.

    Parameters
    ----------
    scales : dict[str, dict[str, Any]]
        Target -> op (log, exp or linear), x_scale (1), x_off (0), op_scale (1), op_off (0).

    Raises
    ------
    ValueError
        For an unknown op or number, and a scale of 0.
    """

    def __init__(self, scales: dict[str, dict[str, Any]]) -> None:
        self.scales = {target: _function(target, dict(of)) for target, of in scales.items()}

    def scale(self, target: str, values: Tensor) -> Tensor:
        """Physical values (...) of a target to what is learnt (...); not finite where the function is not."""
        of = self._of(target)
        x = of.x_scale * values + of.x_off
        x = torch.log(x) if of.op == "log" else torch.exp(x) if of.op == "exp" else x
        return of.op_scale * x + of.op_off

    def inverse(self, target: str, values: Tensor) -> Tensor:
        """What is learnt (...) of a target to physical values (...)."""
        of = self._of(target)
        x = (values - of.op_off) / of.op_scale
        x = torch.exp(x) if of.op == "log" else torch.log(x) if of.op == "exp" else x
        return (x - of.x_off) / of.x_scale

    def _of(self, target: str) -> Function:
        if target not in self.scales:
            raise ValueError(unknown("target", target, self.scales, "the scales of a RegressionTargetScaler"))
        return self.scales[target]


def _function(target: str, of: dict[str, Any]) -> Function:
    """The function of a target."""
    where = f"the scales of a RegressionTargetScaler, target {target!r}"
    for key in of:
        if key not in Function._fields:
            raise ValueError(unknown("key", key, Function._fields, where))
    op = of.pop("op", "linear")
    if op not in OPERATIONS:
        raise ValueError(unknown("op", str(op), OPERATIONS, where))
    function = Function(op, **{key: float(value) for key, value in of.items()})
    if 0 in (function.x_scale, function.op_scale):
        raise ValueError(f"{where}: x_scale and op_scale must not be 0")
    return function


class Scaled(Scale):
    """The target as a `RegressionTargetScaler` says.

    Parameters
    ----------
    scaler : RegressionTargetScaler
        The scaler.
    target : str
        Name of the target.
    """

    def __init__(self, scaler: RegressionTargetScaler, target: str) -> None:
        self.scaler, self.target = scaler, target
        scaler.scale(target, torch.ones(1))  # raises where it does not know the target

    def learnt(self, values: Tensor, columns: Mapping[str, Tensor]) -> Tensor:
        """As the scaler says."""
        return self.scaler.scale(self.target, values)

    def physical(self, learnt: Tensor, columns: Mapping[str, Tensor]) -> Tensor:
        """As its inverse says."""
        return self.scaler.inverse(self.target, learnt)

    def width(self, learnt: Tensor, columns: Mapping[str, Tensor]) -> Tensor:
        """None: raises."""
        raise ValueError("a Gaussian does not stay one under a scaler: take norm_params or target_denominators")


def listed(values: Any) -> list[Any]:
    """One value, or several, as a list."""
    return list(values) if isinstance(values, Sequence) and not isinstance(values, str) else [values]


def make_scales(
    targets: Sequence[str],
    target_denominators: Sequence[str] | str | None,
    norm_params: Mapping[str, Any] | None,
    scaler: RegressionTargetScaler | None,
) -> list[Scale]:
    """The scale of each target.

    Raises
    ------
    ValueError
        Where more than one way to scale is given, or not one number or denominator for each target.
    """
    ways = {"target_denominators": target_denominators, "norm_params": norm_params, "scaler": scaler}
    given = [name for name, way in ways.items() if way is not None]
    if len(given) > 1:
        raise ValueError(f"{' and '.join(given)} are given, but targets are scaled in one way: leave one out")
    if scaler is not None:
        return [Scaled(scaler, target) for target in targets]
    if target_denominators is not None:
        columns = listed(target_denominators)
        _check_number("target_denominators", columns, targets)
        return [Ratio(column) for column in columns]
    if norm_params is None:
        return [Normal() for _ in targets]
    for key in norm_params:
        if key not in ("mean", "std"):
            raise ValueError(unknown("key", key, ("mean", "std"), "norm_params"))
    means, stds = listed(norm_params.get("mean", 0.0)), listed(norm_params.get("std", 1.0))
    _check_number("norm_params.mean", means, targets)
    _check_number("norm_params.std", stds, targets)
    return [Normal(mean, std) for mean, std in zip(means, stds, strict=True)]


def _check_number(key: str, values: Sequence[Any], targets: Sequence[str]) -> None:
    if len(values) != len(targets):
        raise ValueError(
            f"{key} has {len(values)} entries for {len(targets)} targets ({', '.join(targets)}): give one for each"
        )
