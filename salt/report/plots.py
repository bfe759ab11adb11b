"""The figures of the comparison: PNG images with the words that go with them."""

from typing import TYPE_CHECKING, Any

import numpy as np

from salt.report.canvas import BLUE, GREEN, GREY, ORANGE, PINK, VERMILION, Picture, encode, new, style
from salt.report.comparison import CURVE, PT_EDGES, PT_WORKING_POINT, WORKING_POINTS, Comparison, Performance
from salt.report.curves import AXIS_LABELS, TAGGER_STYLE, WORDS, band, interval, plain_numbers, provenance
from salt.report.evaluation import FLAVOURS, TAU, B
from salt.report.history import training_pictures
from salt.report.metrics import Rejections
from salt.report.run import Run
from salt.report.truth import ORIGINS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LIKELIHOOD_STYLE: dict[str, Any] = {"color": VERMILION, "linestyle": "--", "marker": "s"}
FLAVOUR_COLOURS = {"b": BLUE, "c": ORANGE, "light": GREEN, "tau": PINK}
FLAVOUR_DASHES = {"b": "-", "c": "--", "light": "-.", "tau": ":"}
JETS = {"b": "$b$-jets", "c": "$c$-jets", "light": "light-flavour jets", "tau": r"$\tau$-jets"}

ORIGIN_NAMES = {"Pileup": "Pile-up", "FromB": "From $b$", "FromBC": r"From $b\to c$", "FromC": "From $c$"} | {
    "FromTau": r"From $\tau$",
    "OtherSecondary": "Other sec.",
}
CEILING = 2.0
"""The ratio panel ends at this multiple of the largest ratio: intervals of few jets may leave it."""


def draw(run: Run, comparison: Comparison) -> list[Picture]:
    """All figures that the run has data for."""
    with style():
        return [
            *_roc_pictures(comparison),
            *_discriminant_pictures(comparison),
            *_momentum_pictures(comparison),
            *_origin_pictures(comparison),
            *training_pictures(run),
        ]


def _roc_pictures(comparison: Comparison) -> list[Picture]:
    return [_roc_picture(comparison, background) for background in comparison.tagger.curves]


def _roc_picture(comparison: Comparison, background: str) -> Picture:
    """Rejection against efficiency, over its ratio to the likelihood."""
    has_ratio = comparison.likelihood is not None
    heights = {"height_ratios": [2.6, 1]} if has_ratio else {}
    figure, axes = new(1 + has_ratio, size=(6.4, 6.4), sharex=True, gridspec_kw=heights)
    main = axes[0, 0]
    for performance, look in zip(comparison.performances, (TAGGER_STYLE, LIKELIHOOD_STYLE), strict=False):
        band(main, CURVE, performance.curves[background], performance.name, look)
        points = performance.points[background]
        main.plot(WORKING_POINTS, points.value, linestyle="", color=look["color"], marker=look["marker"])
    main.set_yscale("log")
    main.set_ylim(1.0, main.get_ylim()[1] ** 1.2)
    plain_numbers(main)
    main.set_ylabel(AXIS_LABELS[background])
    main.legend(loc="upper right", bbox_to_anchor=(1.0, 0.86))
    provenance(main, comparison, f"$f_c$ = {comparison.charm_fraction:g}; bands: statistical error")
    if has_ratio:
        _ratio_panel(axes[1, 0], comparison, background)
    axes[-1, 0].set_xlabel("$b$-jet efficiency")
    axes[-1, 0].set_xlim(CURVE[0], 1.0)
    return Picture(
        name=f"roc_{background}",
        title=f"Rejection of {WORDS[background]}s against b-jet efficiency",
        caption=f"How many {WORDS[background]}s there are for each that is taken for a b jet, if the cut on the "
        "discriminant keeps the given share of the b jets; higher is better. Bands are binomial errors of one standard "
        "deviation; the markers are the working points of the table."
        + (" Below: ratio to the likelihood, with its 95 % bootstrap interval." if has_ratio else ""),
        alt=f"Curves of {WORDS[background]} rejection, falling with b-jet efficiency; at 70 percent: "
        + ", ".join(f"{p.name} {p.points[background].value[1]:.3g}" for p in comparison.performances),
        png=encode(figure),
    )


