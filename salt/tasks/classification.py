"""Classification of jets or of their constituents.

Shapes: "..." the tokens of a layout or the jets, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from salt.layout import Layout
from salt.metrics.classification import Calibrated, Classification, Flavours, Origins
from salt.metrics.monitor import Monitor
from salt.metrics.options import MetricOptions
from salt.tasks.base import Task

IGNORE = -1
"""The label of what has no class: padding, and constituents without truth."""

CLASS_NAMES: Mapping[str, tuple[str, ...]] = {
    # Codes of the ATLAS truth-origin and truth-type tools, in the order of their values.
    "ftagTruthOriginLabel": (
        "Pileup", "Fake", "Primary", "FromB", "FromBC", "FromC", "FromTau", "OtherSecondary",
    ),
    "ftagTruthTypeLabel": ("NoTruth", "Other", "Pion", "Kaon", "Lambda", "Electron", "Muon", "Photon"),
}  # fmt: skip
"""Label -> its classes, where every file agrees on them."""


class ClassificationTask(Task):
    """Which of several classes: softmax and cross-entropy.

    Parameters
    ----------
    name, input_name, label, dense_config, weight
        As of every `Task`.
    loss : nn.Module | None
        A `torch.nn.CrossEntropyLoss`, with class weights if wanted; None: one without.
    class_names : Sequence[str] | None
        Names of the classes; None: those that belong to the label. The CLI fills them in from the training file.
    label_map : Mapping[int, int] | None
        Value in the file -> class; None: the values are the classes.
    use_class_dict : bool
        Take the class weights from `data.class_dict`. The CLI does, before the task is built.
    """

    def __init__(
        self,
        name: str,
        input_name: str,
        label: str,
        dense_config: dict[str, Any],
        loss: nn.Module | None = None,
        class_names: Sequence[str] | None = None,
        label_map: Mapping[int, int] | None = None,
        weight: float = 1.0,
        use_class_dict: bool = False,
    ) -> None:
        super().__init__(name, input_name, label, dense_config, weight)
        self.loss_function = nn.CrossEntropyLoss() if loss is None else loss
        if not isinstance(self.loss_function, nn.CrossEntropyLoss):
            raise ValueError(
                f"task {name!r}: loss {type(self.loss_function).__name__} is not known for classification; "
                "there is torch.nn.CrossEntropyLoss"
            )
        self.label_map = dict(label_map) if label_map else None
        self.use_class_dict = use_class_dict
        if class_names is None:
            class_names = CLASS_NAMES.get(label) or [str(i) for i in range(self.net.output_size)]
        if len(class_names) != self.net.output_size:
            raise ValueError(
                f"task {name!r}: {len(class_names)} classes ({', '.join(class_names)}) for dense_config.output_size "
                f"{self.net.output_size}"
            )
        self.class_names = list(class_names)

    def check_labels(self, ranges: Mapping[str, tuple[int, int]]) -> None:
        """Raise where a label has no class: cross-entropy would fail in the middle of an epoch."""
        top = ranges.get(self.label, (0, 0))[1]
        if self.label_map is None and top >= self.net.output_size:
            raise ValueError(
                f"label {self.label} of {self.input_name!r} has the value {top}, but task "
                f"{self.name!r} knows the classes 0 to {self.net.output_size - 1}: raise dense_config.output_size, "
                "give label_map, or mend the file"
            )

    def loss(self, raw: Tensor, labels: dict[str, Tensor], layout: Layout | None) -> tuple[Tensor, Tensor]:
        """Sum of weighted cross-entropies, and the sum of the weights, over what has a class."""
        target = self.classes(labels[self.label]).flatten()
        function = self.loss_function
        assert isinstance(function, nn.CrossEntropyLoss)
        smoothing = function.label_smoothing
        try:
            total = F.cross_entropy(
                raw.flatten(0, -2),
                target,
                function.weight,
                ignore_index=IGNORE,
                reduction="sum",
                label_smoothing=smoothing,
            )
        except IndexError as error:  # of files that are not known before they are read
            self.check_labels({self.label: (int(target.min()), int(target.max()))})
            raise error
        known = target != IGNORE
        count = known.sum() if function.weight is None else function.weight[target[known]].sum()
        return total, count

    def classes(self, values: Tensor) -> Tensor:
        """Label values (...) to classes (...); IGNORE for padding and constituents without truth."""
        if self.label_map is None:
            return values.clamp(min=IGNORE).long()
        classes = values.new_full(values.shape, IGNORE)
        for value, number in self.label_map.items():
            classes = classes.masked_fill(values == value, number)
        return classes.long()

    def monitor(self, options: MetricOptions, is_global: bool) -> Monitor:
        """Discriminants of a flavour tagger; of other classes each against the others."""
        if not is_global:
            return Origins(self._truth, self.class_names)
        weight = self.loss_function.weight
        assert weight is None or isinstance(weight, Tensor)
        discriminants = options.discriminants_of(self.class_names)
        if not discriminants:
            return Calibrated(self._truth, self.class_names, weight)
        return Flavours(self._truth, self.class_names, weight, discriminants, options)

    def confusion(self) -> Classification:
        """Which of its classes are taken for which."""
        return Classification(self._truth, self.class_names)

    def _truth(self, labels: Mapping[str, Tensor]) -> Tensor:
        return self.classes(labels[self.label])

    def outputs(self, raw: Tensor, columns: Mapping[str, Tensor], layout: Layout | None) -> dict[str, Tensor]:
        """A probability (...) for each class: pb, pc, pu; pPileup, ..."""
        probabilities = raw.softmax(-1)
        return {p: probabilities[..., i] for i, p in enumerate(output_names(self.class_names))}


def output_names(class_names: Sequence[str]) -> list[str]:
    """Names of the classes' probabilities: those of ATLAS flavours where known (bjets: pb), else p<class>."""
    from ftag import Flavours

    known = {flavour.name: flavour.px for flavour in Flavours}
    return [known.get(name, f"p{name}") for name in class_names]
