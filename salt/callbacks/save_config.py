"""SaveConfigCallback: a name of older configs, for what every run does."""

from __future__ import annotations

import logging

from lightning import Callback
from lightning.pytorch.utilities.rank_zero import rank_zero_only

info = rank_zero_only(logging.getLogger(__name__).info)


class SaveConfigCallback(Callback):
    """Accepted from older configs; every run writes its config.yaml and metadata.yaml without being asked."""

    def __init__(self) -> None:
        info("salt.callbacks.SaveConfigCallback does nothing more: every run keeps its config.yaml and metadata.yaml")