def _ratio_panel(axes: "Axes", comparison: Comparison, background: str) -> None:
    """Ratio of the rejections with its interval."""
    ratios = comparison.curve_ratios[background]
    whole = np.isfinite(ratios.value) & np.isfinite(ratios.low) & np.isfinite(ratios.high)
    axes.plot(CURVE[whole], ratios.value[whole], color=BLUE)
    axes.fill_between(CURVE[whole], ratios.low[whole], ratios.high[whole], color=BLUE, alpha=0.25, linewidth=0)
    axes.axhline(1.0, color=VERMILION, linestyle="--", linewidth=1.2)
    ceiling = min(max(ratios.high[whole], default=1.0), CEILING * max(ratios.value[whole], default=1.0))
    axes.set_ylim(0, 1.15 * max(1.2, ceiling))
    axes.set_ylabel("Ratio to\nlikelihood", loc="center")


def _discriminant_pictures(comparison: Comparison) -> list[Picture]:
    return [
        _discriminant_picture(comparison, performance, stem)
        for performance, stem in zip(comparison.performances, ("tagger", "likelihood"), strict=False)
    ]


def _discriminant_picture(comparison: Comparison, performance: Performance, stem: str) -> Picture:
    """Distribution of the discriminant for each flavour."""
    figure, axes = new()
    main = axes[0, 0]
    evaluation = comparison.evaluation
    edges = _edges(performance.scores)
    for name, code in FLAVOURS.items():
        scores = performance.scores[evaluation.flavour == code]
        if len(scores) == 0 or (code == TAU and len(scores) < len(edges)):
            continue
        share = np.histogram(np.clip(scores, edges[0], edges[-1]), edges)[0] / len(scores)
        main.stairs(
            np.where(share > 0, share, np.nan), edges, baseline=None, label=JETS[name],
            color=FLAVOUR_COLOURS[name], linestyle=FLAVOUR_DASHES[name], linewidth=1.8,
        )  # fmt: skip
    main.set_yscale("log")
    low, high = main.get_ylim()
    main.set_ylim(low, high * 10 ** (0.5 * np.log10(high / low)))
    cut = np.quantile(performance.scores[evaluation.flavour == B], 1 - PT_WORKING_POINT)
    main.axvline(cut, ymax=0.69, color=GREY, linewidth=1.2)
    main.text(cut, 0.695, "70 %", transform=main.get_xaxis_transform(), ha="center", color=GREY, fontsize=11)
    main.set_xlim(edges[0], edges[-1])
    main.set_xlabel(f"{performance.name} discriminant $D_b$")
    main.set_ylabel(f"Share of jets / {edges[1] - edges[0]:.2g}")
    main.legend(loc="upper right", ncols=2, bbox_to_anchor=(0.98, 0.87))
    provenance(main, comparison)
    whose = f"of {performance.name}" if stem == "tagger" else "of the impact-parameter likelihood"
    return Picture(
        name=f"discriminant_{stem}",
        title=f"Discriminant {whose}",
        caption="Each flavour's distribution adds up to one; the outermost bins hold what lies beyond. "
        "Jets to the right of the grey line pass the 70 % working point.",
        alt=f"Histograms of the discriminant {whose}: b jets at high values, light-flavour jets at low ones",
        png=encode(figure),
    )


def _edges(scores: np.ndarray) -> np.ndarray:
    """Bins that hold all but one score in a thousand."""
    low, high = np.quantile(scores, [0.0005, 0.9995])
    return np.linspace(low - 0.2, high + 0.2, 61)


def _momentum_pictures(comparison: Comparison) -> list[Picture]:
    return [
        _momentum_picture(comparison, background)
        for background, found in comparison.tagger.pt_bins.items()
        if np.isfinite(found.value).sum() > 1
    ]


