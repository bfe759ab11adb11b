"""Spread: how far the members of an ensemble are apart, the noise of the training, and what they gain together.

Shapes: M members, W working points, P points of a curve.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from salt.report.comparison import (
    BACKGROUNDS,
    CURVE,
    WORKING_POINTS,
    Comparison,
    Performance,
    number,
    perform,
    plain,
    tagger_scores,
)
from salt.report.evaluation import B, read_evaluation
from salt.report.metrics import Ratios, Rejections, rejection_gains, split
from salt.report.run import InputError
from salt.report.sweep import Sweep

MEANING = {
    True: "standard deviation over the members: all are tested on the same jets, and differ in their training alone",
    False: "standard deviation over the folds: each is tested on its own jets, so that it holds the statistical error "
    "of one fold's jets besides the noise of the training",
}
"""Whether the members score the same jets -> what their spread means."""


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean over the members; each (W,), or a single number.

    Parameters
    ----------
    value
        Mean; NaN where no jet passed a member's cut.
    training
        Standard deviation of one member, NaN where there is only one.
    statistical
        Standard error of one member from the number of jets; the members of one test share it, so it does not average
        out.
    """

    value: np.ndarray
    training: np.ndarray
    statistical: np.ndarray


@dataclass(frozen=True, slots=True)
class Spread:
    """The members beside their ensemble.

    Parameters
    ----------
    sweep
        What was tested.
    members
        What each member reaches.
    gains, curve_gains
        Background to rejection of the ensemble over the mean of its members, at the working points (W,) and along the
        curve (P,); empty where members do not score the same jets.
    """

    sweep: Sweep
    members: list[Performance]
    gains: dict[str, Ratios]
    curve_gains: dict[str, Ratios]

    @property
    def meaning(self) -> str:
        """What the spread is of."""
        return MEANING[self.sweep.is_paired]

    def point(self, background: str) -> Mean:
        """Mean rejections (W,) at the working points."""
        return mean([member.points[background] for member in self.members])

    def curve(self, background: str) -> Mean:
        """Mean rejections (P,) along the curve."""
        return mean([member.curves[background] for member in self.members])

    def area(self, background: str) -> Mean:
        """Mean area under the curve."""
        values, errors = np.array([member.areas[background] for member in self.members]).T
        return Mean(_mean(values), _deviation(values), _mean(errors))


def mean(members: list[Rejections]) -> Mean:
    """Mean rejections (W,) of some members; NaN where one has a limit only."""
    values = np.stack([np.where(found.is_limit, np.nan, found.value) for found in members])
    errors = np.stack([found.error for found in members])
    return Mean(_mean(values), _deviation(values), _mean(errors))


def measure(sweep: Sweep, compared: Comparison, max_jets: int | None, generator: np.random.Generator) -> Spread:
    """Measure each member as the ensemble was, and the ensemble against them."""
    members = []
    for file in sweep.members:
        evaluated = read_evaluation(sweep.run, file, max_jets)
        if sweep.is_paired and not np.array_equal(evaluated.flavour, compared.evaluation.flavour):
            raise InputError(f"{file} has other jets than {sweep.file}: run `salt test {sweep.run.directory}` again")
        scores = tagger_scores(evaluated, compared.charm_fraction)
        members.append(perform(file.parent.parent.name, scores, evaluated))
    gains, curve_gains = {}, {}
    if sweep.is_paired:
        flavour = compared.evaluation.flavour
        scores_of_all = [compared.tagger.scores, *(member.scores for member in members)]
        for name, code in BACKGROUNDS.items():
            both = rejection_gains(
                [scores[flavour == B] for scores in scores_of_all],
                [scores[flavour == code] for scores in scores_of_all],
                np.concatenate([WORKING_POINTS, CURVE]),
                generator,
            )
            gains[name], curve_gains[name] = split(both, len(WORKING_POINTS))
    return Spread(sweep, members, gains, curve_gains)


def figures(spread: Spread) -> dict[str, Any]:
    """All numbers as plain JSON; what is not a finite number becomes null."""
    points = {name: spread.point(name) for name in BACKGROUNDS}
    curves = {name: spread.curve(name) for name in BACKGROUNDS}
    return {
        "method": spread.sweep.method,
        "num_members": len(spread.members),
        "spread": spread.meaning,
        "mean_member": {
            "auc": {name: _figures(spread.area(name)) for name in BACKGROUNDS},
            "rejections": {
                _percent(efficiency): {name: _figures(points[name], index) for name in BACKGROUNDS}
                for index, efficiency in enumerate(WORKING_POINTS)
            },
            "curves": {
                name: {
                    "rejection": plain(found.value),
                    "training": plain(found.training),
                    "statistical": plain(found.statistical),
                }
                for name, found in curves.items()
            },
        },
        "gain": {
            _percent(efficiency): {name: _gain(gains, index) for name, gains in spread.gains.items()}
            for index, efficiency in enumerate(WORKING_POINTS)
        },
        "members": [_member(member) for member in spread.members],
    }


def _member(member: Performance) -> dict[str, Any]:
    """Numbers of one member; null where no jet passed."""
    return {
        "name": member.name,
        "auc": {name: number(value) for name, (value, _) in member.areas.items()},
        "rejections": {
            _percent(efficiency): {
                name: None if found.is_limit[index] else number(found.value[index])
                for name, found in member.points.items()
            }
            for index, efficiency in enumerate(WORKING_POINTS)
        },
    }


def _figures(found: Mean, index: int | None = None) -> dict[str, float | None]:
    """A mean at one working point, or the only one."""
    parts = {"value": found.value, "training": found.training, "statistical": found.statistical}
    return {name: number(float(part if index is None else part[index])) for name, part in parts.items()}


def _gain(found: Ratios, index: int) -> dict[str, float | None]:
    """The gain at one working point."""
    return {name: number(float(getattr(found, name)[index])) for name in ("value", "median", "low", "high")}


def _percent(efficiency: float) -> str:
    return f"{round(100 * efficiency)}"


def _mean(values: np.ndarray) -> np.ndarray:
    """Mean over the members (M, ...); of equal ones it is each of them to the last bit."""
    return values[0] + (values - values[0]).mean(axis=0)


def _deviation(values: np.ndarray) -> np.ndarray:
    """Standard deviation over the members (M, ...); exactly 0 for equal ones, NaN for one member."""
    if len(values) < 2:
        return np.full(values.shape[1:], np.nan)
    return (values - values[0]).std(axis=0, ddof=1)
