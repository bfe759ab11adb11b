"""LoggerCheck: loggers that cannot begin are told before the first batch, not after an hour."""

from __future__ import annotations

from lightning import Callback, LightningModule, Trainer


class LoggerCheck(Callback):
    """Let each logger reach its server or open its file when a fit begins.

    Raises
    ------
    ValueError
        Where one cannot; later on such a failure would be one warning.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Begin."""
        if stage != "fit" or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        for logger in trainer.loggers:
            name = type(logger).__name__
            try:
                _ = getattr(logger, "experiment", None)  # a property that connects
            except Exception as error:
                cause = f"{type(error).__name__}: {' '.join(str(error).split()):.500}"
                raise ValueError(
                    f"{name} (trainer.logger) cannot begin: {cause}\n"
                    "  mend: correct its arguments or its server's address, or leave it out: "
                    "metrics.csv is written in any case"
                ) from error
