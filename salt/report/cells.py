"""Cells: measured numbers in words, as tables have them."""

import math
from dataclasses import dataclass

from salt.report.metrics import Ratios, Rejections


@dataclass(frozen=True, slots=True)
class Cell:
    """A measured number in words.

    Parameters
    ----------
    text
        What to show.
    note
        What to say in smaller print beside it; may be empty.
    """

    text: str
    note: str = ""


def measured(value: float, error: float) -> str:
    """Value and error, both to the two digits of the error that matter."""
    if not math.isfinite(error) or error <= 0:
        return f"{value:.3g}"
    digits = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:,.{digits}f} ± {error:.{digits}f}"


def rejection_cell(found: Rejections, index: int) -> Cell:
    """Rejection at one working point."""
    if found.is_limit[index]:
        return Cell(f"> {found.value[index]:,.0f}", "95 % limit: none passed")
    return Cell(measured(float(found.value[index]), float(found.error[index])))


def ratio_cell(found: Ratios, index: int) -> Cell:
    """Ratio at one working point with its interval."""
    value, low, high = (float(part[index]) for part in (found.value, found.low, found.high))
    if not math.isfinite(low):
        return Cell("unknown", "too few jets passed")
    upper = f"{high:.2f}" if math.isfinite(high) else "∞"
    return Cell(f"{value:.2f}" if math.isfinite(value) else f"> {low:.2f}", f"{low:.2f} to {upper}")
