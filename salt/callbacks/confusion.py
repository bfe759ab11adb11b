"""ConfusionMatrixCallback: a picture of which classes are taken for which, of each validation.

Shapes: K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from lightning import Callback, LightningModule, Trainer
from numpy.typing import NDArray

from salt.callbacks.figures import publish
from salt.data.names import unknown
from salt.layout import Packed
from salt.metrics.classification import Classification
from salt.metrics.monitor import reduce
from salt.ragged import Ragged
from salt.training.module import SaltModule
from salt.types import Batch, Preds

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class ConfusionMatrixCallback(Callback):
    """Draw the confusion matrix of a classification after each validation, over all ranks.

    The picture goes to RUN/figures, and to TensorBoard, Comet, W&B or MLflow where one of them logs the run.

    Parameters
    ----------
    task_name : str
        Name of the task.
    class_names_override : list[str] | dict[str, str] | None
        What the picture calls the classes: all in order, or class name -> what to call it.
    """

    def __init__(self, task_name: str, class_names_override: list[str] | dict[str, str] | None = None) -> None:
        self.task_name = task_name
        self.class_names_override = class_names_override
        self._monitor: Classification | None = None
        self._stream = ""
        self._labels: list[str] = []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Find the task."""
        if stage not in {"fit", "validate"} or not isinstance(pl_module, SaltModule):
            return
        monitors = {task.name: task.confusion() for task in pl_module.model.heads()}
        found = {name: monitor for name, monitor in monitors.items() if monitor is not None}
        if self.task_name not in found:
            where = "the classification tasks of the model (task_name of salt.callbacks.ConfusionMatrixCallback)"
            raise ValueError(unknown("task", self.task_name, list(found), where))
        self._monitor = found[self.task_name]
        self._stream = next(task.input_name for task in pl_module.model.heads() if task.name == self.task_name)
        self._labels = self._named(self._monitor.class_names)

    def _named(self, class_names: Sequence[str]) -> list[str]:
        """What the picture calls the classes."""
        override, key = self.class_names_override, "class_names_override of salt.callbacks.ConfusionMatrixCallback"
        if isinstance(override, Mapping):
            for name in override:
                if name not in class_names:
                    raise ValueError(unknown("class", name, class_names, f"task {self.task_name!r} ({key})"))
            return [override.get(name, name) for name in class_names]
        if override is not None and len(override) != len(class_names):
            raise ValueError(
                f"{key} has {len(override)} names, but task {self.task_name!r} has the {len(class_names)} classes "
                f"{', '.join(class_names)}: give one for each, or a mapping of some"
            )
        return list(class_names if override is None else override)

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count from zero."""
        if self._monitor is not None:
            self._monitor.begin(pl_module.device)

    def on_validation_batch_end(  # type: ignore[override]
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Preds,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count a batch."""
        if self._monitor is None:
            return
        x = batch.inputs.get(self._stream)
        layout = Packed(x.segments) if isinstance(x, Ragged) else None
        self._monitor.add(outputs[self.task_name], batch.labels[self._stream], layout, None)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw it."""
        is_trial: Any = trainer.fast_dev_run  # type: ignore[attr-defined]
        if self._monitor is None or trainer.sanity_checking or is_trial:
            return
        reduce([self._monitor])
        if trainer.is_global_zero:
            matrix = self._monitor.counts["confusion"].cpu().numpy()
            publish(trainer, f"confusion_{self.task_name}", draw(matrix, self._labels))


def draw(matrix: NDArray, labels: Sequence[str]) -> Figure:
    """The figure of counts (K, K) of true classes (rows) that are called each class (columns)."""
    from matplotlib.figure import Figure  # a third of a second, for those who want pictures

    shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    size = 2.5 + 0.8 * len(labels)
    figure = Figure(figsize=(size + 1.0, size))
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(labels)), labels, rotation=45, ha="right")
    axes.set_yticks(range(len(labels)), labels)
    axes.set_xlabel("Called")
    axes.set_ylabel("True class")
    for (row, column), share in np.ndenumerate(shares):
        colour = "white" if share > 0.5 else "black"
        text = f"{100 * share:.1f} %\n{matrix[row, column]:,}"
        axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=8)
    figure.colorbar(image, label="Share of the true class")
    return figure
