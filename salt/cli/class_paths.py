"""Class paths that are written otherwise today: old names of Lightning's package, and classes that ours take over."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

PACKAGE = re.compile(r"^pytorch_lightning\.")
"""Lightning's package before 2.0; a class in it is no relation of the one in lightning.pytorch."""

LOGGER = re.compile(r"^(?:lightning\.pytorch\.loggers\.(?:\w+\.)?)?(CometLogger)$")
"""The logger that ours takes over, in full or by its short name."""

OPTION = re.compile(r"--(?:\w+\.)*(?:logger|callbacks|plugins|strategy|profiler)\+?(?:\.class_path)?$")
"""Options whose value names a class of Lightning's."""

MUON = re.compile(r"^salt\.optim\.(HybridMuonAdamW)$")
"""Upstream's optimiser."""

WORD = re.compile(r"[\w.]+")


def renamed(class_path: str) -> str:
    """The class that is meant."""
    class_path = MUON.sub(r"salt.training.muon.\1", PACKAGE.sub("lightning.pytorch.", class_path))
    return LOGGER.sub(r"salt.loggers.\1", class_path)


def rewritten(node: Any) -> Any:
    """A config with today's class paths; the one that is given stays as it is."""
    if isinstance(node, list):
        return [rewritten(item) for item in node]
    if not isinstance(node, Mapping):
        return node
    content = {name: rewritten(value) for name, value in node.items()}
    if isinstance(content.get("class_path"), str):
        content["class_path"] = renamed(content["class_path"])
    trainer = content.get("trainer")
    if isinstance(trainer, dict) and isinstance(trainer.get("logger"), str):  # a class by its name alone
        trainer["logger"] = renamed(trainer["logger"])
    return content


def renewed(options: Sequence[str]) -> list[str]:
    """Options with today's class paths in their values, JSON or not."""
    rest: list[str] = []
    is_value = False
    for option in options:
        name, equals, value = option.partition("=")
        if is_value:
            option = WORD.sub(lambda word: renamed(word[0]), option)
        elif equals and OPTION.match(name):
            option = f"{name}={WORD.sub(lambda word: renamed(word[0]), value)}"
        is_value = not is_value and not equals and OPTION.match(name) is not None
        rest.append(option)
    return rest
