"""Figures: pictures that a run makes as it goes, in its directory and in the loggers that show pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lightning import Trainer
from lightning.pytorch.loggers import CometLogger, Logger, MLFlowLogger, TensorBoardLogger, WandbLogger

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def publish(trainer: Trainer, name: str, figure: Figure) -> Path:
    """Save a figure as RUN/figures/<name>_epoch=000.png, and give it to the loggers that take one."""
    folder = Path(trainer.default_root_dir) / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}_epoch={trainer.current_epoch:03d}.png"
    temporary = path.with_name(f".{path.name}.part")
    figure.savefig(temporary, format="png", dpi=100, bbox_inches="tight")
    temporary.rename(path)
    for logger in trainer.loggers:
        _give(logger, name, figure, path, trainer.global_step)
    return path


def _give(logger: Logger, name: str, figure: Figure, path: Path, step: int) -> None:
    """Each service has a door of its own; a logger without one has the file."""
    if isinstance(logger, TensorBoardLogger):
        logger.experiment.add_figure(name, figure, global_step=step)
    elif isinstance(logger, WandbLogger):
        logger.log_image(name, [str(path)], step=step)
    elif isinstance(logger, CometLogger):
        logger.experiment.log_figure(figure_name=name, figure=figure, step=step)
    elif isinstance(logger, MLFlowLogger):
        logger.experiment.log_artifact(logger.run_id, str(path), "figures")
