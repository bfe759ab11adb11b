"""The paper that the figures are drawn on: one style, one palette, one way to encode."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's palette, told apart by colour-blind readers: https://jfly.uni-koeln.de/color/
BLUE, ORANGE, GREEN, PINK, VERMILION, GREY = "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#555555"

DOTS_PER_INCH = 160
SIZE = (6.4, 5.2)
"""Width and height of an ordinary figure in inches."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One image of the page.

    Parameters
    ----------
    name
        Stem of its file.
    title, caption
        Words above and below it.
    alt
        What it shows, for those who cannot see it.
    png
        The encoded image.
    """

    name: str
    title: str
    caption: str
    alt: str
    png: bytes


@contextmanager
def style() -> Iterator[None]:
    """Ticks, fonts and frame of the field; no experiment's name comes with them."""
    import matplotlib as mpl
    import mplhep

    changes = {
        "font.size": 12,
        "axes.labelsize": 14,
        "xtick.labelsize": 12,
        "ytick.labelsize": 12,
        "legend.fontsize": 11,
        "legend.borderpad": 0.3,
        "lines.linewidth": 1.8,
        "lines.markersize": 5,
        "axes.autolimit_mode": "data",
        "axes.labelpad": 5,
        "ytick.major.size": 8,
        "ytick.minor.size": 4,
        "xtick.major.size": 6,
        "savefig.dpi": DOTS_PER_INCH,
        "savefig.facecolor": "white",
    }
    with mpl.rc_context(mplhep.style.ATLAS | changes):
        yield


def new(
    rows: int = 1, columns: int = 1, size: tuple[float, float] = SIZE, **keywords: Any
) -> tuple["Figure", np.ndarray]:
    """Figure and its axes, (rows, columns)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **keywords)


def encode(figure: "Figure") -> bytes:
    """PNG of a figure, the same bytes for the same content."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
