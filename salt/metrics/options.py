"""What is to be measured, and of which discriminants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

WORKING_POINTS = (0.70, 0.77)
"""Signal efficiencies of the rejections: two of those at which ATLAS calibrates its taggers (60, 70, 77, 85 %)."""


@dataclass(frozen=True)
class Discriminant:
    """D = log(p_signal / sum of f_k p_k over the backgrounds k), as in arXiv:2505.19689.

    Parameters
    ----------
    signal : str
        The class that it looks for.
    fractions : Mapping[str, float]
        Background class -> its share f of the sum.
    rejects : bool
        Whether rejections are wanted, besides areas under the ROC curve.
    """

    signal: str
    fractions: Mapping[str, float]
    rejects: bool = True


FLAVOUR_TAGGING = (
    Discriminant("bjets", {"cjets": 0.05, "ujets": 0.95}),  # as `salt report`
    Discriminant("cjets", {"bjets": 0.3, "ujets": 0.7}, rejects=False),
)
"""What a flavour tagger of jets is for, where `metrics.discriminants` does not say."""


@dataclass(frozen=True)
class MetricOptions:
    """What monitors measure.

    Parameters
    ----------
    working_points : Sequence[float]
        Signal efficiencies at which rejections are given.
    discriminants : Mapping[str, Mapping[str, float]] | None
        Signal class -> background class -> fraction; None: those of flavour tagging, where a task has such classes.
    pt_bins : Sequence[float]
        Edges [GeV] of bins of transverse momentum; empty: none.
    """

    working_points: Sequence[float] = WORKING_POINTS
    discriminants: Mapping[str, Mapping[str, float]] | None = None
    pt_bins: Sequence[float] = ()

    def __post_init__(self) -> None:
        wrong = [point for point in self.working_points if not 0 < point < 1]
        if wrong:
            raise ValueError(f"metrics.working_points: {wrong[0]} is no efficiency between 0 and 1; write 0.7 for 70 %")
        if len(self.pt_bins) == 1 or any(a >= b for a, b in pairwise(self.pt_bins)):
            raise ValueError(f"metrics.pt_bins: {list(self.pt_bins)} are no rising edges [GeV]: write [20, 60, 250]")
        for signal, fractions in (self.discriminants or {}).items():
            if min(fractions.values(), default=-1) < 0 or sum(fractions.values()) <= 0:
                raise ValueError(
                    f"metrics.discriminants.{signal}: {dict(fractions)} are no fractions of backgrounds: "
                    "write {cjets: 0.05, ujets: 0.95}"
                )

    def discriminants_of(self, class_names: Sequence[str]) -> list[Discriminant]:
        """Those whose classes a task has: none means that it does something else."""
        if self.discriminants is None:
            wanted: Sequence[Discriminant] = FLAVOUR_TAGGING
        else:
            wanted = [Discriminant(signal, fractions) for signal, fractions in self.discriminants.items()]
        return [each for each in wanted if {each.signal, *each.fractions} <= set(class_names)]
