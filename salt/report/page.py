"""The page: one HTML file that needs nothing beside it, and the table of the command line."""

import base64
import datetime
import importlib.metadata
import platform
from dataclasses import dataclass
from typing import Any

from salt import __version__
from salt.report.canvas import Picture
from salt.report.cells import Cell, measured, ratio_cell, rejection_cell
from salt.report.comparison import BACKGROUNDS, WORKING_POINTS, Comparison, Performance
from salt.report.run import Run
from salt.report.spread import Spread
from salt.report.spread_table import spread_area, spread_facts, spread_table

HEADLINE = 1
"""Index of the working point that the first sentence quotes: 70 %."""
LABORATORY = ("numpy", "scipy", "h5py", "matplotlib")


@dataclass(frozen=True, slots=True)
class Row:
    """One working point and background of the table; likelihood and ratio are None where there is no likelihood."""

    efficiency: str
    background: str
    tagger: Cell
    likelihood: Cell | None
    ratio: Cell | None


def table(comparison: Comparison) -> list[Row]:
    """Rows of the table of rejections, background by background."""
    baseline = comparison.likelihood
    return [
        Row(
            efficiency=f"{efficiency:.0%}".replace("%", " %"),
            background=background,
            tagger=rejection_cell(comparison.tagger.points[background], index),
            likelihood=rejection_cell(baseline.points[background], index) if baseline else None,
            ratio=ratio_cell(comparison.ratios[background], index) if baseline else None,
        )
        for background in BACKGROUNDS
        for index, efficiency in enumerate(WORKING_POINTS)
    ]


def text_table(comparison: Comparison) -> str:
    """The table for a terminal."""
    head = ["b eff.", "rejects", comparison.tagger.name]
    head += ["Likelihood", "Ratio (95 % interval)"] if comparison.likelihood else []
    lines = [head]
    for row in table(comparison):
        cells = [cell for cell in (row.tagger, row.likelihood, row.ratio) if cell]
        lines.append([row.efficiency, row.background, *(f"{c.text} ({c.note})" if c.note else c.text for c in cells)])
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    rows = ["  ".join(text.rjust(width) for text, width in zip(line, widths, strict=True)) for line in lines]
    areas = [
        f"AUC of b against {name}: "
        + ", ".join(f"{p.name} {measured(*p.areas[name])}" for p in comparison.performances)
        for name in BACKGROUNDS
    ]
    return "\n".join([*rows, "", *areas])


def headline(comparison: Comparison) -> dict[str, str]:
    """Numbers of the first sentences, in words."""
    light = comparison.tagger.points["light"]
    words = {
        "light": rejection_cell(light, HEADLINE).text,
        "c": rejection_cell(comparison.tagger.points["c"], HEADLINE).text,
    }
    for name, ratios in comparison.ratios.items():
        cell = ratio_cell(ratios, HEADLINE)
        words[f"{name}_ratio"], words[f"{name}_interval"] = cell.text, cell.note
    return words


def facts(
    run: Run, comparison: Comparison, num_training_jets: int | None, spread: Spread | None = None
) -> dict[str, str]:
    """Where the numbers come from; files by name only, so that a page can be shown without one's directories."""
    evaluation = comparison.evaluation
    checkpoint, _, sample = evaluation.file.stem.partition("__test_")
    parameters = run.metadata.get("trainable_params")
    found = {
        "Run": run.directory.resolve().name,
        "Model": evaluation.model_name,
        "Checkpoint": checkpoint,
        "Test sample": sample,
        "Test jets": ", ".join(f"{count:,} {name}" for name, count in evaluation.counts().items()),
        "Training file": _file_name(run.setting("data.train_file")),
        "Training jets": f"{num_training_jets:,}" if num_training_jets else "",
        "Trainable parameters": f"{parameters:,}" if isinstance(parameters, int) else "",
        "Epochs": _text(run.setting("trainer.max_epochs")),
        "Batch size": _text(run.setting("data.batch_size")),
        "Seed": _text(run.setting("seed_everything")),
        "Inputs": ", ".join(
            f"{len(names)} of {key}" for key, names in (run.setting("data.variables") or {}).items() if names
        ),
        "Charm fraction": f"{comparison.charm_fraction:g}",
        "Trained": _text(run.metadata.get("timestamp")),
        "Reported": datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        "Versions of the training": ", ".join(
            f"{name} {run.metadata[key]}"
            for name, key in (("torch", "torch_version"), ("lightning", "lightning_version"), ("salt", "salt_hash"))
            if run.metadata.get(key)
        ),
        "Versions of the report": ", ".join(
            [f"salt {__version__}", f"Python {platform.python_version()}"]
            + [f"{name} {importlib.metadata.version(name)}" for name in LABORATORY]
        ),
    }
    if spread:
        found |= spread_facts(spread)
    return {name: text for name, text in found.items() if text}


def render(
    run: Run,
    comparison: Comparison,
    pictures: list[Picture],
    num_training_jets: int | None,
    spread: Spread | None = None,
) -> str:
    """HTML of the page; the members of a sweep are in ``spread``."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("salt.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["data_uri"] = lambda png: "data:image/png;base64," + base64.b64encode(png).decode()
    return environment.get_template("page.html.jinja").render(
        comparison=comparison,
        areas=_areas(comparison.performances, spread),
        facts=facts(run, comparison, num_training_jets, spread),
        headline=headline(comparison),
        num_training_jets=num_training_jets,
        num_working_points=len(WORKING_POINTS),
        pictures=pictures,
        rows=table(comparison),
        run=run,
        spread=spread,
        spread_rows=spread_table(comparison, spread) if spread else [],
        working_points=WORKING_POINTS,
    )


def _areas(performances: list[Performance], spread: Spread | None) -> list[dict[str, Any]]:
    """Areas under the curves, a row a tagger; the members of an ensemble after it."""
    first, *others = [
        {"name": performance.name} | {name: measured(*performance.areas[name]) for name in BACKGROUNDS}
        for performance in performances
    ]
    return [first, *([spread_area(spread)] if spread else []), *others]


def _file_name(path: Any) -> str:
    """Last part of a path, or of the first of several."""
    first = path[0] if isinstance(path, list) and path else path
    return str(first).rstrip("/").rsplit("/", 1)[-1] if first else ""


def _text(value: Any) -> str:
    """A value of the config in words; empty where it is not set."""
    return "" if value is None else str(value)
