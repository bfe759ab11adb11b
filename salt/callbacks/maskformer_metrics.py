"""MaskformerMetrics: how well a mask decoder finds objects, in each validation."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from salt.data.objects import OBJECTS
from salt.layout import Layout, Packed
from salt.metrics.monitor import Monitor, reduce
from salt.metrics.objects import FOUND_MASKS, NUM_TRUE, TRUE_CLASS, TRUE_MASKS, Objects
from salt.metrics.options import MetricOptions
from salt.models.maskformer import OBJECT_CLASS, OBJECT_MASKS
from salt.models.matching import Matched
from salt.models.object_finder import ObjectFinder
from salt.training.metrics import known
from salt.training.module import SaltModule
from salt.types import Batch, Preds

Labels = Mapping[str, Tensor]

CRITERIA = {"perfect": (1.0, 1.0), "loose": (0.5, 0.5)}
"""Least recall and least purity of a mask, where the config does not say."""


class MaskformerMetrics(Callback):
    """Log efficiencies and fake rates of objects, over all jets of a validation on all ranks together.

    The figures are those of `salt.metrics.objects.Objects`, as `val/<figure>`, and for each regression of objects
    `val/<task>_<target>_resolution` and `_bias`, of the objects that there are.

    Parameters
    ----------
    only_val : bool
        Measure in validations only; else also those training batches that are logged, which costs a forward pass more.
    mask_criteria : dict[str, tuple[float, float]] | None
        Name -> least recall and least purity of a mask that meets a true one; None: perfect (1, 1), loose (0.5, 0.5).
    """

    def __init__(self, only_val: bool = True, mask_criteria: dict[str, tuple[float, float]] | None = None) -> None:
        self.only_val = only_val
        self.mask_criteria = CRITERIA if mask_criteria is None else mask_criteria
        wrong = [name for name, pair in self.mask_criteria.items() if not all(0 <= share <= 1 for share in pair)]
        if wrong:
            raise ValueError(
                f"MaskformerMetrics mask_criteria.{wrong[0]}: {list(self.mask_criteria[wrong[0]])} are no recall and "
                "purity between 0 and 1"
            )
        self._finder: ObjectFinder | None = None
        self._monitors: dict[str, Monitor] = {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """See what the model finds."""
        if stage not in {"fit", "validate"} or not isinstance(pl_module, SaltModule):
            return
        self._finder = pl_module.model.finder()
        if self._finder is None:
            raise ValueError("salt.callbacks.MaskformerMetrics: the model has no mask_decoder, and finds no objects")
        self._monitors = {"": Objects(self._finder.class_names, self.mask_criteria)}
        for task in self._finder.tasks:
            monitor = task.monitor(MetricOptions(), is_global=False)
            if monitor is not None:
                self._monitors[task.name] = monitor

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count from zero."""
        self._begin(pl_module)

    def on_validation_batch_end(  # type: ignore[override]
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Preds,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count the answers to a batch."""
        self._add(outputs, batch)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the figures."""
        values = self._figures("val")
        if trainer.sanity_checking:  # of few jets, and never shown: but whoever monitors a name looks for it
            pl_module.log_dict({name: math.nan if value is None else value for name, value in values.items()})
        else:
            pl_module.log_dict(known(values))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: object, batch: Batch, batch_idx: int
    ) -> None:
        """Log the figures of this batch."""
        every = trainer.log_every_n_steps  # type: ignore[attr-defined]
        if self.only_val or not every or (batch_idx + 1) % every:
            return
        self._begin(pl_module)
        with torch.no_grad():
            self._add(pl_module(batch.inputs), batch)
        pl_module.log_dict(known(self._figures("train")))

    def _begin(self, pl_module: LightningModule) -> None:
        for monitor in self._monitors.values():
            monitor.begin(pl_module.device)

    def _add(self, preds: Preds, batch: Batch) -> None:
        if self._finder is None:
            return
        labels = batch.labels[OBJECTS]
        layout = self._finder.layout(batch.inputs, Packed)
        matched = self._finder.match(preds, labels, layout)
        probabilities = self._finder.decoder.mask_loss.class_probs(preds[OBJECT_CLASS][-1])
        truth = compared(self._finder, preds, labels, matched, layout)
        self._monitors[""].add(probabilities, truth, layout, None)
        for task in self._finder.tasks:
            if task.name in self._monitors:
                self._monitors[task.name].add(*self._finder.paired(task, preds, labels, matched), None, None)

    def _figures(self, stage: str) -> dict[str, float | None]:
        reduce(list(self._monitors.values()))
        named = ((task, monitor.figures()) for task, monitor in self._monitors.items())
        return {
            f"{stage}/{task}_{name}" if task else f"{stage}/{name}": value
            for task, figures in named
            for name, value in figures.items()
        }


def compared(finder: ObjectFinder, preds: Preds, labels: Labels, matched: Matched, layout: Layout) -> Labels:
    """What `Objects` takes for labels: what each object that is looked for was matched with."""
    null, masks, classes = finder.decoder.mask_loss.num_classes, labels["masks"], labels["object_class"]
    true_class = matched.of_queries(classes, preds[OBJECT_CLASS].shape[2], null)
    number = torch.zeros_like(true_class)  # of the true object
    number[matched.jet, matched.query] = matched.object
    of = torch.take_along_dim(masks, layout.spread(number), -1)
    is_matched = layout.spread((true_class != null).float()) > 0
    num_true = (layout.total(masks.float()) > 0).sum(1)
    found = preds[OBJECT_MASKS][-1] > 0
    return {TRUE_CLASS: true_class, FOUND_MASKS: found, TRUE_MASKS: of & is_matched, NUM_TRUE: num_true}
