"""Classification of jets or of their constituents.

Shapes: "..." the tokens of a layout or the jets, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from salt.layout import Layout
from salt.metrics.classification import Calibrated, Classification, Flavours, OneClass, Origins
from salt.metrics.monitor import Monitor
from salt.metrics.options import MetricOptions
from salt.tasks.base import Task
from salt.tasks.links import IGNORE, make_link
from salt.tasks.losses import in_full, known_sum, make_loss

CLASS_NAMES: Mapping[str, tuple[str, ...]] = {
    # Codes of the ATLAS truth-origin and truth-type tools, in the order of their values.
    "ftagTruthOriginLabel": (
        "Pileup", "Fake", "Primary", "FromB", "FromBC", "FromC", "FromTau", "OtherSecondary",
    ),
    "ftagTruthSourceLabel": (
        "NoTruth", "NotSecondary", "HadronicInteraction", "StrangeMesonDecay", "StrangeBaryonDecay", "GammaConversion",
        "Other",
    ),
    "ftagTruthTypeLabel": ("NoTruth", "Other", "Pion", "Kaon", "Lambda", "Electron", "Muon", "Photon"),
}  # fmt: skip
"""Label -> its classes, where every file agrees on them."""


class ClassificationTask(Task):
    """Which of several classes: softmax and cross-entropy; or whether it is of one class: sigmoid and its own entropy.

    Parameters
    ----------
    name, input_name, dense_config, weight
        As of every `Task`.
    label : str
        Name of the label in the file. What is negative has no class.
    loss : nn.Module | str | None
        A `torch.nn.CrossEntropyLoss`, with class weights and label smoothing if wanted; or, for one class against all
        else, a `torch.nn.BCEWithLogitsLoss`: the label is 1, 0 or a probability. By its name, too. None: the first.
    class_names : Sequence[str] | None
        Names of the classes; None: those that belong to the label. The CLI fills them in from the training file.
    label_map : Mapping[int, int] | None
        Value in the file -> class, -1 for none; other values are classes as they are. None: all are.
    weight : float
        As of every `Task`.
    sample_weight : str | None
        A label that weighs the loss of each row; None: all alike.
    use_class_dict : bool
        Take the class weights from `data.class_dict`. The CLI does, before the task is built.
    """

    def __init__(
        self,
        name: str,
        input_name: str,
        label: str,
        dense_config: dict[str, Any],
        loss: nn.Module | str | None = None,
        class_names: Sequence[str] | None = None,
        label_map: Mapping[int, int] | None = None,
        weight: float = 1.0,
        use_class_dict: bool = False,
        sample_weight: str | None = None,
    ) -> None:
        class_names = CLASS_NAMES.get(label) if class_names is None else class_names
        if class_names is not None:
            dense_config = {"output_size": len(class_names), **dense_config}
        super().__init__(name, input_name, dense_config, weight)
        self.label = label
        self.sample_weight = sample_weight
        self.loss_function = make_loss("CrossEntropyLoss" if loss is None else loss, name)
        self.label_map = dict(label_map) if label_map else None
        self.use_class_dict = use_class_dict
        if class_names is None:
            class_names = [str(i) for i in range(self.net.output_size)]
        if len(class_names) != self.net.output_size:
            raise ValueError(
                f"task {name!r}: {len(class_names)} classes ({', '.join(class_names)}) for dense_config.output_size "
                f"{self.net.output_size}"
            )
        self.class_names = list(class_names)
        self._link = make_link(self.loss_function, name, len(class_names))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> ClassificationTask:
        """Convert or move all weights; those of classes stay in at least single precision, as the losses do."""
        before = dict(self.loss_function.named_buffers())
        super()._apply(fn, recurse)
        for name, after in list(self.loss_function.named_buffers()):
            setattr(self.loss_function, name, before[name].to(after.device, in_full(after).dtype))
        return self

    def required_labels(self) -> list[str]:
        """The classes, and weights."""
        return [self.label, *([self.sample_weight] if self.sample_weight else [])]

    def check_labels(self, ranges: Mapping[str, tuple[int, int]]) -> None:
        """Raise where a label has no class: cross-entropy would fail in the middle of an epoch."""
        top = ranges.get(self.label, (0, 0))[1]
        if self.label_map is None and top >= self._link.num_values(len(self.class_names)):
            raise ValueError(self._without_class(top))

    def _without_class(self, value: float) -> str:
        known = self._link.num_values(len(self.class_names))
        return (
            f"label {self.label} of {self.input_name!r} has the value {value:g}, but task {self.name!r} knows the "
            f"classes 0 to {known - 1}: raise dense_config.output_size, give label_map (-1 is no class), or mend the "
            "file"
        )

    def loss(self, raw: Tensor, labels: dict[str, Tensor], layout: Layout | None) -> tuple[Tensor, Tensor]:
        """Sum of the weighted losses over what has a class, and what to divide it by.

        That is the sum of the class weights, or where each row has a weight of its own the number of rows.
        """
        values = labels[self.label].flatten()
        target = self.classes(values)
        raw = in_full(raw).flatten(0, -2)
        try:
            if self.sample_weight is None:
                return self._link.total(self.loss_function, raw, target)
            losses = self._link.losses(self.loss_function, raw, target)
        except IndexError as error:  # of files that are not known before they are read
            wrong = values[target >= len(self.class_names)]
            raise (ValueError(self._without_class(float(wrong[0]))) if len(wrong) else error) from error
        known = (target >= 0)[:, None]
        weights = {self.sample_weight: labels[self.sample_weight].flatten()}
        return known_sum(losses[:, None], known, weights, self.sample_weight), known.sum()

    def classes(self, values: Tensor) -> Tensor:
        """Label values (...) to classes (...); IGNORE for padding and constituents without truth."""
        classes = values
        for value, number in (self.label_map or {}).items():
            classes = classes.masked_fill(values == value, number)
        return self._link.target(classes.clamp(min=IGNORE))

    def monitor(self, options: MetricOptions, is_global: bool) -> Monitor:
        """Discriminants of a flavour tagger; of other classes each against the others."""
        if self._link.is_of_one_class:
            return OneClass(self._truth, self.class_names[0])
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
        if self._link.is_of_one_class:
            return OneClass(self._truth, self.class_names[0])
        return Classification(self._truth, self.class_names)

    def _truth(self, labels: Mapping[str, Tensor]) -> Tensor:
        return self.classes(labels[self.label]).round().long()

    def outputs(self, raw: Tensor, columns: Mapping[str, Tensor], layout: Layout | None) -> dict[str, Tensor]:
        """A probability (...) for each class: pb, pc, pu; pPileup, ..."""
        probabilities = self._link.probabilities(raw)
        return {p: probabilities[..., i] for i, p in enumerate(output_names(self.class_names))}


def output_names(class_names: Sequence[str]) -> list[str]:
    """Names of the classes' probabilities: those of ATLAS flavours where known (bjets: pb), else p<class>."""
    from ftag import Flavours

    known = {flavour.name: flavour.px for flavour in Flavours}
    return [known.get(name, f"p{name}") for name in class_names]
