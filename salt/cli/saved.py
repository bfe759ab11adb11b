"""config.yaml of upstream's runs: what its program has put in is taken out again, one rule, one function.

Upstream saves what it has resolved: copies of `data` inside the model, and every argument that nobody gave, as null.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from salt.cli.nested import changed, value_at, with_value, without

log = logging.getLogger(__name__)

MARK = "norm_config"
"""Key of `model` that upstream's program fills in, and that nobody writes."""

COPIES = frozenset({"variables", "global_object"})
"""Keys of `data` that upstream repeats for each net of a stream."""

NETS = ("init_nets", "edge_init_nets", "featurewise_nets")
"""Arguments of the model with a list of such nets."""

VARIABLES, CONSTRUCTORS, CALLBACKS = ("data", "variables"), ("data", "edge_constructors"), ("trainer", "callbacks")

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
    model = _without_any(content["model"], MARK, "edge_constructors")
    return {**content, "model": _in_nets(model, NETS, lambda net: _without_any(net, *COPIES))}


def without_pairs(content: dict[str, Any]) -> dict[str, Any]:
    """Features of pairs are asked for in data.edge_constructors alone, and are no stream."""
    content = {**content, "model": _in_nets(content["model"], ["edge_init_nets"], _edge_net)}
    if isinstance(variables := value_at(content, VARIABLES), Mapping):
        content = with_value(content, VARIABLES, {key: of for key, of in variables.items() if not OF_PAIRS.match(key)})
    if isinstance(constructors := value_at(content, CONSTRUCTORS), list):
        content = with_value(content, CONSTRUCTORS, [_without_any(each, *COPIES) for each in constructors])
    return content


def without_labels(content: dict[str, Any]) -> dict[str, Any]:
    """data.labels follows from the tasks."""
    return without(content, ["data", "labels"])


def without_null(content: dict[str, Any]) -> dict[str, Any]:
    """Null is what upstream saves of an argument of the model or of a callback that nobody gave."""
    content = {**content, "model": changed(content["model"], _given)}
    callbacks = value_at(content, CALLBACKS)
    return with_value(content, CALLBACKS, changed(callbacks, _given)) if isinstance(callbacks, list) else content


def without_lightning(content: dict[str, Any]) -> dict[str, Any]:
    """Lightning's own keys for an optimiser and a schedule, which upstream's program does not use either."""
    return {key: value for key, value in content.items() if key not in {"optimizer", "lr_scheduler"} or value}


RULES: tuple[Callable[[dict[str, Any]], dict[str, Any]], ...] = (
    without_copies, without_pairs, without_labels, without_null, without_lightning,
)  # fmt: skip


def _in_nets(model: Any, names: Sequence[str], change: Callable[[Any], Any]) -> Any:
    """The same model, each net in the lists of these arguments changed."""

    def with_nets(node: dict[str, Any]) -> dict[str, Any]:
        lists = {name: node[name] for name in names if isinstance(node.get(name), list)}
        return {**node, **{name: [change(net) for net in nets] for name, nets in lists.items()}}

    return changed(model, with_nets)


def _edge_net(net: Any) -> Any:
    """The same net, called by the stream whose pairs it embeds, without what only a stream of its own needs."""
    if not isinstance(net, Mapping) or not (found := OF_PAIRS.match(str(net.get("input_name")))):
        return net
    return {**_without_any(net, "attach_global"), "input_name": found[1]}


def _given(node: dict[str, Any]) -> dict[str, Any]:
    """The same without keys whose value is null."""
    return {key: value for key, value in node.items() if value is not None}


def _without_any(node: Any, *names: str) -> Any:
    return {key: value for key, value in node.items() if key not in names} if isinstance(node, Mapping) else node
