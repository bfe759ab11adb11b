"""ROC curves from histograms: areas and rejections of counts of signal and background in fine bins of a score.

Shapes: N bins of the score, rising; W working points.
What falls into one bin counts as equal: half of such pairs are ordered rightly, and a cut inside a bin accepts the
same share of its signal and its background. These are the definitions of `salt report`, on binned scores.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

NUM_BINS = 2**14
SCORE_LIMIT = 25.0
"""Scores are log-ratios of probabilities: 1e-10 is a score of -23."""

NARROW = 0.2
"""Bins are uniform in asinh(score / NARROW): 0.00013 wide around 0, where all jets of an untrained tagger are, and
growing with the score from there, to 0.003 at 5."""

_REACH = math.asinh(SCORE_LIMIT / NARROW)

CONFIDENCE = 0.95
"""Coverage of a rejection's lower limit where no background passes, as in `salt report`."""

_ROUNDING = 1e-9


def score_bins(scores: Tensor) -> Tensor:
    """Bins (...) of scores (...); what is beyond the limits goes into the outermost ones."""
    stretched = torch.asinh(torch.nan_to_num(scores.float(), nan=-SCORE_LIMIT) / NARROW)
    return ((stretched / _REACH + 1) * (NUM_BINS / 2)).clamp_(0, NUM_BINS - 1).long()


def area(signal: NDArray, background: NDArray) -> float:
    """Area under the ROC curve of counts (N,) and (N,), in doubles: NaN where one is empty."""
    below = np.cumsum(background, dtype=float) - 0.5 * background
    pairs = float(signal.sum()) * float(background.sum())
    return float((signal * below).sum() / pairs) if pairs else float("nan")


def accepted(signal: NDArray, background: NDArray, efficiencies: ArrayLike) -> NDArray:
    """Background efficiencies (W,) at signal efficiencies (W,), of counts (N,) and (N,)."""
    filled = np.flatnonzero(signal)[::-1]  # bins with signal, from the top
    inside, tied = signal[filled].astype(float), background[filled]
    reached, above = np.cumsum(inside), np.cumsum(background[::-1], dtype=float)[::-1][filled] - tied
    target = np.asarray(efficiencies) * reached[-1]
    place = np.searchsorted(reached, target - _ROUNDING * reached[-1], side="left")
    share = np.minimum((target - reached[place] + inside[place]) / inside[place], 1.0)
    return (above[place] + share * tied[place]) / background.sum()


def rejections(signal: NDArray, background: NDArray, efficiencies: ArrayLike) -> NDArray:
    """1 / background efficiency (W,); its lower limit at 95 % confidence where no background passes."""
    passed = accepted(signal, background, efficiencies)
    limit = 1.0 / (1.0 - (1.0 - CONFIDENCE) ** (1.0 / background.sum()))
    with np.errstate(divide="ignore"):
        return np.where(passed > 0, 1.0 / passed, limit)
