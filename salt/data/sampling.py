"""Sampling: which jets of a store are used, each at most once, in the distribution that was asked for.

Sampling is an index, not a file: one store of unresampled jets serves all variations.

Shapes: N jets of the store, M of them chosen; C classes; K bins.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from salt.data import quotas
from salt.data.folds import Fold, Stage, in_fold
from salt.data.names import unknown
from salt.data.sampling_options import KEY, Sampling

CHUNK = 1 << 20
"""Jets that are looked at together."""

MAX_CLASSES = 50
"""A label with more values tells no classes."""

Columns = Mapping[str, np.ndarray]
"""Name -> (N,) column of the global object."""


@dataclass(frozen=True)
class Chosen:
    """What was chosen."""

    index: np.ndarray
    """(M,) int64: numbers of the jets, ascending."""

    table: str
    """For each class: the jets that there are, that each step leaves, and that are chosen."""


def columns_needed(sampling: Mapping[str, Any] | None, fold: Mapping[str, Any] | None) -> list[str]:
    """Columns of the global object that a store must hold for `choose`; raises what is wrong with the options."""
    names = Sampling.read(sampling or {}).columns()
    if fold:
        names.append(Fold.read(fold).variable)
    return list(dict.fromkeys(names))


def choose(
    column: Callable[[str], np.ndarray],
    num_jets: int,
    sampling: Mapping[str, Any] | None,
    fold: Mapping[str, Any] | None,
    seed: int,
    stage: Stage = "train",
) -> Chosen:
    """The jets to use: those of the fold that meet the cuts, sampled by `Sampling.method`; no jet twice.

    Parameters
    ----------
    column : Callable[[str], np.ndarray]
        Name -> (N,) column of the global object; asked for `columns_needed` only.
    num_jets : int
        N.
    sampling : Mapping[str, Any] | None
        `data.sampling`; None for all jets.
    fold : Mapping[str, Any] | None
        `data.fold`; None for no folds.
    seed : int
        Which jets are chosen among equals depends on it alone.
    stage : Stage
        Which folds are used.

    Returns
    -------
    Chosen
        The jets, and a table for the log.
    """
    asked = Sampling.read(sampling or {})
    columns = {name: column(name) for name in columns_needed(sampling, fold)}
    generator = np.random.default_rng(np.random.SeedSequence([seed % 2**64], spawn_key=(2,)))
    left = {"jets": np.ones(num_jets, bool)}  # (N,) each; by which step
    if fold:
        left["in fold"] = _by_chunks(num_jets, bool, _in_fold(columns, Fold.read(fold), stage))
    if asked.cuts:
        left["after cuts"] = _last(left) & _by_chunks(num_jets, bool, _passed(columns, asked))
    names, classes = _classes(columns, asked, _last(left))
    bins = _by_chunks(num_jets, np.int32, _bins(columns, asked))
    if asked.axes:
        left["in bins"] = _last(left) & (bins >= 0)
    if asked.weights is not None:
        left["by weight"] = _accepted(columns[asked.weights], _last(left) & (classes >= 0), asked.weights, generator)
    num_bins = prod(len(axis) for axis in asked.axes)
    cells = np.where(_last(left) & (classes >= 0), classes * num_bins + bins, -1)
    available = quotas.counted(cells, len(names) * num_bins).reshape(len(names), num_bins)
    wanted = _wanted(asked, names, available, generator)
    counts = {step: quotas.counted(np.where(jets, classes, -1), len(names)) for step, jets in left.items()}
    table = _table(asked, names, counts | {"chosen": wanted.sum(1)}, num_jets)
    _check(asked, names, available, wanted, table)
    return Chosen(quotas.draw(cells, wanted.ravel(), generator), table)


def _by_chunks(num_jets: int, dtype: Any, compute: Callable[[slice], np.ndarray]) -> np.ndarray:
    """(N,), computed so that no column is copied whole."""
    whole = np.empty(num_jets, dtype)
    for start in range(0, num_jets, CHUNK):
        chunk = slice(start, start + CHUNK)
        whole[chunk] = compute(chunk)
    return whole


def _last(left: dict[str, np.ndarray]) -> np.ndarray:
    """(N,) bool: the jets that the last step left."""
    return left[next(reversed(left))]


def _in_fold(columns: Columns, fold: Fold, stage: Stage) -> Callable[[slice], np.ndarray]:
    return lambda chunk: in_fold(columns[fold.variable][chunk], fold.k, fold.use, stage)


def _passed(columns: Columns, asked: Sampling) -> Callable[[slice], np.ndarray]:
    """Whether jets meet all cuts."""
    return lambda chunk: np.logical_and.reduce([cut.passed(columns[cut.quantity.column][chunk]) for cut in asked.cuts])


def _bins(columns: Columns, asked: Sampling) -> Callable[[slice], np.ndarray]:
    """Numbers of the jets' bins over all axes, the last one running fastest; -1 outside of any."""

    def compute(chunk: slice) -> np.ndarray:
        bins = np.zeros(1, np.int64)
        for axis in asked.axes:
            numbers = axis.bins(columns[axis.quantity.column][chunk])
            bins = np.where((bins >= 0) & (numbers >= 0), bins * len(axis) + numbers, -1)
        return bins

    return compute


