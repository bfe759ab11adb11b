"""The tagger against the likelihood: every number of the report, before any is drawn or written.

Shapes: N jets, W working points, P points of a curve, K bins of transverse momentum.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from salt.report.evaluation import LIGHT, B, C, Evaluation
from salt.report.metrics import Ratios, Rejections, area, discriminant, rejection_ratios, rejections, split
from salt.report.truth import ORIGINS, TrackTally

SCHEMA = 1
"""Version of figures.json; raised when a key changes its meaning."""

WORKING_POINTS = np.array([0.60, 0.70, 0.77, 0.85])
"""b efficiencies at which ATLAS calibrates its taggers."""
CURVE = np.round(np.linspace(0.50, 0.99, 50), 2)
"""b efficiencies of the ROC curves."""
BACKGROUNDS = {"light": LIGHT, "c": C}
PT_EDGES = np.array([20.0, 30.0, 40.0, 60.0, 85.0, 120.0, 180.0, 250.0, 500.0, 1000.0, 2000.0, 6000.0])
"""Bins of transverse momentum in GeV; those with too few jets are left out."""
PT_WORKING_POINT = 0.70
MIN_JETS_IN_BIN = 100
SMALLEST_SCORE = 1e-10
"""Scores are cut off here before the logarithm, as atlas-ftag-tools does."""


@dataclass(frozen=True, slots=True)
class Performance:
    """What one tagger reaches.

    Parameters
    ----------
    name
        Name of the tagger.
    scores
        (N,) discriminant.
    areas
        Background to area under the ROC curve and its error.
    points, curves
        Background to rejections at the working points (W,) and along the curve (P,).
    pt_bins
        Background to rejections (K,) in bins of transverse momentum, at ``PT_WORKING_POINT`` in each; NaN where
        there are too few jets, empty where the momentum is not known.
    """

    name: str
    scores: np.ndarray
    areas: dict[str, tuple[float, float]]
    points: dict[str, Rejections]
    curves: dict[str, Rejections]
    pt_bins: dict[str, Rejections]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Tagger and, where there is one, likelihood on the same jets.

    Parameters
    ----------
    evaluation
        The jets.
    charm_fraction
        f_c of the discriminant.
    tagger
        The trained tagger.
    likelihood
        The baseline; None where the report is of the tagger alone.
    ratios, curve_ratios
        Background to ratios of rejections at the working points (W,) and along the curve (P,); empty without
        likelihood.
    tally
        Counts of the tracks.
    """

    evaluation: Evaluation
    charm_fraction: float
    tagger: Performance
    likelihood: Performance | None
    ratios: dict[str, Ratios]
    curve_ratios: dict[str, Ratios]
    tally: TrackTally

    @property
    def performances(self) -> list[Performance]:
        """The tagger, then the likelihood if there is one."""
        return [self.tagger, *([self.likelihood] if self.likelihood else [])]


def tagger_scores(evaluation: Evaluation, charm_fraction: float) -> np.ndarray:
    """Discriminant (N,) of the tagger's probabilities."""
    logs = [
        np.log(np.maximum(evaluation.probabilities[name].astype(np.float64), SMALLEST_SCORE))
        for name in ("b", "c", "light")
    ]
    return discriminant(logs[0], logs[1], logs[2], charm_fraction)


def compare(
    evaluation: Evaluation,
    likelihoods: np.ndarray | None,
    tally: TrackTally,
    charm_fraction: float,
    generator: np.random.Generator,
    name: str | None = None,
) -> Comparison:
    """Measure the tagger and the likelihood.

    Parameters
    ----------
    evaluation
        The jets with the tagger's scores.
    likelihoods
        (N, 3) log-likelihoods under b, c and light; None for the tagger alone.
    tally
        Counts of the tracks, passed on.
    charm_fraction
        f_c of both discriminants.
    generator
        Source of the bootstrap.
    name
        What to call the tagger; None for the name of its model.
    """
    tagger = perform(name or evaluation.model_name, tagger_scores(evaluation, charm_fraction), evaluation)
    if likelihoods is None:
        return Comparison(evaluation, charm_fraction, tagger, None, {}, {}, tally)
    likelihood = perform(
        "Likelihood", discriminant(likelihoods[:, 0], likelihoods[:, 1], likelihoods[:, 2], charm_fraction), evaluation
    )
    efficiencies = np.concatenate([WORKING_POINTS, CURVE])
    ratios, curve_ratios = {}, {}
    for name, code in BACKGROUNDS.items():
        signal, background = (evaluation.flavour == truth for truth in (B, code))
        pair = (tagger.scores, likelihood.scores)
        both = rejection_ratios(
            (pair[0][signal], pair[1][signal]), (pair[0][background], pair[1][background]), efficiencies, generator
        )
        ratios[name], curve_ratios[name] = split(both, len(WORKING_POINTS))
    return Comparison(evaluation, charm_fraction, tagger, likelihood, ratios, curve_ratios, tally)


