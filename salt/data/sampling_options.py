"""Sampling: what `data.sampling` asks for, in the words of UPP (umami-preprocessing) where it has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import numpy as np

from salt.data.names import unknown
from salt.data.quantities import Axis, Cut

KEY = "data.sampling"

OPTIONS = ("cuts", "label", "classes", "fractions", "method", "target", "variables", "weights", "shortage")

NEEDS = {
    "countup": ("label", "variables"),
    "pdf": ("label", "variables", "target"),
    "weights": ("weights",),
    "none": (),
}
"""Method -> options that it cannot do without."""

SERVES = {
    "variables": ("countup", "pdf"),
    "target": ("pdf",),  # in each bin countup takes what the rarest class has there
    "shortage": ("pdf",),
    "weights": ("weights",),
}
"""Option -> the methods that read it, where not all do."""


@dataclass(frozen=True)
class Sampling:
    """Which jets to choose.

    Parameters
    ----------
    cuts : tuple[Cut, ...]
        Conditions on columns of the global object, all to be met.
    label : str | None
        Column that tells the class of a jet; None for no classes.
    classes : dict[str, list[Any]]
        Name -> values of the label; jets of other values are not chosen. Empty: each value that there is, is a class.
    fractions : dict[str, float]
        Class -> its part of the chosen jets, relative to the others'; as many jets as that allows. Empty: equal parts
        for countup and pdf, else what there is.
    method : str
        countup: in each bin the classes stand in their fractions, the rarest one there being used up
        (`quotas.countup`). pdf: each class follows the target's distribution over the bins (`quotas.pdf`).
        weights: each jet is taken with a probability of w / max(w), the maximum over the jets that are left by then.
        none: the fractions alone. UPP's methods of these names follow the target and repeat jets where a class has too
        few (its docs/sampling.md); here no jet is repeated, so that the number of jets follows from what there is.
    target : str | None
        pdf: the class whose distribution the others follow; None for the other methods.
    axes : tuple[Axis, ...]
        countup, pdf: the bins (`variables`). Jets outside of them are not chosen.
    weights : str | None
        weights: column with w; None for the other methods.
    shortage : float
        pdf: largest part of a class's jets that may be missing where it has too few in a bin.
    """

    cuts: tuple[Cut, ...] = ()
    label: str | None = None
    classes: dict[str, list[Any]] = field(default_factory=dict)
    fractions: dict[str, float] = field(default_factory=dict)
    method: str = "none"
    target: str | None = None
    axes: tuple[Axis, ...] = ()
    weights: str | None = None
    shortage: float = 0.01

    @classmethod
    def read(cls, written: Mapping[str, Any]) -> Sampling:
        """The sampling that a YAML mapping describes."""
        options = {name: value for name, value in written.items() if value is not None}
        method = options.get("method", "none")
        _check_names(options, method)
        fractions = {str(name): _part(name, part) for name, part in options.get("fractions", {}).items()}
        target = options.get("target")
        shortage = float(options.get("shortage", cls.shortage))
        if not 0 <= shortage < 1:
            raise ValueError(f"{KEY}.shortage is {shortage}; it is a part: at least 0, below 1")
        return cls(
            cuts=tuple(Cut.read(cut, f"{KEY}.cuts") for cut in options.get("cuts", [])),
            label=options.get("label"),
            classes=_classes(options.get("classes"), options.get("fractions", {})),
            fractions=fractions,
            method=method,
            target=None if target is None else str(target),
            axes=tuple(
                Axis.read(name, bins, f"{KEY}.variables") for name, bins in options.get("variables", {}).items()
            ),
            weights=options.get("weights"),
            shortage=shortage,
        )

    def columns(self) -> list[str]:
        """Columns of the global object that it reads, possibly some of them twice."""
        quantities = [cut.quantity for cut in self.cuts] + [axis.quantity for axis in self.axes]
        names = [quantity.column for quantity in quantities]
        return names + [name for name in (self.label, self.weights) if name is not None]


def _check_names(options: Mapping[str, Any], method: str) -> None:
    """Options that do not exist, that the method misses, or that it would ignore."""
    for name in options:
        if name not in OPTIONS:
            raise ValueError(unknown("option", name, OPTIONS, KEY))
    if method not in NEEDS:
        raise ValueError(unknown("method", method, NEEDS, f"{KEY}.method"))
    needed = [*NEEDS[method], *(["label"] if {"classes", "fractions"} & options.keys() else [])]
    for name in needed:
        if name not in options:
            raise ValueError(f"{KEY}.{name} is missing: {KEY} with method {method} and {', '.join(options)} needs it")
    for name, methods in SERVES.items():
        if name in options and method not in methods:
            raise ValueError(
                f"{KEY}.{name} is for method {' or '.join(methods)}; the method is {method}: leave one of the two out"
            )


def _part(name: Any, part: Any) -> float:
    number = float(part)
    if not (isfinite(number) and number > 0):
        raise ValueError(f"{KEY}.fractions: {name} is {part}; it must be above 0. To use none of a class, leave it out")
    return number


def _classes(classes: Mapping[Any, Any] | None, fractions: Mapping[Any, Any]) -> dict[str, list[Any]]:
    """Name -> values of each class; where they have no names, of each value that has a fraction."""
    if classes is None:
        return {str(value): [_value(value)] for value in fractions}
    named = {str(name): np.atleast_1d(values).tolist() for name, values in classes.items()}
    for name in map(str, fractions):
        if name not in named:
            raise ValueError(unknown("class", name, named, f"{KEY}.classes; {KEY}.fractions has it"))
    for name in named:
        if fractions and name not in map(str, fractions):
            raise ValueError(f"{KEY}.fractions has no part for class {name} of {KEY}.classes: add it, or leave it out")
    values = [value for values in named.values() for value in values]
    for value in values:
        if values.count(value) > 1:
            raise ValueError(f"{KEY}.classes has the value {value} more than once: a jet is of one class")
    return named


def _value(written: Any) -> int:
    """Of a label, as the key of a mapping."""
    try:
        return int(written)
    except ValueError as error:
        raise ValueError(
            f"{KEY}.fractions names {written!r}, which is no value of the label: say with {KEY}.classes what it is"
        ) from error