def _momentum_picture(comparison: Comparison, background: str) -> Picture:
    """Rejection in bins of transverse momentum."""
    figure, axes = new()
    main = axes[0, 0]
    centre, half = (PT_EDGES[1:] + PT_EDGES[:-1]) / 2, (PT_EDGES[1:] - PT_EDGES[:-1]) / 2
    for performance, look in zip(comparison.performances, (TAGGER_STYLE, LIKELIHOOD_STYLE), strict=False):
        _bars(main, centre, half, performance.pt_bins[background], performance.name, look)
    filled = np.nonzero(np.isfinite(comparison.tagger.pt_bins[background].value))[0]
    main.set_xscale("log")
    main.set_yscale("log")
    main.set_xlim(PT_EDGES[filled[0]], PT_EDGES[filled[-1] + 1])
    _plain_ticks(main, PT_EDGES[filled[0] : filled[-1] + 2])
    low, high = main.get_ylim()
    main.set_ylim(low, high * 10 ** (0.45 * np.log10(high / low)))
    plain_numbers(main)
    main.set_xlabel(r"Jet $p_\mathrm{T}$ [GeV]")
    main.set_ylabel(AXIS_LABELS[background])
    main.legend(loc="upper right", bbox_to_anchor=(1.0, 0.82))
    provenance(main, comparison, f"{PT_WORKING_POINT:.0%} $b$-jet efficiency in each bin".replace("%", " %"))
    return Picture(
        name=f"pt_{background}",
        title=f"Rejection of {WORDS[background]}s against transverse momentum",
        caption="The cut is chosen anew in each bin, so that 70 % of its b jets pass. "
        "Arrows are lower limits at 95 %: no jet passed.",
        alt=f"Points of {WORDS[background]} rejection in bins of jet transverse momentum, for "
        + " and ".join(p.name for p in comparison.performances),
        png=encode(figure),
    )


def _bars(
    axes: "Axes", centre: np.ndarray, half: np.ndarray, found: Rejections, name: str, look: dict[str, Any]
) -> None:
    """Points with their errors and bins (K,); limits as arrows."""
    look = look | {"linestyle": ""}
    for chosen, label in ((~found.is_limit, name), (found.is_limit, None)):
        value = found.value[chosen]
        down, up = (abs(bound - value) for bound in interval(value, found.error[chosen]))
        errors = [down, up] if label else 0.4 * value
        axes.errorbar(centre[chosen], value, errors, half[chosen], lolims=label is None, label=label, **look)


def _plain_ticks(axes: "Axes", ticks: np.ndarray) -> None:
    """Whole numbers at the given places of a logarithmic x axis."""
    from matplotlib.ticker import FixedLocator, NullFormatter

    axes.xaxis.set_major_locator(FixedLocator(list(ticks)))
    axes.xaxis.set_major_formatter("{x:.0f}")
    axes.xaxis.set_minor_formatter(NullFormatter())


def _origin_pictures(comparison: Comparison) -> list[Picture]:
    """Confusion matrix of the track origins, if they were predicted."""
    confusion = comparison.tally.confusion
    if confusion is None or confusion.sum() == 0:
        return []
    totals = confusion.sum(axis=1, keepdims=True)
    shares = confusion / np.maximum(totals, 1)
    figure, axes = new(size=(7.4, 6.4))
    main = axes[0, 0]
    image = main.imshow(np.where(totals > 0, shares, np.nan), cmap="Blues", vmin=0, vmax=1, aspect="auto")
    names = [ORIGIN_NAMES.get(name, name) for name in ORIGINS]
    main.set_xticks(range(len(names)), names, rotation=40, ha="right")
    main.set_yticks(range(len(names)), names)
    main.tick_params(which="both", length=0)
    main.minorticks_off()
    for (row, column), share in np.ndenumerate(shares):
        text = f"{share:.2f}" if totals[row, 0] else "\N{EN DASH}"
        main.text(
            column, row, text, ha="center", va="center", fontsize=10.5, color="white" if share > 0.55 else "#222222"
        )
    main.set_xlabel("Predicted origin")
    main.set_ylabel("True origin")
    bar = figure.colorbar(image, ax=main, pad=0.02)
    bar.set_label("Share of the true origin's tracks")
    bar.ax.minorticks_off()
    recall = ", ".join(f"{name} {shares[i, i]:.2f}" for i, name in enumerate(ORIGINS) if totals[i, 0])
    return [
        Picture(
            name="track_origins",
            title="Origins of the tracks",
            caption="Where each track truly comes from (rows) and where the tagger says it comes from (columns); "
            "rows add up to one.",
            alt=f"Confusion matrix of track origins; share called rightly: {recall}",
            png=encode(figure),
        )
    ]
