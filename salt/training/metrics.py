"""The figures of a validation: the monitors of a model's tasks together, and which way each figure is better."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from salt.layout import Packed
from salt.metrics.monitor import Monitor, reduce
from salt.metrics.options import MetricOptions
from salt.models.tagger import Tagger
from salt.ragged import Ragged, Segments
from salt.types import Batch, Labels, Preds

SMALL_IS_GOOD = re.compile(r"(_|/)(loss|calibration_error|resolution|match_fake)(_epoch|_step)?$")
GREAT_IS_GOOD = re.compile(
    r"_(accuracy|accuracy_micro|accuracy_macro|exact_match|eff|pur|auc|auc_\w+_vs_[\w.]+|rejection_\w+_at_[\w.]+"
    r"|efficiency|purity)$"
)
NEAR_ZERO_IS_GOOD = re.compile(r"_bias$")
NEAR_ONE_IS_GOOD = re.compile(r"_pull_width$")

MEV_PER_GEV = 1000.0
PT_NAMES = ("pt_btagJes", "pt")
"""Variables that hold a jet's transverse momentum [MeV]."""


TOGETHER = 4000
"""Jets whose answers are counted at once: what each call costs is shared by small batches."""


def direction(name: str) -> Literal["min", "max"]:
    """Which way a metric is better, by its name; "min" for those that are not ours.

    Raises
    ------
    ValueError
        For a bias, which is best near zero, and the width of pulls, which is best near one.
    """
    if SMALL_IS_GOOD.search(name):
        return "min"
    if GREAT_IS_GOOD.search(name):
        return "max"
    if NEAR_ZERO_IS_GOOD.search(name):
        raise ValueError(f"metric {name!r} is best near 0, neither small nor great: monitor the resolution instead")
    if NEAR_ONE_IS_GOOD.search(name):
        raise ValueError(f"metric {name!r} is best near 1, neither small nor great: monitor the loss instead")
    return "min"


class _Waiting(NamedTuple):
    """Answers to a batch that wait to be counted, with all that counting needs."""

    answers: Preds
    labels: Labels
    lengths: dict[str, Tensor]
    bins: Tensor | None


class Figures:
    """What is measured of a model in a validation.

    Parameters
    ----------
    model : Tagger
        The model.
    options : MetricOptions
        What is wanted.
    pt_variable : str | None
        The global object's transverse momentum [MeV] among the input variables; None: the first of `PT_NAMES` there.
    """

    def __init__(self, model: Tagger, options: MetricOptions, pt_variable: str | None = None) -> None:
        self._jets = model.schema.global_object
        self._streams = {task.name: task.input_name for task in model.row_heads()}
        found = {task.name: task.monitor(options, task.input_name == self._jets) for task in model.row_heads()}
        self.monitors: dict[str, Monitor] = {name: monitor for name, monitor in found.items() if monitor is not None}
        self._waiting: list[_Waiting] = []
        self._num_waiting = 0
        self._check_classes(options)
        self._edges = torch.tensor([MEV_PER_GEV * edge for edge in options.pt_bins])
        self._pt_column = self._find_pt(model, pt_variable) if options.pt_bins else None

    def _check_classes(self, options: MetricOptions) -> None:
        """Raise where the user names classes that no task has."""
        names = self.values()
        for signal, fractions in (options.discriminants or {}).items():
            ends = [f"auc_{signal}_vs_{background}" for background in fractions]
            if not any(f"val/{task}_{end}" in names for task in self.monitors for end in ends):
                raise ValueError(
                    f"metrics.discriminants.{signal}: no task tells {', '.join([signal, *fractions])} apart; "
                    f"write names that are among the class_names of a task on {self._jets!r}"
                )

    def _find_pt(self, model: Tagger, pt_variable: str | None) -> int:
        variables = model.schema.variables.get(self._jets, [])
        wanted = PT_NAMES if pt_variable is None else (pt_variable,)
        for name in wanted:
            if name in variables:
                return variables.index(name)
        raise ValueError(
            f"metrics.pt_bins need the transverse momentum among the inputs, and data.variables.{self._jets} has no "
            f"{' or '.join(wanted)}, only {', '.join(variables) or 'nothing'}: name it in metrics.pt_variable, or "
            "leave metrics.pt_bins out"
        )

    def begin(self, device: torch.device) -> None:
        """Count from zero."""
        self._waiting, self._num_waiting = [], 0
        for monitor in self.monitors.values():
            monitor.begin(device)

    def add(self, preds: Preds, batch: Batch) -> None:
        """Take the answers to a batch."""
        answers = {name: preds[name].detach() for name in self.monitors}
        lengths = {s: x.segments.lengths for s, x in batch.inputs.items() if isinstance(x, Ragged)}
        self._waiting.append(_Waiting(answers, batch.labels, lengths, self._bins(batch)))
        self._num_waiting += len(batch)
        if self._num_waiting >= TOGETHER:
            self._count()

    def _count(self) -> None:
        """Count what waits."""
        parts, self._waiting, self._num_waiting = self._waiting, [], 0
        if not parts:
            return
        layouts = {s: Packed(Segments.from_lengths(torch.cat([p.lengths[s] for p in parts]))) for s in parts[0].lengths}
        bins = torch.cat([p.bins for p in parts if p.bins is not None]) if self._pt_column is not None else None
        for name, monitor in self.monitors.items():
            stream = self._streams[name]
            raw = torch.cat([p.answers[name] for p in parts])
            labels = {k: torch.cat([p.labels[stream][k] for p in parts]) for k in parts[0].labels[stream]}
            monitor.add(raw, labels, layouts.get(stream), bins if stream == self._jets else None)

    def _bins(self, batch: Batch) -> Tensor | None:
        """(B,) number of each jet's bin in transverse momentum; one more than there are bins is for those outside."""
        if self._pt_column is None:
            return None
        jets = batch.inputs[self._jets]
        assert isinstance(jets, Tensor)
        bins = torch.bucketize(jets[:, self._pt_column].contiguous(), self._edges.to(jets.device), right=True) - 1
        return bins % (len(self._edges) + 1)  # below the first edge is -1, and joins what lies outside

    def reduce(self) -> None:
        """Put the counts of all ranks together."""
        self._count()
        reduce(list(self.monitors.values()))

    def values(self) -> dict[str, float | None]:
        """Name as it is logged -> figure; None where there is too little to tell."""
        self._count()
        return dict(self._values())

    def _values(self) -> Iterator[tuple[str, float | None]]:
        for task, monitor in self.monitors.items():
            yield from ((f"val/{task}_{name}", value) for name, value in monitor.figures().items())


def known(values: Mapping[str, float | None]) -> dict[str, float]:
    """Those that there is enough for."""
    return {name: value for name, value in values.items() if value is not None}
