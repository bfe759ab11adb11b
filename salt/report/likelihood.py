"""The baseline: a classical impact-parameter likelihood, in the manner of ATLAS's IP3D.

Each track votes with the ratio of its probability densities under the b, c and light hypotheses, looked up in templates
of (signed d0 significance, signed z0 sin(theta) significance), one for each grade of track quality; votes are
multiplied as if tracks were independent. See ATL-PHYS-PUB-2017-013, section 3.1. It needs no training but counting.

Shapes: n jets, L track slots, G grades, X and Y bins of the two significances, 3 hypotheses (b, c, light).
"""

from collections.abc import Iterable

import numpy as np
from scipy import ndimage

from salt.report.evaluation import LIGHT, B, C, Tracks
from salt.report.run import InputError

D0 = "lifetimeSignedD0Significance"
Z0 = "lifetimeSignedZ0SinThetaSignificance"
INNERMOST = "numberOfInnermostPixelLayerHits"
NEXT = "numberOfNextToInnermostPixelLayerHits"
INNERMOST_SHARED = "numberOfInnermostPixelLayerSharedHits"
INNERMOST_SPLIT = "numberOfInnermostPixelLayerSplitHits"
PIXEL_SHARED = "numberOfPixelSharedHits"
SCT_SHARED = "numberOfSCTSharedHits"
COLUMNS = (D0, Z0, INNERMOST, NEXT, INNERMOST_SHARED, INNERMOST_SPLIT, PIXEL_SHARED, SCT_SHARED)

HYPOTHESES = (B, C, LIGHT)
NUM_GRADES = 5

D0_EDGES = np.sinh(np.linspace(-4.6, 4.6, 47))
"""Bins of equal width in asinh: 0.2 wide at 0, to +-50; the first and last hold everything beyond."""
Z0_EDGES = np.sinh(np.linspace(-4.0, 4.0, 33))
"""The same to +-27; pile-up tracks fill the outermost."""

SMOOTHING = 0.6
"""Width of the Gaussian that smooths the templates, in bins."""
PRIOR = 1.0
"""Pseudo-tracks a bin, shared out as all flavours together are: where nothing was counted, no flavour is preferred."""


def grade(columns: dict[str, np.ndarray]) -> np.ndarray:
    """Quality grade of each track, best last, in the shape of the columns.

    0: a hit in neither of the two innermost pixel layers; 1: a hit in only one of them; 2: an innermost hit that is
    shared or split; 3: other shared hits (one in the pixels, or two in the strips); 4: none of these.
    """
    num_inner = (columns[INNERMOST] > 0).astype(np.int64) + (columns[NEXT] > 0)
    ambiguous = (columns[INNERMOST_SHARED] > 0) | (columns[INNERMOST_SPLIT] > 0)
    shared = (columns[PIXEL_SHARED] > 0) | (columns[SCT_SHARED] > 1)
    return np.select([num_inner == 0, num_inner == 1, ambiguous, shared], [0, 1, 2, 3], default=4)


def _usable(tracks: Tracks) -> np.ndarray:
    """Tracks that can vote, (n, L)."""
    return tracks.real & np.isfinite(tracks.columns[D0]) & np.isfinite(tracks.columns[Z0])


def _bins(columns: dict[str, np.ndarray], chosen: np.ndarray) -> np.ndarray:
    """Flat index (T,) into the templates (G, X, Y) of each chosen track."""
    inside = {name: columns[name][chosen] for name in COLUMNS}
    x = np.searchsorted(D0_EDGES[1:-1], inside[D0])
    y = np.searchsorted(Z0_EDGES[1:-1], inside[Z0])
    return np.ravel_multi_index((grade(inside), x, y), _shape())


def _shape() -> tuple[int, int, int]:
    """(G, X, Y)."""
    return NUM_GRADES, len(D0_EDGES) - 1, len(Z0_EDGES) - 1


class Likelihood:
    """Impact-parameter likelihood with its templates.

    Parameters
    ----------
    counts
        (3, G, X, Y) tracks counted under each hypothesis.
    num_jets
        How many jets they came from.
    """

    def __init__(self, counts: np.ndarray, num_jets: int) -> None:
        self.num_jets = num_jets
        smooth = ndimage.gaussian_filter(counts.astype(np.float64), SMOOTHING, axes=(2, 3), mode="nearest")
        totals = smooth.sum(axis=(2, 3), keepdims=True)  # (3, G, 1, 1)
        shapes = smooth / np.maximum(totals, 1.0)
        together = (shapes + 1.0 / np.prod(_shape()[1:])).mean(axis=0)  # (G, X, Y), empty in no bin
        prior = PRIOR * np.prod(_shape()[1:]) * together / together.sum(axis=(1, 2), keepdims=True)
        densities = smooth + prior
        densities /= densities.sum(axis=(2, 3), keepdims=True)
        self._log_densities = np.log(densities).reshape(3, -1).T.copy()  # (G X Y, 3)

    def scores(self, tracks: Tracks) -> np.ndarray:
        """Log-likelihoods (n, 3) of the jets under b, c and light; zeros for a jet without tracks."""
        chosen = _usable(tracks)
        votes = self._log_densities[_bins(tracks.columns, chosen)]  # (T, 3)
        jet, num_jets = np.nonzero(chosen)[0], len(chosen)
        return np.stack([np.bincount(jet, weights=vote, minlength=num_jets) for vote in votes.T], axis=1)


def fit_likelihood(blocks: Iterable[tuple[np.ndarray, Tracks]]) -> Likelihood:
    """Count the templates in blocks of jets with known flavours (n,) and tracks."""
    size = int(np.prod(_shape()))
    counts = np.zeros((len(HYPOTHESES), size))
    jets = np.zeros(len(HYPOTHESES), dtype=np.int64)
    for flavour, tracks in blocks:
        usable = _usable(tracks)
        for row, code in enumerate(HYPOTHESES):
            ours = flavour == code
            counts[row] += np.bincount(_bins(tracks.columns, usable & ours[:, None]), minlength=size)
            jets[row] += ours.sum()
    if not jets.all():
        there = ", ".join(f"{num} {name}" for num, name in zip(jets, ("b", "c", "light"), strict=True))
        raise InputError(
            f"the likelihood needs b, c and light jets to count templates, and the training file gave {there}: "
            "name another with --train-file FILE, or report the tagger alone with --no-likelihood"
        )
    return Likelihood(counts.reshape(len(HYPOTHESES), *_shape()), int(jets.sum()))
