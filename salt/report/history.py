"""How the training went: losses and learning rate against the epoch."""

from typing import TYPE_CHECKING

import numpy as np

from salt.report.canvas import BLUE, SIZE, VERMILION, Picture, encode, new
from salt.report.run import Run, Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MANY_POINTS = 60
"""A curve with more points than this is drawn as a running mean over the points themselves."""
FEW_EPOCHS = 3
"""With fewer epochs than this their means make no curve."""
MARGIN = 1.02
"""The axes end a little beyond the last epoch, so that its marker is whole."""


def training_pictures(run: Run) -> list[Picture]:
    """Losses and learning rate, as far as they were logged."""
    tasks = sorted(
        {name.split("/", 1)[1] for name in run.record if name.startswith(("train/", "val/")) and "loss" in name}
    )
    tasks = [task for task in tasks if not task.endswith(("_step", "_epoch"))]
    tasks.sort(key=lambda task: task != "loss")
    rates = [name for name in run.record if name.startswith("lr")]
    return [*([_loss_picture(run, tasks)] if tasks else []), *([_rate_picture(run, rates[0])] if rates else [])]


def _loss_picture(run: Run, tasks: list[str]) -> Picture:
    """One panel a task: training and validation loss against the epoch."""
    columns = min(2, len(tasks))
    rows = -(-len(tasks) // columns)
    figure, axes = new(rows, columns, size=(SIZE[0] * (1 if columns == 1 else 1.45), 3.5 * rows + 0.6))
    for panel, task in zip(axes.flat, tasks, strict=False):
        _training_curve(panel, run.record.get(f"train/{task}"), run.record.get(f"train/{task}_epoch"))
        _loss_curve(panel, run.record.get(f"val/{task}"), "Validation", VERMILION, "--")
        panel.set_title(
            task.removesuffix("_loss").replace("_", " ").replace("loss", "total").capitalize(), loc="left", fontsize=13
        )
        panel.set_xlabel("Epoch")
        panel.set_ylabel("Loss")
        panel.set_xlim(0, MARGIN * panel.dataLim.x1)
        panel.legend(loc="upper right")
    for panel in axes.flat[len(tasks) :]:
        panel.set_axis_off()
    return Picture(
        name="losses",
        title="Losses during the training",
        caption="What the training makes small, in all and task by task (as each is before its weight in the total). "
        "A faint line is single batches. Validation jets are never trained on: where their loss turns up while the "
        "training loss falls, the model learns by heart.",
        alt=f"Training and validation losses against the epoch for {', '.join(tasks)}",
        png=encode(figure),
    )


def _training_curve(axes: "Axes", steps: Series | None, epochs: Series | None) -> None:
    """Means of whole epochs where there are several, over the logged steps, which are single batches; else those."""
    if epochs is None or len(epochs[0]) < FEW_EPOCHS:
        _loss_curve(axes, steps if steps is not None else epochs, "Training", BLUE, "-")
        return
    if steps is not None:
        axes.plot(*steps, color=BLUE, alpha=0.25, linewidth=0.8)
    _loss_curve(axes, epochs, "Training", BLUE, "-")


def _loss_curve(axes: "Axes", series: Series | None, name: str, colour: str, dashes: str) -> None:
    """One loss; where it has many points, its running mean over them."""
    if series is None:
        return
    epochs, values = series
    if len(values) > MANY_POINTS:
        axes.plot(epochs, values, color=colour, alpha=0.25, linewidth=0.8)
        width = len(values) // 30
        kernel = np.ones(width) / width
        epochs, values = np.convolve(epochs, kernel, "valid"), np.convolve(values, kernel, "valid")
        axes.plot(epochs, values, color=colour, linestyle=dashes, label=f"{name} (running mean)")
    else:
        axes.plot(epochs, values, color=colour, linestyle=dashes, marker="o", markersize=4, label=name)


def _rate_picture(run: Run, name: str) -> Picture:
    """Learning rate against the epoch."""
    figure, axes = new(size=(6.4, 4.2))
    epochs, values = run.record[name]
    axes[0, 0].plot(epochs, values, color=BLUE, marker="o" if len(values) < MANY_POINTS else "", markersize=4)
    axes[0, 0].set_xlim(0, MARGIN * epochs.max())
    axes[0, 0].set_ylim(0, 1.1 * values.max())
    axes[0, 0].set_xlabel("Epoch")
    axes[0, 0].set_ylabel("Learning rate")
    return Picture(
        name="learning_rate",
        title="Learning rate",
        caption="Size of the optimiser's steps: up from nearly nothing, then down to let the weights settle.",
        alt=f"Learning rate against the epoch, at most {values.max():.2g}",
        png=encode(figure),
    )
