"""Guarded loggers: a service that dies hours into a training must not end it."""

from __future__ import annotations

import functools
import logging
import os
import time
from collections.abc import Callable
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities.rank_zero import rank_zero_only

warn = rank_zero_only(logging.getLogger(__name__).warning)

SETTINGS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_ALLOW_FILE_STORE": "true",  # mlruns in the run directory; a database wants packages more
}
"""Settings of clients, where the environment does not have them: their own let a training wait for a quarter hour."""

PAUSE_SECONDS = 60.0
"""A logger that failed is left in peace for so long, the next time for twice as long, ..."""


class Guard(Logger):
    """In front of a logger's class: what its methods raise becomes one warning, and a pause.

    Only when it begins, before the first batch, is a failure an error.
    """

    _of = "a logger"
    _pause = 0.0
    _until = 0.0

    @property
    def experiment(self) -> Any:
        """What the service's client gives; Lightning asks for it when a fit begins."""
        try:
            return super().experiment  # type: ignore[misc]
        except AttributeError:  # a logger without one
            raise
        except Exception as error:
            cause = f"{type(error).__name__}: {' '.join(str(error).split()):.500}"
            raise ValueError(
                f"{self._of} (trainer.logger) cannot begin: {cause}\n"
                "  mend: correct its arguments or its server's address, or leave it out: metrics.csv is always written"
            ) from error

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        """Log, if it can."""
        self._try(super().log_metrics, metrics, step=step)  # type: ignore[safe-super]

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Log, if it can."""
        self._try(super().log_hyperparams, params, *args, **kwargs)  # type: ignore[safe-super]

    def log_graph(self, model: Any, input_array: Any = None) -> None:
        """Log, if it can."""
        self._try(super().log_graph, model, input_array)

    def save(self) -> None:
        """Save, if it can."""
        self._try(super().save)

    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        """Take note of a checkpoint, if it can."""
        self._try(super().after_save_checkpoint, checkpoint_callback)

    def finalize(self, status: str) -> None:
        """End, if it can."""
        self._try(super().finalize, status)

    def _try(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        if time.monotonic() < self._until:
            return
        try:
            call(*args, **kwargs)
        except Exception as error:  # of any service: training is worth more than its record
            if not self._pause:
                warn(
                    "%s failed (%s: %.200s): training goes on without it, it is tried again now and then; "
                    "all metrics are in metrics.csv",
                    self._of,
                    type(error).__name__,
                    " ".join(str(error).split()),
                )
            self._pause = 2 * self._pause or PAUSE_SECONDS
            self._until = time.monotonic() + self._pause


@functools.cache
def guarded(logger: type[Logger]) -> type[Logger]:
    """The class of a logger with the guard in front."""
    return type(f"Guarded{logger.__name__}", (Guard, logger), {"_of": logger.__name__, "__doc__": logger.__doc__})


def build(logger: type[Logger], *args: Any, **kwargs: Any) -> Logger:
    """A guarded logger of this class."""
    for key, value in SETTINGS.items():
        os.environ.setdefault(key, value)
    return guarded(logger)(*args, **kwargs)
