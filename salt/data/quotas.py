"""Quotas: how many jets of each class and bin are chosen, without repeating any; and which.

Shapes: C classes, K bins; N jets, each in one of the C x K cells or in none.
"""

from __future__ import annotations

import numpy as np

CHUNK = 1 << 20
"""Jets that are drawn from at once. The draw depends on it."""

TINY = 1e-9
"""Below this, what is missing to a whole jet is the rounding of a division."""


def countup(available: np.ndarray, fractions: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """As many jets as there are, with the classes in their fractions in each bin, and so altogether.

    The class with the fewest jets in a bin, for its fraction, gives all that it has there; the others as many, times
    their fractions. With equal fractions the numbers are equal, bin by bin.

    Parameters
    ----------
    available : np.ndarray
        (C, K) jets that there are.
    fractions : np.ndarray
        (C,) relative to each other.
    generator : np.random.Generator
        Decides about parts of jets.

    Returns
    -------
    np.ndarray
        (C, K) jets to choose.
    """
    shares = fractions[:, None]
    return _whole(shares * (available / shares).min(0), available, generator)


def pdf(
    available: np.ndarray, fractions: np.ndarray, target: int, shortage: float, generator: np.random.Generator
) -> np.ndarray:
    """Each class with the target's distribution over the bins, in these fractions; as many jets as that allows.

    Bins that any class has no jet in are left out, for all classes. Where a class has too few in a bin for the target's
    distribution, it gives all; at most `shortage` of its jets go missing so.

    Parameters
    ----------
    available : np.ndarray
        (C, K) jets that there are.
    fractions : np.ndarray
        (C,) relative to each other.
    target : int
        Number of the class whose distribution the others get.
    shortage : float
        Largest part of a class's jets that may be missing. 0 follows the target strictly: one sparse bin then decides
        about the number of all jets.
    generator : np.random.Generator
        Decides about parts of jets.

    Returns
    -------
    np.ndarray
        (C, K) jets to choose.
    """
    common = np.where((available > 0).all(0), available[target], 0)
    if not common.any():
        return np.zeros_like(available)
    shape = common / common.sum()

    def missing(scale: float) -> float:
        """Largest part of any class that is missing; rises with the scale."""
        return float(np.maximum(shape - available / (fractions[:, None] * scale), 0).sum(1).max())

    low, high = 0.0, common.sum() / fractions[target]  # jets of a fraction of 1; the target's own are the most
    if missing(high) > shortage + TINY:
        for _ in range(60):  # halves until the float has no more digits
            middle = (low + high) / 2
            low, high = (middle, high) if missing(middle) <= shortage + TINY else (low, middle)
    else:
        low = high
    return _whole(np.minimum(fractions[:, None] * low * shape, available), available, generator)


def draw(cells: np.ndarray, quotas: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Jets at random, so many of each cell, none twice; chunk by chunk, so that memory holds no order of all jets.

    Parameters
    ----------
    cells : np.ndarray
        (N,) number of each jet's cell; -1 for none.
    quotas : np.ndarray
        (cells,) jets to choose of each; no more than there are.
    generator : np.random.Generator
        Decides.

    Returns
    -------
    np.ndarray
        (M,) int64: numbers of the chosen jets, ascending.
    """
    left, wanted = counted(cells, len(quotas)), quotas.copy()  # in this chunk and those after it
    if (left == wanted).all():
        return np.flatnonzero(cells >= 0)
    chosen = [np.empty(0, np.int64)]
    for start in range(0, len(cells), CHUNK):
        jets = np.flatnonzero(cells[start : start + CHUNK] >= 0)
        generator.shuffle(jets)
        jets = jets[np.argsort(cells[start + jets], kind="stable")]  # cell by cell, random inside each
        here = np.bincount(cells[start + jets], minlength=len(quotas))
        taken = generator.hypergeometric(here, left - here, wanted)
        place = np.arange(len(jets)) - np.repeat(np.cumsum(here) - here, here)  # in its cell
        chosen.append(start + np.sort(jets[place < np.repeat(taken, here)]))
        left -= here
        wanted -= taken
    return np.concatenate(chosen)


def counted(cells: np.ndarray, num_cells: int) -> np.ndarray:
    """(cells,) jets of each."""
    return sum(
        (
            np.bincount(part[part >= 0], minlength=num_cells)
            for part in np.split(cells, range(CHUNK, len(cells), CHUNK))
        ),
        np.zeros(num_cells, np.int64),
    )


def _whole(jets: np.ndarray, available: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """(C, K) whole numbers: up or down at random, so that many sparse bins sum up right; alike for all classes."""
    chance = generator.random(jets.shape[1])
    return np.minimum(np.floor(jets + chance + TINY).astype(np.int64), available)
