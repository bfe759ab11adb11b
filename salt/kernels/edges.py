"""Features of pairs of constituents: how near two tracks are, and how they share their momentum.

Shapes: "..." the tokens of a layout, "pairs" its ordered pairs of tokens of one jet, each with itself included; F
variables, E features of a pair.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from math import tau
from typing import NamedTuple

import torch
from torch import Tensor


class Ends(NamedTuple):
    """Both ends of each pair."""

    first: Callable[[str], Tensor]
    """Variable -> (pairs) its values for the first of each pair."""
    second: Callable[[str], Tensor]
    itself: Callable[[], Tensor]
    """(pairs) bool: whether both are the same token."""


class Feature(NamedTuple):
    """A feature of pairs."""

    variables: tuple[str, ...]
    """What it needs to know of each token."""
    compute: Callable[[Ends], Tensor]
    """(pairs) the feature; where that is not finite, 0 stands."""


def _distance(ends: Ends) -> Tensor:
    """Angular distance; differences of phi are taken around the circle, either way."""
    eta = ends.first("eta") - ends.second("eta")
    phi = ends.first("phi") - ends.second("phi")
    phi = phi - tau * torch.round(phi / tau)
    return torch.sqrt(eta**2 + phi**2)


def _softer(ends: Ends) -> Tensor:
    return torch.minimum(ends.first("pt"), ends.second("pt"))


def _mass(ends: Ends) -> Tensor:
    """Invariant mass of the pair, from energies."""
    total = ends.first("energy") + ends.second("energy")
    squared = total**2
    for part in (torch.cos, torch.sin):
        squared = squared - sum(pt * part(phi) for pt, phi in _each(ends, "pt", "phi")) ** 2
    return torch.sqrt(squared - sum(pt * torch.sinh(eta) for pt, eta in _each(ends, "pt", "eta")) ** 2)


def _each(ends: Ends, *names: str) -> list[tuple[Tensor, ...]]:
    """These variables of the first, and of the second of each pair."""
    return [tuple(end(name) for name in names) for end in (ends.first, ends.second)]


def _same_subjet(ends: Ends) -> Tensor:
    first, second = ends.first("subjetIndex"), ends.second("subjetIndex")
    return (first == second) & (first >= 0)


Pairing = Callable[[Tensor], tuple[Tensor, Tensor]]

FEATURES = {
    "dR": Feature(("eta", "phi"), lambda ends: torch.log(_distance(ends))),
    "kt": Feature(("pt", "eta", "phi"), lambda ends: torch.log(_softer(ends) * _distance(ends))),
    "z": Feature(("pt",), lambda ends: torch.log(_softer(ends) / (ends.first("pt") + ends.second("pt")))),
    "isSelfLoop": Feature((), lambda ends: ends.itself()),
    "subjetIndex": Feature(("subjetIndex",), _same_subjet),
    "mass": Feature(("pt", "eta", "phi", "energy"), lambda ends: torch.log(_mass(ends))),
}
"""Name -> feature. pt and energy in MeV; dR, kt, z and mass are natural logarithms."""


def required_variables(feature: str) -> tuple[str, ...]:
    """Variables of the tokens that a feature is made of."""
    if feature not in FEATURES:
        raise ValueError(f"unknown edge feature {feature!r} (data.edge_constructors); there are {', '.join(FEATURES)}")
    return FEATURES[feature].variables


def edge_features(values: Tensor, pair: Pairing, columns: Mapping[str, int], features: Sequence[str]) -> Tensor:
    """(pairs, E) features of all ordered pairs of tokens of one jet, each with itself included.

    Values that are not finite, such as log(0) for a token with itself, are 0.

    Parameters
    ----------
    values : Tensor
        (..., F) variables of the tokens, not normalised.
    pair : Pairing
        What is known of each token (...) -> of the first and of the second of each pair.
    columns : Mapping[str, int]
        Variable -> its column.
    features : Sequence[str]
        Names of `FEATURES`.
    """
    for feature in features:
        for variable in required_variables(feature):
            if variable not in columns:
                raise ValueError(
                    f"edge feature {feature!r} (data.edge_constructors) needs the variable {variable!r} among the "
                    f"inputs; there are {', '.join(columns)}"
                )
    both = cache(lambda name: pair(values[..., columns[name]]))
    number = torch.arange(values[..., 0].numel(), device=values.device).view(values.shape[:-1])
    ends = Ends(lambda name: both(name)[0], lambda name: both(name)[1], lambda: torch.eq(*pair(number)))
    made = (FEATURES[feature].compute(ends).to(values.dtype) for feature in features)
    return torch.stack([torch.nan_to_num(x, nan=0.0, posinf=0.0, neginf=0.0) for x in made], -1)
