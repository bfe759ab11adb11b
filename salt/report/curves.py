"""Curves: how rejections are drawn, with bands and on logarithmic axes."""

from typing import TYPE_CHECKING, Any

import numpy as np

from salt.report.canvas import BLUE
from salt.report.comparison import Comparison
from salt.report.metrics import Rejections

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TAGGER_STYLE: dict[str, Any] = {"color": BLUE, "linestyle": "-", "marker": "o"}
WORDS = {"c": "c jet", "light": "light-flavour jet"}
AXIS_LABELS = {"c": "$c$-jet rejection", "light": "Light-flavour jet rejection"}
ENERGY = "\N{SQUARE ROOT}s = 13 TeV"
PROCESSES = {"ttbar": r"$t\bar{t}$", "dijet": "dijets", "zprime": "$Z'$ (2 TeV)"}
"""Processes of `salt simulate`, as they are written in figures."""


def provenance(axes: "Axes", comparison: Comparison, *lines: str) -> None:
    """What the data are, in the upper left corner."""
    process = comparison.evaluation.process
    origin = f"salt simulation, {ENERGY}, {PROCESSES.get(process, process)}" if process else "Simulation"
    axes.text(0.04, 0.96, "\n".join([origin, *lines]), transform=axes.transAxes, va="top", fontsize=11, linespacing=1.5)


def band(axes: "Axes", x: np.ndarray, found: Rejections, name: str, look: dict[str, Any]) -> None:
    """Curve with its error band; limits are left out."""
    value = np.where(found.is_limit, np.nan, found.value)
    axes.plot(x, value, color=look["color"], linestyle=look["linestyle"], label=name)
    axes.fill_between(x, *interval(value, found.error), color=look["color"], alpha=0.25, linewidth=0)


def interval(value: np.ndarray, error: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One standard deviation down and up, symmetric in the logarithm so that it never reaches zero."""
    factor = np.exp(error / value)
    return value / factor, value * factor


def plain_numbers(axes: "Axes") -> None:
    """Whole numbers rather than powers at a logarithmic y axis; between the decades too where there are few."""
    from matplotlib.ticker import LogLocator, NullFormatter

    low, high = axes.get_ylim()
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < 300 * low else (1.0,)))
    axes.yaxis.set_major_formatter("{x:,g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
