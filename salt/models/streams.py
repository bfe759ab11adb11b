"""Which streams the parts of a model read: what does not fit together is found before anything is built."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lightning.pytorch.utilities.rank_zero import rank_zero_only

from salt.data.names import unknown
from salt.nn.edges import EdgeInitNet
from salt.nn.encoder import Encoder
from salt.nn.pooling import Pooling
from salt.tasks.base import Task
from salt.types import Schema

warn = rank_zero_only(logging.getLogger(__name__).warning)


def only_stream(schema: Schema, model: str) -> str:
    """The one stream of constituents, for a model that reads one; raises where there is not exactly one."""
    if len(schema.constituents) != 1:
        there = ", ".join(schema.constituents) or "none"
        raise ValueError(f"{model} reads one stream of constituents, but data.variables has {there}")
    return schema.constituents[0]


def check_streams(
    schema: Schema,
    init_nets: Sequence[Mapping[str, Any]],
    encoder: Encoder | None,
    pool_net: Pooling | None,
    merge_dict: Mapping[str, Sequence[str]],
) -> None:
    """Raise where init nets, and what comes after them, read streams that they cannot."""
    names = [config["input_name"] for config in init_nets]
    if not names:
        raise ValueError("init_nets is empty: name at least one stream to embed")
    for name in names:
        if name not in [schema.global_object, *schema.constituents]:
            there = [schema.global_object, *schema.constituents]
            raise ValueError(unknown("stream", name, there, "data.variables, for an init net"))
        if names.count(name) > 1:
            raise ValueError(f"init_nets has input_name {name!r} twice: give one entry a stream")
    if schema.global_object in names:
        _check_alone(schema.global_object, names, encoder, pool_net)
    taken = [stream for streams in merge_dict.values() for stream in streams]
    for stream in taken:
        if stream not in names:
            raise ValueError(unknown("stream", stream, names, "init_nets, for merge_dict"))
        if taken.count(stream) > 1:
            raise ValueError(f"merge_dict has the stream {stream!r} twice: it can be in one place only")
    for name in merge_dict:
        if name in names and name not in taken:
            raise ValueError(f"merge_dict calls a merged stream {name!r}, but an init net embeds one of that name")


def _check_alone(name: str, names: Sequence[str], encoder: Encoder | None, pool_net: Pooling | None) -> None:
    """Raise where an init net of the global object has anything beside it: there is one vector a jet already."""
    beside = [f"an init net of {other!r}" for other in names if other != name]
    beside += ["an encoder"] if encoder is not None else []
    beside += ["a pool_net"] if pool_net is not None else []
    if beside:
        raise ValueError(
            f"an init net of the global object {name!r} gives one vector for each of them: it goes with no encoder, no "
            f"pool_net and no other init net, but there is {beside[0]}; variables that are to join what is pooled go "
            "into data.variables.global"
        )


def check_reads(
    schema: Schema,
    tasks: Iterable[Task],
    embedded: Sequence[str],
    pool_net: Pooling | None,
    merge_dict: Mapping[str, Sequence[str]],
) -> None:
    """Raise where a task reads what nothing gives."""
    streams = [schema.global_object, *(name for name in embedded if name != schema.global_object)]
    for task in tasks:
        if task.input_name in merge_dict and task.input_name not in streams:
            raise ValueError(
                f"task {task.name!r} reads input_name {task.input_name!r}, which merge_dict makes of "
                f"{', '.join(merge_dict[task.input_name])}: labels are of streams of the file, so name one of these"
            )
        if task.input_name not in streams:
            raise ValueError(
                f"task {task.name!r} reads input_name {task.input_name!r}, which no init net embeds; "
                f"there are {', '.join(map(repr, streams))}"
            )
        if task.input_name == schema.global_object and pool_net is None and schema.global_object not in embedded:
            raise ValueError(
                f"task {task.name!r} reads the global object {task.input_name!r}, but there is no pool_net: give one, "
                "like salt.models.GlobalAttentionPooling"
            )


def check_edges(
    schema: Schema, embedded: Sequence[str], edge_nets: Mapping[str, EdgeInitNet], encoder: Encoder | None
) -> None:
    """Raise where edges are made that the encoder does not take, or asked for and not made."""
    asked = encoder.edge_embed_dim if encoder is not None else 0
    for name, net in edge_nets.items():
        if name not in embedded:
            raise ValueError(
                f"edge_init_nets has one for {name!r}, which no init net embeds; there are "
                f"{', '.join(map(repr, embedded))}"
            )
        if net.output_size != asked:
            raise ValueError(
                f"edge_init_nets gives edges of {name!r} of width {net.output_size} "
                f"(dense_config.output_size), but the encoder takes edge_embed_dim {asked}: let the two agree"
            )
    if unread := schema.edges.keys() - edge_nets.keys():
        warn("data.edge_constructors of %s is not read: edge_init_nets has none for it", ", ".join(sorted(unread)))
    if asked and not edge_nets:
        raise ValueError(
            f"the encoder looks at edges (edge_embed_dim {asked}), but edge_init_nets makes none: give "
            "edge_init_nets and data.edge_constructors, or leave edge_embed_dim out"
        )
