"""Keys of a config that nothing reads: found before the parser, named with the nearest that exist."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from jsonargparse import ArgumentParser
from jsonargparse._parameter_resolvers import get_signature_parameters
from jsonargparse._util import import_object

from salt.cli.configs import Source, merge
from salt.data.names import NUM_NEAREST, by_nearness
from salt.nn.attention import Attention
from salt.nn.embedding import InitNet
from salt.nn.featurewise import FeaturewiseTransformation
from salt.nn.layers import GLU, Dense
from salt.nn.norm import NormOptions
from salt.nn.positions import PositionalEncoder
from salt.nn.retired import MHAConfig
from salt.training.init_from import InitFrom
from salt.training.rates import LRSConfig

INNER: Mapping[str, tuple[type, frozenset[str]]] = {
    "dense_config": (Dense, frozenset()),
    "sa_dense_config": (Dense, frozenset()),
    "ca_dense_config": (Dense, frozenset()),
    "mha_config": (MHAConfig, frozenset()),
    "dense_kwargs": (GLU, frozenset({"embed_dim"})),
    "attn_kwargs": (Attention, frozenset({"embed_dim"})),
    "dense_config_scale": (Dense, frozenset()),
    "dense_config_bias": (Dense, frozenset()),
    "featurewise_nets": (FeaturewiseTransformation, frozenset({"size"})),
    "init_nets": (InitNet, frozenset({"featurewise"})),
    "norm": (NormOptions, frozenset()),
    "pos_enc": (PositionalEncoder, frozenset()),
    "lrs_config": (LRSConfig, frozenset()),
    "init_from": (InitFrom, frozenset()),
}
"""Arguments that are mappings handed to a class: key -> the class, and what the code gives it besides."""

FREE = frozenset({"variables", "input_map", "labels", "label_map", "extra_vars", "discriminants", "merge_dict"})
"""Arguments that are mappings of the user's own names."""

GIVEN = frozenset({"self", "schema"})
"""Parameters that no config gives: the code that builds the class does."""

OF_CLASS = ("class_path", "init_args", "dict_kwargs")
"""What a config says of a class."""


class Place(NamedTuple):
    """Where in which config: a dotted key, the config's name, and what earlier configs say there."""

    key: str
    source: str
    before: Any

    def of(self, key: str) -> Place:
        """One key further inside."""
        before = self.before.get(key) if isinstance(self.before, Mapping) else None
        return Place(f"{self.key}.{key}" if self.key else key, self.source, before)


def unknown_keys(sources: Sequence[Source], parser: ArgumentParser) -> Iterator[str]:
    """A message for each key that neither the parser nor the classes that the configs name know."""
    known = _tree(action.dest for action in parser._actions if not action.dest.endswith(".help"))
    before: Any = {}
    for source in sources:
        yield from _walk(source.content, known, Place("", source.name, before))
        before = merge(before, source.content)


def _tree(destinations: Iterable[str]) -> dict[str, Any]:
    """Dotted names as nested mappings; a leaf is an empty one."""
    tree: dict[str, Any] = {}
    for destination in destinations:
        node = tree
        for part in destination.split("."):
            node = node.setdefault(part, {})
    return tree


def _walk(node: Mapping[str, Any], known: Mapping[str, Any], place: Place) -> Iterator[str]:
    for name, value in node.items():
        key = str(name)
        if key not in known:
            yield _message(place, key, known)
        elif known[key] and isinstance(value, Mapping):
            yield from _walk(value, known[key], place.of(key))
        elif key not in FREE:
            yield from _inside(value, key, place.of(key))


def _inside(value: Any, key: str, place: Place) -> Iterator[str]:
    """Messages for what an argument holds: a class with arguments, a list of them, or arguments of a known class."""
    if isinstance(value, list):
        for i, item in enumerate(value):
            yield from _inside(item, key, Place(f"{place.key}[{i}]", place.source, None))
    elif not isinstance(value, Mapping):
        return
    elif class_path := _class_path(value, place.before):
        yield from _of_class(value, class_path, place)
    elif key in INNER:
        cls, given = INNER[key]
        yield from _walk(value, _parameters(cls, given), place)


def _class_path(value: Mapping[str, Any], before: Any) -> str | None:
    """The class that a mapping gives arguments to, which an earlier config may have named; None: no class."""
    if "class_path" in value:
        return str(value["class_path"])
    if isinstance(before, Mapping):
        return before.get("class_path")
    return before if isinstance(before, str) and "init_args" in value else None


def _of_class(value: Mapping[str, Any], class_path: str, place: Place) -> Iterator[str]:
    try:
        parameters = _parameters(import_object(class_path))
    except (ImportError, AttributeError, ValueError):
        return  # a short name, or none: the parser knows better, and says so
    if not any(key in value for key in OF_CLASS):  # --model.model.num_layers 2: arguments without the word init_args
        inside = place.before.get("init_args") if isinstance(place.before, Mapping) else None
        yield from _walk(value, parameters, Place(place.key, place.source, inside))
        return
    yield from (_message(place, str(key), dict.fromkeys(OF_CLASS)) for key in value if key not in OF_CLASS)
    arguments = value.get("init_args")
    if isinstance(arguments, Mapping):
        yield from _walk(arguments, parameters, place.of("init_args"))


def _parameters(cls: type, given: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Names of the arguments of a class; those of its parents too where it passes on what it does not name."""
    names: dict[str, Any] = {}
    for ancestor in inspect.getmro(cls):
        if "__init__" not in vars(ancestor) or ancestor is object:
            continue
        parameters = inspect.signature(ancestor.__init__).parameters.values()  # type: ignore[misc]
        named = [p.name for p in parameters if p.kind not in {p.VAR_KEYWORD, p.VAR_POSITIONAL}]
        names |= {name: {} for name in named if name not in GIVEN | given}
        if ancestor is cls and any(p.kind is p.VAR_KEYWORD for p in parameters):  # what the parser takes, and saves
            names |= {p.name: {} for p in get_signature_parameters(cls, None) if p.name not in GIVEN | given}
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return names


def _message(place: Place, key: str, known: Mapping[str, Any]) -> str:
    names = by_nearness(key, [name for name in known if not name.startswith("_") and name not in {"help", "config"}])
    where = f"in {place.source}" if place.source.endswith((".yaml", ".yml")) else f"on {place.source}"
    more = f" (of {len(names)}; salt VERB --help lists those of data, trainer and model)" if len(names) > 9 else ""
    return (
        f"unknown key {place.of(key).key} {where}; nearest: {', '.join(names[:NUM_NEAREST])}{more}\n"
        f"  mend: write {names[0]}, or another of them, or leave {key} out"
    )
