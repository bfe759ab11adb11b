"""What is wrong with the words of a config by themselves: found before any file is read."""

from __future__ import annotations

from collections.abc import Iterator

from jsonargparse import Namespace

from salt.cli.nodes import plain
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
    chosen(plain(model.get("optimizer", "AdamW")))


def _mup(model: Namespace) -> None:
    if model.get("mup_config") is not None:
        MupConfig.read(plain(model.mup_config))


def _rates(model: Namespace) -> None:
    if model.get("lrs_config") is not None:
        LRSConfig(**plain(model.lrs_config)).check()
