"""Widths in a config that do not fit together: found before torch multiplies them in the first step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from jsonargparse import Namespace

from salt.cli.resolve import schema, tasks
from salt.models.saltmodel import SaltModel
from salt.nn.pooling import GlobalAttentionPooling
from salt.nn.transformer import Transformer
from salt.tasks.classification import ClassificationTask
from salt.tasks.vertexing import VertexingTask
from salt.types import GLOBAL

MODEL = "model.model.init_args"

TOKENS_READ = {ClassificationTask.__name__: 1, VertexingTask.__name__: 2}
"""Class of a task -> how many tokens its net reads at once; of others we do not know."""


class Misfit(NamedTuple):
    """A width that is not what comes before: its key, what it is, what it has to be, and where that is said."""

    key: str
    width: int
    expected: int
    because: str


def misfits(config: Namespace) -> Iterator[Misfit]:
    """All widths that do not fit, of the classes that we know; those after a misfit are compared as it is given."""
    model = config.model.model
    if model is None or _name(model) != SaltModel.__name__:
        return
    arguments = model.init_args
    width, because = None, ""
    for i, net in enumerate(arguments.init_nets):
        key, own = f"{MODEL}.init_nets[{i}].dense_config.output_size", net["dense_config"].get("output_size")
        if own is not None and width not in {None, own}:
            yield Misfit(key, own, width, because)
        elif own is not None:
            width, because = own, f"{key} is {own}"
    encoder = arguments.get("encoder")
    if encoder is not None:
        if _name(encoder) != Transformer.__name__:
            return
        key, own = f"{MODEL}.encoder.init_args", encoder.init_args
        if width not in {None, own.embed_dim}:
            yield Misfit(f"{key}.embed_dim", own.embed_dim, width, because)
        of = "embed_dim" if own.out_dim is None else "out_dim"
        width, because = own[of], f"{key}.{of} is {own[of]}"
    if width is not None:
        yield from _after_encoder(config, width, because)


def _after_encoder(config: Namespace, width: int, because: str) -> Iterator[Misfit]:
    """Those of the pooling and the tasks, which read tokens of this width."""
    pool = config.model.model.init_args.get("pool_net")
    if pool is not None and _name(pool) == GlobalAttentionPooling.__name__ and pool.init_args.input_size != width:
        yield Misfit(f"{MODEL}.pool_net.init_args.input_size", pool.init_args.input_size, width, because)
    of = schema(config)
    added = len(of.variables.get(GLOBAL, []))
    why = because + (f", and data.variables.{GLOBAL} adds {added}" if added else "")
    for (key, task), item in zip(tasks(config), _modules(config), strict=True):
        is_global = task.get("input_name") == of.global_object
        tokens = 1 if is_global else TOKENS_READ.get(_name(item))
        dense = task.get("dense_config") or {}
        if tokens is None:
            continue
        read = width + added if is_global else tokens * width
        if dense.get("input_size") not in {None, read}:
            twice = " and two tokens are read at once" if tokens > 1 else ""
            yield Misfit(
                f"{key}.dense_config.input_size", dense["input_size"], read, why if is_global else because + twice
            )
        if not is_global and dense.get("context_size") not in {None, 0, width + added}:
            yield Misfit(f"{key}.dense_config.context_size", dense["context_size"], width + added, why)


def _modules(config: Namespace) -> list[Namespace]:
    return config.model.model.init_args.get("tasks.init_args.modules") or []


def _name(of: Namespace) -> str:
    """Last name of a class path."""
    return str(of.class_path).rpartition(".")[2]
