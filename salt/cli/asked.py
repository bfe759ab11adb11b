"""Asked: what rules and checks of a config know of the command line."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

READ_BY = {
    "fit": "data.train_file", "validate": "data.val_file", "test": "data.test_file", "predict": "data.test_file",
}  # fmt: skip
"""Verb -> the key of the file that it is about."""


@dataclass(frozen=True)
class Asked:
    """What the user asked for on the command line.

    Parameters
    ----------
    verb : str
        fit, validate, test or predict.
    keys : frozenset[str]
        Names of the options given there, like trainer.devices.
    now : datetime
        When.
    resumed : str | None
        Directory or URL of the run that goes on, in itself; None: a new run.
    """

    verb: str
    keys: frozenset[str]
    now: datetime
    resumed: str | None = None
