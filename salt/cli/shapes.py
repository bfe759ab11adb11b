"""Shapes of a model of two other widths, by which `model.mup_config` knows what grows."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jsonargparse import ArgumentParser, Namespace
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from torch import nn

from salt.cli.asked import Asked
from salt.cli.nodes import key_of, plain
from salt.cli.resolve import resolve
from salt.cli.widths import MODEL, misfits
from salt.data.names import unknown
from salt.models.tagger import Tagger
from salt.training.mup import MupConfig, Width, shapes_of, write_shapes
from salt.training.run_files import exists

log = logging.getLogger(__name__)

ARGUMENTS = key_of(MODEL)
"""Of the model."""

LONGEST_WAIT = 60.0
"""Seconds that a rank waits for the shapes that the first one makes."""


def make_missing(config: Namespace, asked: Asked) -> None:
    """Have the shapes that a training needs written, by the first rank, if there is no file with them."""
    if config.model.get("mup_config") is None or exists(file := _read(config).file):
        return
    if rank_zero_only.rank == 0:  # type: ignore[attr-defined]
        write(config, asked)
    end = time.monotonic() + LONGEST_WAIT
    while not exists(file) and time.monotonic() < end:  # without it, whoever reads it says so
        time.sleep(0.1)


def write(config: Namespace, asked: Asked) -> None:
    """Build the model of a config, as it was parsed, with the widths base and delta, and write what differs.

    Parameters
    ----------
    config : Namespace
        The config, not resolved: widths that it does not give follow from those that change.
    asked : Asked
        What else the user asked for.
    """
    mup = _read(config)
    base, delta = (_model(config, asked, mup, which) for which in ("base", "delta"))
    shapes = shapes_of(base, delta)
    write_shapes(mup.file, shapes)
    grown = sum(any(size is not None for size in shape) for shape in shapes.values())
    log.info("made %s (model.mup_config): %d of %d parameters grow with the width", mup.file, grown, len(shapes))


def _read(config: Namespace) -> MupConfig:
    return MupConfig.read(plain(config.model.mup_config))


def _model(config: Namespace, asked: Asked, mup: MupConfig, which: str) -> nn.Module:
    """The model with these widths, of which only the shapes are of interest."""
    config = config.clone()
    for name, width in mup.widths.items():
        _set_width(config.model.model.init_args, f"model.mup_config.{name}", width, getattr(width, which))
    with _silence():
        config = resolve(config, asked)
    _follow(config, mup, which)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--model", type=Tagger)
    with torch.random.fork_rng(devices=[]):
        built = parser.instantiate(Namespace(model=config.model.model)).model
    assert isinstance(built, nn.Module)
    return built


def _follow(config: Namespace, mup: MupConfig, which: str) -> None:
    """Change the widths that follow from those that have changed; ValueError where these do not fit each other."""
    own = {place for width in mup.widths.values() for place in width.places}
    while found := next(misfits(config), None):
        path, wrong, expected, because = found
        if (path[len(MODEL)], path[-1]) in own:
            raise ValueError(
                f"{key_of(path)} is {wrong} in a model of another width (model.mup_config, parameter_{which}), but "
                f"{because}\n"
                "  mend: let the width apply to that as well: add it to apply_to and parameter_name"
            )
        node: Any = config
        for key in path[:-1]:
            node = node[key]
        node[path[-1]] = expected


def _set_width(arguments: Namespace, key: str, width: Width, value: int) -> None:
    """Change a width wherever the model's arguments say it."""
    for place, name in width.places:
        if arguments.get(place) is None:
            given = [each for each, of in vars(arguments).items() if of is not None]
            raise ValueError(
                f"{unknown('argument', place, given, f'{ARGUMENTS} ({key}.apply_to)')}\n  mend: correct it"
            )
        found = list(_holders(arguments[place], name))
        if not found:
            raise ValueError(
                f"{ARGUMENTS}.{place} has no {name} ({key}.parameter_name)\n"
                "  mend: name the key in it that is the width"
            )
        for holder in found:
            holder[name] = value


def _holders(node: Any, name: str) -> Iterator[Any]:
    """All mappings inside of a part of a config that have a value under this name."""
    if isinstance(node, Namespace | dict):
        content = vars(node) if isinstance(node, Namespace) else node
        if content.get(name) is not None:
            yield node
        node = list(content.values())
    for each in node if isinstance(node, list) else []:
        yield from _holders(each, name)


@contextmanager
def _silence() -> Iterator[None]:
    """Without what is said of a config that is completed: it is not the user's."""
    logger = logging.getLogger("salt.cli")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
