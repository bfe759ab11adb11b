"""config.yaml of upstream's runs: what its program has put in is taken out again, one rule, one function.

Upstream saves what it has resolved: copies of `data` inside the model, and every argument that nobody gave, as null.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from typing import Any

log = logging.getLogger(__name__)

MARK = "norm_config"
"""Key of `model` that upstream's program fills in, and that nobody writes."""

COPIES = frozenset({"variables", "global_object"})
"""Keys of `data` that upstream repeats for each net of a stream."""

NETS = ("init_nets", "edge_init_nets", "featurewise_nets")
"""Arguments of the model with a list of such nets."""

OF_PAIRS = re.compile(r"^_edge_features_(.+)$")
"""What upstream calls the features of pairs of a stream, which it treats as a stream of their own."""


def rewritten(content: dict[str, Any], source: str) -> dict[str, Any]:
    """What a config says, without what upstream has added where it is that of a run; the one given stays as it is.

    Parameters
    ----------
    content : dict[str, Any]
        What is in the file.
    source : str
        Its name, for messages.
    """
    model = content.get("model")
    if not isinstance(model, Mapping) or MARK not in model:
        return content
    log.info("%s was saved by upstream's salt: reading it as what was written for it", source)
    for rule in RULES:
        content = rule(content)
    return content


def without_copies(content: dict[str, Any]) -> dict[str, Any]:
    """`data` says once what there is: model.norm_config, model.edge_constructors, and what each net is told of it."""
    model = {key: value for key, value in content["model"].items() if key not in {MARK, "edge_constructors"}}
    return {**content, "model": _in_nets(model)}


def without_pairs(content: dict[str, Any]) -> dict[str, Any]:
    """Features of pairs are asked for in data.edge_constructors alone, and are no stream."""
    content = {**content, "model": _edges_named(content["model"])}
    data = content.get("data")
    if isinstance(data, Mapping):
        data = {**data}
        if isinstance(variables := data.get("variables"), Mapping):
            data["variables"] = {name: of for name, of in variables.items() if not OF_PAIRS.match(name)}
        if isinstance(constructors := data.get("edge_constructors"), list):
            data["edge_constructors"] = [_without(each, *COPIES) for each in constructors]
        content["data"] = data
    return content


def without_labels(content: dict[str, Any]) -> dict[str, Any]:
    """data.labels follows from the tasks."""
    data = content.get("data")
    return content if not isinstance(data, Mapping) else {**content, "data": _without(data, "labels")}


def without_null(content: dict[str, Any]) -> dict[str, Any]:
    """Null is what upstream saves of an argument of the model or of a callback that nobody gave."""
    trainer = content.get("trainer")
    content = {**content, "model": _given(content["model"])}
    if isinstance(trainer, Mapping) and isinstance(trainer.get("callbacks"), list):
        content["trainer"] = {**trainer, "callbacks": _given(trainer["callbacks"])}
    return content


def without_lightning(content: dict[str, Any]) -> dict[str, Any]:
    """Lightning's own keys for an optimiser and a schedule, which upstream's program does not use either."""
    return {key: value for key, value in content.items() if key not in {"optimizer", "lr_scheduler"} or value}


RULES: tuple[Callable[[dict[str, Any]], dict[str, Any]], ...] = (
    without_copies, without_pairs, without_labels, without_null, without_lightning,
)  # fmt: skip


def _in_nets(node: Any) -> Any:
    """The same model, its nets without what is said in `data`."""
    if isinstance(node, list):
        return [_in_nets(item) for item in node]
    if not isinstance(node, Mapping):
        return node
    return {
        key: [_without(net, *COPIES) for net in value] if key in NETS and isinstance(value, list) else _in_nets(value)
        for key, value in node.items()
    }


def _edges_named(node: Any) -> Any:
    """The same model, the nets that embed pairs called by the stream whose pairs these are."""
    if isinstance(node, list):
        return [_edges_named(item) for item in node]
    if not isinstance(node, Mapping):
        return node
    return {
        key: [_edge_net(net) for net in value]
        if key == "edge_init_nets" and isinstance(value, list)
        else _edges_named(value)
        for key, value in node.items()
    }


def _edge_net(net: Any) -> Any:
    """The same net, without what only nets of a stream of their own need."""
    if not isinstance(net, Mapping) or not (found := OF_PAIRS.match(str(net.get("input_name")))):
        return net
    return {**_without(net, "attach_global"), "input_name": found[1]}


def _given(node: Any) -> Any:
    """The same without keys whose value is null."""
    if isinstance(node, list):
        return [_given(item) for item in node]
    if not isinstance(node, Mapping):
        return node
    return {key: _given(value) for key, value in node.items() if value is not None}


def _without(node: Any, *names: str) -> Any:
    return {key: value for key, value in node.items() if key not in names} if isinstance(node, Mapping) else node