def _classes(columns: Columns, asked: Sampling, left: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Names of the C classes, and (N,) the number of each jet's class; -1 for none of them."""
    if asked.label is None:
        return ["all"], np.zeros(len(left), np.int32)
    labels = columns[asked.label]
    classes = asked.classes
    if not classes:
        values = np.unique(labels[left])
        if len(values) > MAX_CLASSES:
            raise ValueError(
                f"{asked.label} ({KEY}.label) has {len(values)} values, too many for classes: name the classes that "
                f"you mean with {KEY}.classes: {{bjets: 5, cjets: 4}}"
            )
        classes = {str(value): [value] for value in values.tolist()}

    def compute(chunk: slice) -> np.ndarray:
        numbers = np.full(len(labels[chunk]), -1)
        for number, values in enumerate(classes.values()):
            numbers[np.isin(labels[chunk], values)] = number
        return numbers

    return list(classes), _by_chunks(len(left), np.int32, compute)


def _accepted(weights: np.ndarray, left: np.ndarray, name: str, generator: np.random.Generator) -> np.ndarray:
    """(N,) bool: the jets that are accepted with a probability of w / max(w)."""
    jets = np.flatnonzero(left)
    values = weights[jets].astype(float)
    wrong = ~(np.isfinite(values) & (values >= 0))
    if wrong.any():
        jet = jets[np.argmax(wrong)]
        raise ValueError(
            f"{name} ({KEY}.weights) is {weights[jet]} for jet {jet}: a weight must be finite, and not below 0"
        )
    accepted = np.zeros(len(left), bool)
    accepted[jets] = generator.random(len(jets)) * values.max(initial=0) < values
    return accepted


def _wanted(asked: Sampling, names: list[str], available: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """(C, K) how many jets of each class and bin to choose, of those (C, K) that there are."""
    if asked.method in ("weights", "none") and not asked.fractions:
        return available
    fractions = np.array([asked.fractions.get(name, 1.0) for name in names])
    if asked.target is None:
        return quotas.countup(available, fractions, generator)
    if asked.target not in names:
        raise ValueError(unknown("class", asked.target, names, f"{KEY}.target"))
    return quotas.pdf(available, fractions, names.index(asked.target), asked.shortage, generator)


def _table(asked: Sampling, names: list[str], counts: Mapping[str, np.ndarray], num_jets: int) -> str:
    """Jets (C,) of each class after each step, and its share of the last one."""
    rows = {name: [int(count[number]) for count in counts.values()] for number, name in enumerate(names)}
    together = [int(count.sum()) for count in counts.values()]
    if len(names) > 1:
        rows["together"] = together
    total = max(together[-1], 1)
    lines = [[asked.label or "", *counts, "share"]]
    lines += [[name, *(f"{count:,}" for count in row), f"{row[-1] / total:.1%}"] for name, row in rows.items()]
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    texts = ["  ".join(text.rjust(width) for text, width in zip(line, widths, strict=True)) for line in lines]
    if others := num_jets - together[0]:
        texts.append(f"{others:,} jets are of none of these classes")
    return "\n".join(texts)


def _check(asked: Sampling, names: list[str], available: np.ndarray, wanted: np.ndarray, table: str) -> None:
    """Raise if a class that was named has no jets, or if nothing is chosen."""
    for name, number in zip(names, available.sum(1), strict=True):
        if asked.classes and not number:
            values = ", ".join(map(str, asked.classes[name]))
            raise ValueError(
                f"no jet of class {name} ({KEY}.classes: {asked.label} {values}) is left: mend its value, or leave the "
                f"class out\n{table}"
            )
    if not wanted.any():
        raise ValueError(
            f"{KEY} and data.fold choose none of the jets: the step that leaves none is too narrow\n{table}"
        )
