"""Parallel coordinates: an axis for each parameter and one for the objective, a line for each trial, as numbers.

Where something is on an axis is told as a share of its height, from 0 below to 1 above.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from salt.sweeps.folder import Member
from salt.sweeps.plan import Plan
from salt.sweeps.space import Parameter
from salt.sweeps.table import short_names, shown

MOST_TICKS = 6


@dataclass(frozen=True)
class Axis:
    """An axis.

    Parameters
    ----------
    name, full_name : str
        What to call it, and the whole key.
    ticks : list[tuple[float, str]]
        Where, and what it says.
    low, high : float
        What its ends mean, logarithms of it where `is_log`.
    is_log : bool
        Whether it is logarithmic.
    places : dict[str, float]
        Where the values of a list are, by their text; empty for numbers.
    """

    name: str
    full_name: str
    ticks: list[tuple[float, str]]
    low: float = 0.0
    high: float = 1.0
    is_log: bool = False
    places: dict[str, float] | None = None

    def place(self, value: Any) -> float | None:
        """Where a value is; None: nowhere."""
        if value is None:
            return None
        if self.places is not None:
            return self.places.get(shown(value))
        return _share(math.log10(value) if self.is_log else float(value), self.low, self.high)


def axes(plan: Plan, members: Sequence[Member]) -> list[Axis]:
    """One for each parameter, then that of the objective."""
    parameters = plan.space()
    names = short_names([each.key for each in parameters])
    found = [
        _of_parameter(each, name, [member.parameters.get(each.key) for member in members])
        for each, name in zip(parameters, names, strict=True)
    ]
    values = [member.value for member in members if member.value is not None and math.isfinite(member.value)]
    return [*found, _of_numbers(plan.objective, plan.objective, values or [0.0, 1.0], is_log=False)]


def _of_parameter(parameter: Parameter, name: str, tried: Sequence[Any]) -> Axis:
    """Of numbers; or each value has a place of its own."""
    texts = list(dict.fromkeys(shown(each) for each in parameter.named()))
    if not texts:
        values = [each for each in tried if each is not None] or [parameter.first()]
        axis = _of_numbers(name, parameter.key, values, parameter.is_log)
        few = parameter.few()
        return replace(
            axis, ticks=[(axis.place(each) or 0.0, shown(each)) for each in few if each in values] or axis.ticks
        )
    places = {text: (number + 0.5) / len(texts) for number, text in enumerate(texts)}
    return Axis(name, parameter.key, [(place, text) for text, place in places.items()], places=places)


def _of_numbers(name: str, full_name: str, values: Sequence[float], is_log: bool) -> Axis:
    low, high = min(values), max(values)
    if is_log:
        low, high = math.log10(low), math.log10(high)
    if low == high:
        low, high = low - 0.5 * (abs(low) or 1.0), high + 0.5 * (abs(high) or 1.0)
    ticks = [(_share(math.log10(at) if is_log else at, low, high), shown(at)) for at in _ticks(low, high, is_log)]
    return Axis(name, full_name, ticks, low, high, is_log)


def _ticks(low: float, high: float, is_log: bool) -> list[float]:
    """Round numbers between two."""
    if not is_log:
        return list(_multiples(low, high))
    for digits in ((1,), (1, 3), (1, 2, 5), tuple(range(1, 10))):
        exponents = range(math.floor(low), math.ceil(high) + 1)
        found = [digit * 10.0**exponent for exponent in exponents for digit in digits]
        found = [float(f"{each:.3g}") for each in found if low - 1e-9 <= math.log10(each) <= high + 1e-9]
        if len(found) >= 3:
            return found[:: math.ceil(len(found) / MOST_TICKS)]
    return [10.0**low, 10.0**high]


def _multiples(low: float, high: float) -> Iterator[float]:
    """Multiples of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / MOST_TICKS
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * unit for factor in (1, 2, 5, 10) if factor * unit >= rough)
    number = math.ceil(low / step - 1e-9)
    while number * step <= high + 1e-9 * step:
        yield float(f"{number * step:.6g}")
        number += 1


def _share(value: float, low: float, high: float) -> float:
    return (value - low) / (high - low)
