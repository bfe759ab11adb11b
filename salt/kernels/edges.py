"""Features of pairs of constituents: how near two tracks are, and how they share their momentum.

Shapes: B jets, T tokens of all jets together, L of one jet, S = sum of L squared ordered pairs, E features of a pair.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import tau
from typing import NamedTuple

import torch
from torch import Tensor

from salt.ragged import Segments


class Ends(NamedTuple):
    """Both ends of each pair."""

    first: Callable[[str], Tensor]
    """Variable -> (S,) its values for the first of each pair."""
    second: Callable[[str], Tensor]
    itself: Tensor
    """(S,) bool: whether both are the same token."""


class Feature(NamedTuple):
    """A feature of pairs."""

    variables: tuple[str, ...]
    """What it needs to know of each token."""
    compute: Callable[[Ends], Tensor]
    """(S,) the feature; where that is not finite, 0 stands."""


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


FEATURES = {
    "dR": Feature(("eta", "phi"), lambda ends: torch.log(_distance(ends))),
    "kt": Feature(("pt", "eta", "phi"), lambda ends: torch.log(_softer(ends) * _distance(ends))),
    "z": Feature(("pt",), lambda ends: torch.log(_softer(ends) / (ends.first("pt") + ends.second("pt")))),
    "isSelfLoop": Feature((), lambda ends: ends.itself),
    "subjetIndex": Feature(("subjetIndex",), _same_subjet),
    "mass": Feature(("pt", "eta", "phi", "energy"), lambda ends: torch.log(_mass(ends))),
}
"""Name -> feature. pt and energy in MeV; dR, kt, z and mass are natural logarithms."""


def required_variables(feature: str) -> tuple[str, ...]:
    """Variables of the tokens that a feature is made of."""
    if feature not in FEATURES:
        raise ValueError(f"unknown edge feature {feature!r} (data.edge_constructors); there are {', '.join(FEATURES)}")
    return FEATURES[feature].variables


def edge_features(
    values: Tensor,
    segments: Segments,
    columns: Mapping[str, int],
    features: Sequence[str],
) -> Tensor:
    """(S, E) features of all ordered pairs of tokens of one jet, each with itself included.

    Pairs stand jet by jet, those of a jet as a matrix of L rows is read. Values that are not finite, such as log(0)
    for a token with itself, are 0.

    Parameters
    ----------
    values : Tensor
        (T, F) variables of the tokens, not normalised.
    segments : Segments
        Which jet each token is of.
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
    first, second = _pairs(segments)
    ends = Ends(
        lambda name: values[:, columns[name]].index_select(0, first),
        lambda name: values[:, columns[name]].index_select(0, second),
        first == second,
    )
    out = values.new_empty(len(first), len(features))
    for place, feature in enumerate(features):
        out[:, place] = torch.nan_to_num(FEATURES[feature].compute(ends), nan=0.0, posinf=0.0, neginf=0.0)
    return out


def _pairs(segments: Segments) -> tuple[Tensor, Tensor]:
    """(S,) first and second token of each pair."""
    partners = segments.lengths[segments.owner]  # of each token, itself included
    stop = partners.cumsum(0)
    num_pairs = int(stop[-1]) if len(stop) else 0
    first = torch.repeat_interleave(partners, output_size=num_pairs)
    rank = torch.arange(num_pairs, device=first.device) - (stop - partners)[first]
    return first, segments.offsets[segments.owner][first] + rank
