"""Shapes of a model of two other widths, by which `model.mup_config` knows what grows."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jsonargparse import ArgumentParser, Namespace
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from torch import nn

from salt.cli.nodes import key_of
from salt.cli.resolve import Asked, resolve
from salt.cli.widths import misfits
from salt.data.names import unknown
from salt.models.tagger import Tagger
from salt.training.mup import MupConfig, Width, shapes_of, write_shapes
from salt.training.run_files import exists

log = logging.getLogger(__name__)

ARGUMENTS = "model.model.init_args"


@rank_zero_only
def make_missing(config: Namespace, asked: Asked) -> None:
    """Write the shapes that a training needs, if there is no file with them."""
    if config.model.get("mup_config") is not None and not exists(_read(config).file):
        write(config, asked)


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
    given = config.model.mup_config
    return MupConfig.read(given.as_dict() if isinstance(given, Namespace) else given)


def _model(config: Namespace, asked: Asked, mup: MupConfig, which: str) -> nn.Module:
    """The model with these widths, of which only the shapes are of interest."""
    config = config.clone()
    for name, width in mup.widths.items():
        _set_width(config.model.model.init_args, f"model.mup_config.{name}", width, getattr(width, which))
    with _silence():
        config = resolve(config, asked)
    for path, wrong, expected, because in misfits(config):
        raise ValueError(
            f"{key_of(path)} is {wrong} in a model of another width (model.mup_config, parameter_{which}), but "
            f"{because}\n"
            f"  mend: leave {path[-1]} out, or let the width apply to it as well: it has to be {expected}"
        )
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--model", type=Tagger)
    with torch.random.fork_rng(devices=[]):
        built = parser.instantiate_classes(Namespace(model=config.model.model)).model
    assert isinstance(built, nn.Module)
    return built


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
