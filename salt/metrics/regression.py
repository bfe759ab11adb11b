"""Monitor of regression: how wide and how far off the answers are.

Shapes: n jets or constituents, R quantities, N bins of a residual.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from salt.layout import Layout
from salt.metrics.monitor import MIN_JETS, Monitor, tally

NUM_BINS = 2**14
FINEST = 1e-6
"""Residuals up to this size share the bins around zero."""

LARGEST = 1e6
"""Residuals beyond this size share the outermost bins."""

ONE_SIGMA = (0.158655, 0.841345)
"""Quantiles of a Gaussian at one width below and above its mean."""

Values = Callable[[Tensor, Mapping[str, Tensor], Layout | None], tuple[Tensor, Tensor]]
"""Raw answers, labels, layout -> predicted and true values (n,), or (n, R)."""


class Residuals(NamedTuple):
    """What is said of the residuals of a quantity, and by which names."""

    width: str = "resolution"
    """Half the width of the central 68 %."""
    middle: str = "bias"
    """The median."""

    @classmethod
    def of(cls, quantity: str) -> Residuals:
        """Those of one of several quantities."""
        return cls(f"{quantity}_resolution", f"{quantity}_bias")

    @classmethod
    def of_pull(cls, quantity: str) -> Residuals:
        """Those of its pulls: residuals in units of the width that was predicted for each."""
        return cls(f"{quantity}_pull_width", f"{quantity}_pull_bias")


class Regression(Monitor):
    """Resolution and bias: half the width of the central 68 %, and the median, of the residuals.

    Quantiles are those of histograms whose bins grow with the residual, 0.34 % each: exact to that, and not moved by a
    few wild answers. Where the truth is not finite there is nothing to be compared with.

    Parameters
    ----------
    values : Values
        Predicted and true values of a batch.
    is_relative : bool
        Residuals are (predicted - true) / true, not predicted - true.
    residuals : Sequence[Residuals]
        Names of what is said of each of the R quantities.
    """

    def __init__(
        self, values: Values, is_relative: bool = True, residuals: Sequence[Residuals] = (Residuals(),)
    ) -> None:
        super().__init__({"residuals": (len(residuals), NUM_BINS)})
        self._values = values
        self._residuals = list(residuals)
        self._is_relative = is_relative

    def add(self, raw: Tensor, labels: Mapping[str, Tensor], layout: Layout | None, bins: Tensor | None) -> None:
        """Count the residuals of a batch."""
        shape = (-1, len(self._residuals))
        predicted, true = (x.detach().double().reshape(shape) for x in self._values(raw, labels, layout))
        residuals = (predicted - true) / (true if self._is_relative else 1.0)
        known = true.isfinite() & residuals.isfinite()
        rows = torch.arange(len(self._residuals), device=residuals.device) * NUM_BINS
        keys = rows + residual_bins(residuals.nan_to_num())
        tally(self.counts["residuals"], keys.flatten(), known.long().flatten())

    def figures(self) -> dict[str, float | None]:
        """Resolution and bias of each quantity, in the unit of its residuals."""
        found: dict[str, float | None] = {}
        for names, counts in zip(self._residuals, self.counts["residuals"].cpu().numpy(), strict=True):
            if counts.sum() < MIN_JETS:
                found |= {names.width: None, names.middle: None}
                continue
            low, median, high = (_quantile(counts, share) for share in (ONE_SIGMA[0], 0.5, ONE_SIGMA[1]))
            found |= {names.width: (high - low) / 2, names.middle: median}
        return found


_HALF = NUM_BINS // 2
_SCALE = (_HALF - 1) / np.log(LARGEST / FINEST)


def residual_bins(residuals: Tensor) -> Tensor:
    """Bins (...) of residuals (...): logarithmic in their size, on either side of zero."""
    size = (torch.log(residuals.abs().clamp(min=FINEST, max=LARGEST) / FINEST) * _SCALE).long().clamp(0, _HALF - 1)
    return torch.where(residuals < 0, _HALF - 1 - size, _HALF + size)


def _quantile(counts: NDArray, share: float) -> float:
    """The residual below which this share of the counts lies, interpolated inside its bin."""
    edges = FINEST * np.exp(np.arange(_HALF + 1) / _SCALE)
    edges[0] = 0.0
    edges = np.concatenate([-edges[:0:-1], edges])  # (N + 1,)
    return float(np.interp(share * counts.sum(), np.concatenate([[0], np.cumsum(counts)]), edges))
