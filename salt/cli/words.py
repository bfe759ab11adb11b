"""What is wrong with the words of a config by themselves: found before any file is read."""

from __future__ import annotations

from collections.abc import Iterator

from jsonargparse import Namespace

from salt.training.mup import MupConfig
from salt.training.optim import chosen
from salt.training.rates import LRSConfig


def faults(config: Namespace) -> Iterator[str]:
    """A message for each."""
    for check in (_optimizer, _rates, _mup):
        try:
            check(config.model)
        except ValueError as error:
            yield str(error)


def _optimizer(model: Namespace) -> None:
    choice = model.get("optimizer", "AdamW")
    chosen(choice.as_dict() if isinstance(choice, Namespace) else choice)


def _mup(model: Namespace) -> None:
    config = model.get("mup_config")
    if config is not None:
        MupConfig.read(config.as_dict() if isinstance(config, Namespace) else config)


def _rates(model: Namespace) -> None:
    if model.get("lrs_config") is not None:
        LRSConfig(**model.lrs_config.as_dict()).check()
