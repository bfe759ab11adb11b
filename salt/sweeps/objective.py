"""The objective of a run: the best of all values that its metrics.csv has of a metric."""

from __future__ import annotations

import csv
import math
from pathlib import Path

from salt.data.names import unknown

CURVE = "metrics.csv"
"""Everything that a run logs."""


def objective(run: Path, name: str, direction: str) -> float:
    """The best value of a metric over the epochs, as the best checkpoint is chosen; those that are not finite are none.

    Raises
    ------
    ValueError
        There is none: the run has not logged the metric, or never as a number.
    """
    try:
        with (run / CURVE).open(newline="") as file:
            rows = csv.DictReader(file)
            names = [each for each in rows.fieldnames or [] if each not in {"epoch", "step"}]
            texts = [text for row in rows if (text := row.get(name))]
    except FileNotFoundError:
        raise ValueError(f"{run} has no {CURVE}: nothing was logged") from None
    if name not in names:
        raise NotLoggedError(unknown("metric", name, names, f"{run / CURVE} (the objective)"))
    values = [value for text in texts if math.isfinite(value := float(text))]
    if not values:
        raise ValueError(f"{name} was never a finite number in {run / CURVE}")
    return max(values) if direction == "max" else min(values)


class NotLoggedError(ValueError):
    """A metric that a run does not log: no trial will."""
