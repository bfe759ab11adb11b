"""Efficiencies, rejections and areas under the ROC curve, with their statistical errors.

Shapes: S signal jets, B background jets, W b efficiencies (working points).
Equal scores are split at random in expectation: where a working point falls among jets of equal score, the fraction
of them that reaches it exactly is accepted, of signal and of background alike.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
"""Coverage of the intervals and limits."""

REPLICAS = 500
"""Bootstrap replicas; the bounds of a 95 % interval then rest on 12 replicas each side."""

_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Rejections:
    """Background rejections, the inverse of the background efficiency, at W working points.

    Parameters
    ----------
    value
        (W,) rejection; its lower limit where no background jet passed.
    error
        (W,) binomial standard error; NaN where ``value`` is a limit.
    is_limit
        (W,) whether no background jet passed.
    """

    value: np.ndarray
    error: np.ndarray
    is_limit: np.ndarray


@dataclass(frozen=True, slots=True)
class Ratios:
    """Ratios of two taggers' rejections on the same jets, at W working points.

    Parameters
    ----------
    value
        (W,) ratio on the jets themselves; infinite where only the first tagger lets no background through, NaN where
        neither does.
    median
        (W,) median of the bootstrap replicas.
    low, high
        (W,) bounds of the central 95 % interval.
    """

    value: np.ndarray
    median: np.ndarray
    low: np.ndarray
    high: np.ndarray


def discriminant(log_b: np.ndarray, log_c: np.ndarray, log_light: np.ndarray, charm_fraction: float) -> np.ndarray:
    """Log-likelihood ratio D = log(p_b / (f_c p_c + (1 - f_c) p_light)), from log probabilities of one shape."""
    with np.errstate(divide="ignore"):
        log_fractions = np.log([charm_fraction, 1.0 - charm_fraction])
    return log_b - np.logaddexp(log_fractions[0] + log_c, log_fractions[1] + log_light)


class Ranking:
    """Background jets ranked among the signal jets by one discriminant.

    Only the order matters here, so everything is counts of jets: per distinct signal score (descending), and per slot,
    which is either the gap above a distinct signal score or a tie with it.

    Parameters
    ----------
    signal
        (S,) discriminant of the signal jets.
    background
        (B,) discriminant of the background jets.
    """

    def __init__(self, signal: np.ndarray, background: np.ndarray) -> None:
        distinct, self._group = np.unique(-signal, return_inverse=True)  # (G,), (S,)
        gap = np.searchsorted(distinct, -background, side="left")  # (B,)
        tied = distinct[np.minimum(gap, len(distinct) - 1)] == -background
        self._slot = 2 * gap + (tied & (gap < len(distinct)))  # (B,)
        self._num_groups = len(distinct)

    def accepted(
        self,
        efficiencies: np.ndarray,
        signal_rows: np.ndarray | slice = slice(None),
        background_rows: np.ndarray | slice = slice(None),
    ) -> np.ndarray:
        """Background efficiency at each signal efficiency, (W,), for all jets or for a resampling of them."""
        per_group = np.bincount(self._group[signal_rows], minlength=self._num_groups)
        per_slot = np.bincount(self._slot[background_rows], minlength=2 * self._num_groups + 1)
        reached, above = np.cumsum(per_group), np.cumsum(per_slot)
        target = np.asarray(efficiencies) * reached[-1]
        group = np.searchsorted(reached, target - _ROUNDING * reached[-1], side="left")
        share = (target - reached[group] + per_group[group]) / per_group[group]
        return (above[2 * group] + np.minimum(share, 1.0) * per_slot[2 * group + 1]) / above[-1]


def rejections(signal: np.ndarray, background: np.ndarray, efficiencies: np.ndarray) -> Rejections:
    """Rejections of the background at the given signal efficiencies, all (W,)."""
    num = len(background)
    accepted = Ranking(signal, background).accepted(efficiencies)
    is_limit = accepted <= 0.0
    safe = np.where(is_limit, 1.0, accepted)
    limit = 1.0 / (1.0 - (1.0 - CONFIDENCE) ** (1.0 / num))  # from (1 - e)^B = 5 %
    error = np.sqrt(safe * (1.0 - safe) / num) / safe**2
    return Rejections(np.where(is_limit, limit, 1.0 / safe), np.where(is_limit, np.nan, error), is_limit)


def area(signal: np.ndarray, background: np.ndarray) -> tuple[float, float]:
    """Area under the ROC curve, ties counted half, and its standard error.

    The error is DeLong's (Biometrics 44 (1988) 837), which assumes no shape of the distributions.
    It is NaN below two jets of a kind.
    """
    num_signal, num_background = len(signal), len(background)
    ranks = stats.rankdata(np.concatenate([signal, background]))
    beaten = (ranks[:num_signal] - stats.rankdata(signal)) / num_background  # (S,) share of background below each
    beating = 1.0 - (ranks[num_signal:] - stats.rankdata(background)) / num_signal  # (B,) share of signal above each
    if min(num_signal, num_background) < 2:
        return float(beaten.mean()), float("nan")
    variance = beaten.var(ddof=1) / num_signal + beating.var(ddof=1) / num_background
    return float(beaten.mean()), float(np.sqrt(variance))


def rejection_ratios(
    signal: tuple[np.ndarray, np.ndarray],
    background: tuple[np.ndarray, np.ndarray],
    efficiencies: np.ndarray,
    generator: np.random.Generator,
    num_replicas: int = REPLICAS,
) -> Ratios:
    """Rejection of the first tagger over that of the second, by a paired bootstrap.

    Each replica draws the same jets for both taggers, so what the two share cancels; cuts are found anew in each, so
    the finite number of signal jets counts too.

    Parameters
    ----------
    signal
        (S,) discriminants of the two taggers for the same signal jets.
    background
        (B,) discriminants of the two taggers for the same background jets.
    efficiencies
        (W,) signal efficiencies.
    generator
        Source of the resampling.
    num_replicas
        How many replicas.
    """
    first, second = (Ranking(s, b) for s, b in zip(signal, background, strict=True))

    def ratio(*rows: np.ndarray) -> np.ndarray:
        return _quotient(second.accepted(efficiencies, *rows), first.accepted(efficiencies, *rows))

    return _resampled(ratio, (len(signal[0]), len(background[0])), (num_replicas, len(efficiencies)), generator)


def rejection_gains(
    signal: Sequence[np.ndarray],
    background: Sequence[np.ndarray],
    efficiencies: np.ndarray,
    generator: np.random.Generator,
    num_replicas: int = REPLICAS,
) -> Ratios:
    """Rejection of the first tagger over the mean rejection of the others, by a paired bootstrap.

    Parameters
    ----------
    signal, background
        (S,) and (B,) discriminants of each tagger for the same jets.
    efficiencies
        (W,) signal efficiencies.
    generator
        Source of the resampling.
    num_replicas
        How many replicas.
    """
    first, *others = (Ranking(s, b) for s, b in zip(signal, background, strict=True))
    one = np.ones(len(efficiencies))

    def gain(*rows: np.ndarray) -> np.ndarray:
        mean = np.mean([_quotient(one, other.accepted(efficiencies, *rows)) for other in others], axis=0)
        return _quotient(_quotient(one, first.accepted(efficiencies, *rows)), mean)

    return _resampled(gain, (len(signal[0]), len(background[0])), (num_replicas, len(efficiencies)), generator)


def _resampled(
    ratio: Callable[..., np.ndarray], num_jets: tuple[int, int], shape: tuple[int, int], generator: np.random.Generator
) -> Ratios:
    """A ratio (W,) of all signal and background jets, and of (replicas, W) resamplings of them."""
    replicas = np.empty(shape)
    for replica in replicas:
        replica[:] = ratio(*(generator.integers(number, size=number) for number in num_jets))
    low, median, high = (
        _quantile(replicas, probability) for probability in ((1 - CONFIDENCE) / 2, 0.5, (1 + CONFIDENCE) / 2)
    )
    return Ratios(ratio(), median, low, high)


def split(ratios: Ratios, number: int) -> tuple[Ratios, Ratios]:
    """The ratios at the first ``number`` working points, and those at the others."""
    first, rest = (
        Ratios(ratios.value[part], ratios.median[part], ratios.low[part], ratios.high[part])
        for part in (slice(None, number), slice(number, None))
    )
    return first, rest


def _quotient(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Quotient; infinite for x/0 and NaN for 0/0 and infinite over infinite."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return numerator / denominator


def _quantile(replicas: np.ndarray, probability: float) -> np.ndarray:
    """Quantile over the replicas that have a ratio, (W,); may be infinite, NaN where none has one."""
    ordered = np.sort(replicas, axis=0)  # NaN last
    count = np.isfinite(ordered).sum(axis=0) + np.isposinf(ordered).sum(axis=0)
    position = np.clip(np.ceil(probability * count).astype(int) - 1, 0, len(ordered) - 1)
    return np.take_along_axis(ordered, position[None], axis=0)[0]
