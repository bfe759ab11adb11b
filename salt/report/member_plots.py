"""The figures of a sweep: its members around their ensemble."""

from typing import TYPE_CHECKING, Any

import numpy as np

from salt.report.canvas import BLUE, GREY, ORANGE, Picture, encode, new, style
from salt.report.comparison import BACKGROUNDS, CURVE, WORKING_POINTS, Comparison
from salt.report.curves import AXIS_LABELS, TAGGER_STYLE, WORDS, band, interval, plain_numbers, provenance
from salt.report.metrics import Rejections
from salt.report.spread import Spread
from salt.report.sweep import METHODS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

THIN: dict[str, Any] = {"color": GREY, "linewidth": 0.7, "alpha": 0.6}
AROUND: dict[str, Any] = {"color": ORANGE, "alpha": 0.35, "linewidth": 0}


def draw(comparison: Comparison, spread: Spread) -> list[Picture]:
    """ROC curves of the members with their ensemble, and their losses where they logged any."""
    with style():
        return [
            *(_roc_picture(comparison, spread, background) for background in BACKGROUNDS),
            *([_loss_picture(spread)] if spread.sweep.losses else []),
        ]


def _roc_picture(comparison: Comparison, spread: Spread, background: str) -> Picture:
    """Rejection against efficiency of ensemble and members, over the ratio to the mean of the members."""
    figure, axes = new(2, size=(6.4, 7.2), sharex=True, gridspec_kw={"height_ratios": [2.0, 1]})
    main, ratio = axes[:, 0]
    together, mean = comparison.tagger.curves[background], spread.curve(background)
    for place, member in enumerate(spread.members):
        found = member.curves[background]
        main.plot(CURVE, _seen(found), label="Members" if place == 0 else None, **THIN)
        ratio.plot(CURVE, _seen(found) / mean.value, **THIN)
    main.plot(CURVE, mean.value, color=ORANGE, linestyle="--", label="Mean of the members and their spread")
    band(main, CURVE, together, comparison.tagger.name, TAGGER_STYLE)
    main.fill_between(CURVE, *interval(mean.value, mean.training), **AROUND)
    relative = mean.training / mean.value
    ratio.fill_between(CURVE, 1 - relative, 1 + relative, **AROUND)
    points = comparison.tagger.points[background]
    main.plot(WORKING_POINTS, points.value, linestyle="", color=BLUE, marker=TAGGER_STYLE["marker"])
    main.set_yscale("log")
    main.set_ylim(1.0, main.get_ylim()[1] ** 1.25)
    plain_numbers(main)
    main.set_ylabel(AXIS_LABELS[background])
    main.legend(loc="upper right", bbox_to_anchor=(1.0, 0.86))
    provenance(main, comparison, f"$f_c$ = {comparison.charm_fraction:g}")
    _ratio_panel(ratio, together, mean.value)
    ratio.set_xlabel("$b$-jet efficiency")
    ratio.set_xlim(CURVE[0], 1.0)
    words, mean_of_points = WORDS[background], spread.point(background)
    return Picture(
        name=f"members_{background}",
        title=f"{len(spread.members)} trainings: rejection of {words}s",
        caption=f"{comparison.tagger.name}: {METHODS[spread.sweep.method]}. Blue band: its statistical error "
        f"(binomial, one standard deviation). Orange band: {spread.meaning}. "
        "Below: ratio to the mean of the members.",
        alt=f"Curves of {words} rejection of {len(spread.members)} members and their ensemble; at 70 percent: "
        f"ensemble {points.value[1]:.3g}, mean of the members {mean_of_points.value[1]:.3g}, "
        f"their spread {mean_of_points.training[1]:.2g}",
        png=encode(figure),
    )


def _seen(found: Rejections) -> np.ndarray:
    """Rejections (P,) without limits."""
    return np.where(found.is_limit, np.nan, found.value)


def _ratio_panel(axes: "Axes", together: Rejections, mean: np.ndarray) -> None:
    """The ensemble over the mean of its members, with its statistical error."""
    value, error = _seen(together) / mean, together.error / mean
    axes.plot(CURVE, value, color=BLUE)
    axes.fill_between(CURVE, value - error, value + error, color=BLUE, alpha=0.25, linewidth=0)
    axes.axhline(1.0, color=ORANGE, linestyle="--", linewidth=1.2)
    axes.set_ylabel("Ratio to mean\nof members", loc="center")


def _loss_picture(spread: Spread) -> Picture:
    """Validation loss of each member."""
    figure, axes = new(size=(6.4, 4.2))
    main = axes[0, 0]
    for epochs, values in spread.sweep.losses:
        main.plot(epochs, values, marker="o", markersize=3, **(THIN | {"linewidth": 1.2}))
    last = max(epochs[-1] for epochs, _ in spread.sweep.losses)
    main.set_xlim(0, 1.02 * last)
    main.set_xlabel("Epoch")
    main.set_ylabel("Validation loss")
    lowest = [float(values.min()) for _, values in spread.sweep.losses]
    return Picture(
        name="members_losses",
        title="Validation losses of the members",
        caption="One line a training; the best checkpoint of each is its member of the ensemble.",
        alt=f"Validation losses against the epoch; the lowest of each training are from {min(lowest):.4g} "
        f"to {max(lowest):.4g}",
        png=encode(figure),
    )
