"""Widths in a config: one that nobody gives follows from the others, and two that contradict each other are named.

They are followed from the init nets to the encoder, the pooling and the tasks. What a class gives is asked of the class
itself, built without memory (torch's meta device), so that a class of somebody else's is followed as ours are.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from jsonargparse import ArgumentError, ArgumentParser, Namespace

from salt.cli.configs import merge
from salt.cli.nodes import OF_CLASS, Path, arguments, at, class_of, key_of, plain, put, spelled_out
from salt.models.saltmodel import SaltModel
from salt.nn.encoder import Encoder
from salt.nn.layers import Dense
from salt.nn.pooling import Pooling
from salt.tasks.base import Task
from salt.types import GLOBAL

log = logging.getLogger(__name__)

MODEL: Path = ("model", "model", "init_args")
TASKS: Path = (*MODEL, "tasks", "init_args", "modules")

TAKEN = ("embed_dim", "input_size")
"""What classes call the width that they take."""

OF_EDGES = "edge_embed_dim"
"""What encoders call the width of what they know of pairs."""

GIVEN = "out_dim"
"""What encoders call the width that they give, where it may be another."""

FOLLOWS = (None, "auto")
"""What a config says of a context that is to be as wide as what is known of a jet; without a word there is none."""


Entry = tuple[Path, int | None]
"""A place for a width, and what is there."""


class Said(NamedTuple):
    """A width, and where it is said."""

    width: int
    where: str


class Width(NamedTuple):
    """A place for a width: its key, what is there, what it has to be, and where that is said."""

    path: Path
    width: int | None
    expected: int
    because: str

    @property
    def key(self) -> str:
        """The dotted key."""
        return key_of(self.path)


class Widths:
    """The widths of a model, from its inputs to its tasks; one that does not fit is followed as it is given.

    Parameters
    ----------
    content : Mapping[str, Any]
        A whole config.
    """

    def __init__(self, content: Mapping[str, Any]) -> None:
        self.found: list[Width] = []
        data = content.get("data") or {}
        self._global_object = data.get("global_object", "jets")
        self._num_added = len((data.get("variables") or {}).get(GLOBAL) or [])
        self._model = arguments(at(content, MODEL[:-1]))
        if class_of(at(content, MODEL[:-1]), SaltModel) and isinstance(self._model.get("init_nets"), list):
            self._follow(at(content, TASKS) or [])

    def _follow(self, tasks: list[Any]) -> None:
        self._edges()
        embedded = self._embedded()
        encoded = self._encoded(embedded) if embedded is not None else None
        if encoded is None:
            return
        self._decoded(encoded)
        pooled = self._pooled(encoded)
        for place, task in enumerate(tasks):
            self._read((*TASKS, place, "init_args"), task, encoded, pooled)

    def _fit(self, path: Path, given: int | None, expected: Said) -> Said:
        """Note a width that has to be as another one; what goes on from there."""
        self.found.append(Width(path, given, *expected))
        return expected if given is None else said(path, given)

    def _alike(self, places: Sequence[Entry], others: Sequence[Entry] = ()) -> Said | None:
        """Note that all places have to be as the first one that says anything; the others are asked after them."""
        first = next((said(path, width) for path, width in [*places, *others] if width is not None), None)
        if first is not None:
            for path, width in places:
                self._fit(path, width, first)
        return first

    def _given(self, nets: str) -> list[Entry]:
        """Where the nets of an argument say what they give, and what they do."""
        return [
            ((*MODEL, nets, i, "dense_config", "output_size"), (net.get("dense_config") or {}).get("output_size"))
            for i, net in enumerate(self._model.get(nets) or [])
        ]

    def _embedded(self) -> Said | None:
        """What the init nets give: what the first one says that says anything, else what the encoder takes."""
        places, encoder = self._given("init_nets"), self._model.get("encoder")
        name = taken_by(encoder, Encoder)
        of_encoder = [] if name is None else [((*MODEL, "encoder", "init_args", name), arguments(encoder).get(name))]
        return self._alike(places, of_encoder)

    def _edges(self) -> None:
        """What the nets of pairs give, which the encoder takes."""
        places, encoder = self._given("edge_init_nets"), self._model.get("encoder")
        cls = class_of(encoder, Encoder)
        if not places or cls is None or OF_EDGES not in inspect.signature(cls).parameters:
            return
        self._alike([*places, ((*MODEL, "encoder", "init_args", OF_EDGES), arguments(encoder).get(OF_EDGES))])

    def _encoded(self, embedded: Said) -> Said | None:
        """What leaves the encoder, if there is one; None: nobody can tell."""
        encoder, path = self._model.get("encoder"), (*MODEL, "encoder", "init_args")
        if encoder is None:
            return embedded
        name = taken_by(encoder, Encoder)
        if name is None:
            return None
        taken = self._fit((*path, name), arguments(encoder).get(name), embedded)
        given = given_by(encoder, Encoder, {name: taken.width})
        if arguments(encoder).get(GIVEN) == given and given is not None:
            return said((*path, GIVEN), given)
        return taken if given == taken.width else gives(path, given)

    def _decoded(self, encoded: Said) -> None:
        """A decoder of masks keeps the width, and so do the nets that read its queries."""
        decoder, path = self._model.get("mask_decoder"), (*MODEL, "mask_decoder", "init_args")
        if decoder is None:
            return
        kept = self._fit((*path, "embed_dim"), arguments(decoder).get("embed_dim"), encoded)
        for net, names in {"class_net": ("input_size",), "mask_net": ("input_size", "output_size")}.items():
            inner = arguments(decoder).get(net)
            for name in names if class_of(inner, Dense) else ():
                self._fit((*path, net, "init_args", name), arguments(inner).get(name), kept)

    def _pooled(self, encoded: Said) -> Said | None:
        """What is known of a jet: what is pooled, or embedded as the jet itself, and variables behind it."""
        pool, path, pooled = self._model.get("pool_net"), (*MODEL, "pool_net", "init_args"), encoded
        if pool is not None:
            name = taken_by(pool, Pooling)
            if name is None:
                return None
            self._fit((*path, name), arguments(pool).get(name), encoded)
            given = given_by(pool, Pooling, {name: encoded.width})
            found = encoded if given == encoded.width else gives(path, given)
            if found is None:
                return None
            pooled = found
        if not self._num_added:
            return pooled
        return Said(
            pooled.width + self._num_added, f"{pooled.where} and data.variables.{GLOBAL} adds {self._num_added}"
        )

    def _read(self, path: Path, task: Any, encoded: Said, pooled: Said | None) -> None:
        """What a task reads."""
        cls, config = class_of(task, Task), arguments(task)
        if cls is None:
            return
        dense, key = config.get("dense_config") or {}, (*path, "dense_config")
        if config.get("input_name") == self._global_object:
            if pooled is not None:
                self._fit((*key, "input_size"), dense.get("input_size"), pooled)
            return
        more = "" if cls.tokens_read == 1 else f" and {cls.tokens_read} tokens are read at once"
        read = Said(cls.tokens_read * encoded.width, encoded.where + more)
        self._fit((*key, "input_size"), dense.get("input_size"), read)
        context = dense.get("context_size", 0)
        if pooled is not None and context != 0:
            self._fit((*key, "context_size"), None if context in FOLLOWS else context, pooled)


def said(path: Path, width: int) -> Said:
    """A width that stands there."""
    return Said(width, f"{key_of(path)} is {width}")


def gives(path: Path, width: int | None) -> Said | None:
    """A width that the class gives whose arguments are there."""
    return None if width is None else Said(width, f"{key_of(path[:-1])} gives {width}")


def taken_by(node: Any, of: type) -> str | None:
    """The argument that says which width a class takes; None: nobody can tell."""
    cls = class_of(node, of)
    names = () if cls is None else inspect.signature(cls).parameters
    return next((name for name in TAKEN if name in names), None)


def given_by(node: Any, of: type, widths: Mapping[str, int]) -> int | None:
    """The width that a class gives, built as a config says with these widths; None: it cannot be built so."""
    parser = ArgumentParser(exit_on_error=False)  # arguments may be classes, too
    try:
        parser.add_class_arguments(class_of(node, of), "it")
        parsed = parser.parse_object({"it": {**arguments(node), **widths}})
        with torch.device("meta"):
            return int(parser.instantiate(parsed).it.output_size)
    except (ArgumentError, TypeError, ValueError, AttributeError, RuntimeError):
        return None  # whoever builds it in earnest says what is wrong


def misfits(config: Namespace) -> Iterator[Width]:
    """All widths that do not fit, of the classes that can be asked."""
    content = {"model": plain(config.model), "data": plain(config.data)}
    yield from (width for width in Widths(content).found if width.width not in {None, width.expected})


def completed(content: dict[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """A config with the widths in it that follow from others; the one that is given stays as it is.

    Parameters
    ----------
    content : dict[str, Any]
        What the files say together.
    options : Mapping[str, Any]
        What goes over it: a width there is not filled in, but others follow from it.
    """
    whole = merge(content, spelled_out(options, content))
    left_out = [width for width in Widths(whole).found if width.width is None]
    for width in left_out:
        content = put(content, width.path, width.expected, whole)
        log.debug("filled %s = %s: %s", width.key, width.expected, width.because)
    if left_out:
        shown = ", ".join(f"{_short(width.path)} {width.expected}" for width in left_out)
        log.info("filled in the widths that follow from others: %s", shown)
    return content


def _short(path: Path) -> str:
    """A key inside of the model, without what stands between all keys."""
    return key_of(tuple(part for part in path if part not in {"model", "modules", *OF_CLASS}))