def perform(name: str, scores: np.ndarray, evaluation: Evaluation) -> Performance:
    """Measure one tagger by its discriminant (N,)."""
    signal = scores[evaluation.flavour == B]
    backgrounds = {background: scores[evaluation.flavour == code] for background, code in BACKGROUNDS.items()}
    return Performance(
        name=name,
        scores=scores,
        areas={key: area(signal, values) for key, values in backgrounds.items()},
        points={key: rejections(signal, values, WORKING_POINTS) for key, values in backgrounds.items()},
        curves={key: rejections(signal, values, CURVE) for key, values in backgrounds.items()},
        pt_bins={key: _in_pt_bins(scores, evaluation, code) for key, code in BACKGROUNDS.items()}
        if evaluation.pt is not None
        else {},
    )


def _in_pt_bins(scores: np.ndarray, evaluation: Evaluation, background: int) -> Rejections:
    """Rejections (K,) in bins of transverse momentum, each with its own cut at ``PT_WORKING_POINT``."""
    bins = np.digitize(evaluation.pt, PT_EDGES) - 1 if evaluation.pt is not None else np.zeros(0)
    found = []
    for number in range(len(PT_EDGES) - 1):
        signal = scores[(bins == number) & (evaluation.flavour == B)]
        others = scores[(bins == number) & (evaluation.flavour == background)]
        if min(len(signal), len(others)) < MIN_JETS_IN_BIN:
            found.append(Rejections(np.array([np.nan]), np.array([np.nan]), np.array([False])))
        else:
            found.append(rejections(signal, others, np.array([PT_WORKING_POINT])))
    return Rejections(
        np.concatenate([bin.value for bin in found]),
        np.concatenate([bin.error for bin in found]),
        np.concatenate([bin.is_limit for bin in found]),
    )


def figures(comparison: Comparison) -> dict[str, Any]:
    """All numbers as plain JSON; what is not a finite number becomes null."""
    tally = comparison.tally
    content: dict[str, Any] = {
        "schema": SCHEMA,
        "model": comparison.tagger.name,
        "evaluation_file": comparison.evaluation.file.name,
        "charm_fraction": comparison.charm_fraction,
        "num_jets": comparison.evaluation.counts(),
        "tagger": _performance_figures(comparison.tagger, comparison.ratios),
    }
    if comparison.likelihood:
        content["likelihood"] = _performance_figures(comparison.likelihood, {})
        content["curve_ratios"] = {
            name: {"value": plain(r.value), "low": plain(r.low), "high": plain(r.high)}
            for name, r in comparison.curve_ratios.items()
        }
    content["curve_b_efficiency"] = plain(CURVE)
    content["pt_edges_gev"] = plain(PT_EDGES)
    if tally.confusion is not None:
        content["origins"] = {"names": list(ORIGINS), "true_by_predicted": tally.confusion.tolist()}
    if tally.pairs:
        content["vertexing"] = {
            name: {"true_pairs": pairs.true, "efficiency": number(pairs.efficiency), "purity": number(pairs.purity)}
            for name, pairs in tally.pairs.items()
        }
    return content


def _performance_figures(performance: Performance, ratios: dict[str, Ratios]) -> dict[str, Any]:
    """One tagger's numbers; ratios, where given, are those to the likelihood."""
    return {
        "auc": {name: number(value) for name, (value, _) in performance.areas.items()},
        "auc_error": {name: number(error) for name, (_, error) in performance.areas.items()},
        "rejections": {
            f"{round(100 * efficiency)}": {
                name: _point(found, index) | (_ratio(ratios[name], index) if name in ratios else {})
                for name, found in performance.points.items()
            }
            for index, efficiency in enumerate(WORKING_POINTS)
        },
        "curves": {
            name: {
                "rejection": plain(found.value),
                "error": plain(found.error),
                "is_lower_limit": found.is_limit.tolist(),
            }
            for name, found in performance.curves.items()
        },
        "pt_bins_at_70": {
            name: {
                "rejection": plain(found.value),
                "error": plain(found.error),
                "is_lower_limit": found.is_limit.tolist(),
            }
            for name, found in performance.pt_bins.items()
        },
    }


def _point(found: Rejections, index: int) -> dict[str, Any]:
    """Rejection at one working point."""
    return {
        "value": number(found.value[index]),
        "error": number(found.error[index]),
        "is_lower_limit": bool(found.is_limit[index]),
    }


def _ratio(found: Ratios, index: int) -> dict[str, Any]:
    """Ratio at one working point."""
    return {
        "ratio": number(found.value[index]),
        "ratio_median": number(found.median[index]),
        "ratio_low": number(found.low[index]),
        "ratio_high": number(found.high[index]),
    }


def number(value: float) -> float | None:
    """A finite number, or None."""
    return float(value) if math.isfinite(value) else None


def plain(values: np.ndarray) -> list[float | None]:
    """Numbers of an array, None where not finite."""
    return [number(value) for value in values.tolist()]
