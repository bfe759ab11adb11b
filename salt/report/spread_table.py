"""The table of a sweep: the ensemble, the mean of its members, and what they gain together."""

import math
from dataclasses import dataclass

from salt.report.cells import Cell, measured, ratio_cell, rejection_cell
from salt.report.comparison import BACKGROUNDS, WORKING_POINTS, Comparison
from salt.report.spread import Mean, Spread
from salt.report.sweep import METHODS

MANY = 12
"""More members than this are counted, not named."""


@dataclass(frozen=True, slots=True)
class SpreadRow:
    """One line of the table: a cell a working point."""

    background: str
    name: str
    cells: list[Cell]


def mean_cell(found: Mean, index: int | None = None) -> Cell:
    """A mean with its two errors, training first, to the digits of the smaller one that matter."""
    value, training, statistical = (
        float(part if index is None else part[index]) for part in (found.value, found.training, found.statistical)
    )
    if not math.isfinite(value):
        return Cell("unknown", "no jet passed a member's cut")
    errors = [error for error in (training, statistical) if math.isfinite(error) and error > 0]
    if not errors:
        return Cell(measured(value, math.nan))
    digits = max(0, 1 - math.floor(math.log10(min(errors))))
    both = " ± ".join(f"{error:.{digits}f}" if math.isfinite(error) else "?" for error in (training, statistical))
    return Cell(f"{value:,.{digits}f} ± {both}")


def spread_table(comparison: Comparison, spread: Spread) -> list[SpreadRow]:
    """Rows of the table, background by background."""
    rows = []
    points = range(len(WORKING_POINTS))
    for background in BACKGROUNDS:
        together = [rejection_cell(comparison.tagger.points[background], index) for index in points]
        mean = spread.point(background)
        members = [mean_cell(mean, index) for index in points]
        rows.append(SpreadRow(background, "Ensemble" if spread.sweep.is_paired else "Out of fold", together))
        rows.append(SpreadRow(background, mean_name(spread), members))
        if background in spread.gains:
            gains = [
                ratio_cell(spread.gains[background], index) if math.isfinite(mean.value[index]) else Cell("unknown")
                for index in points
            ]
            rows.append(SpreadRow(background, "Gain of the ensemble", gains))
    return rows


def mean_name(spread: Spread) -> str:
    """What the mean is called in tables."""
    return f"Mean of {len(spread.members)} members"


def spread_area(spread: Spread) -> dict[str, str]:
    """The mean area under the curve, as a row of the table of areas."""
    return {"name": mean_name(spread)} | {name: mean_cell(spread.area(name)).text for name in BACKGROUNDS}


def spread_text(comparison: Comparison, spread: Spread) -> str:
    """The table for a terminal."""
    lines = [["rejects", "", *(f"{efficiency:.0%} b eff." for efficiency in WORKING_POINTS)]]
    lines += [
        [row.background, row.name, *(f"{c.text} ({c.note})" if c.note else c.text for c in row.cells)]
        for row in spread_table(comparison, spread)
    ]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    table = ["  ".join(text.rjust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    areas = ", ".join(f"against {name} {mean_cell(spread.area(name)).text}" for name in BACKGROUNDS)
    table.append(f"AUC of b, {mean_name(spread).lower()}: {areas}")
    return "\n".join([*table, f"Errors of the mean: training, then statistical. Training: {spread.meaning}."])


def spread_facts(spread: Spread) -> dict[str, str]:
    """Where the numbers come from; a seed would be that of the first member only."""
    names = [member.name for member in spread.members]
    return {
        "Members": ", ".join(names) if len(names) <= MANY else f"{len(names)}, from {names[0]} to {names[-1]}",
        "Ensemble": METHODS[spread.sweep.method],
        "Checkpoint": "the best of each member",
        "Seed": "",
    }
