"""Options of `data` that change what is read, and the recipe that they make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from salt.data.derive import Derivation
from salt.data.expressions import Expression
from salt.data.labeller import Labeller, LabellerConfig
from salt.data.malformed import Recovered
from salt.data.multi_target import MultiTarget, read_entries
from salt.data.names import unknown
from salt.data.objects import OBJECTS, MaskformerConfig
from salt.data.recipe import NonFinite, Recipe, StreamRecipe
from salt.data.selections import Filter, Selection
from salt.data.sources import Sample
from salt.types import Schema


@dataclass(frozen=True)
class Options:
    """What is read besides the plain fields; each as `SaltDataModule` says.

    Parameters
    ----------
    num_inputs, selections, recover_malformed, labeller_config, multi_target, new_variables, mf_config
        As in `SaltDataModule`.
    non_finite : NonFinite
        What to do about input values that are NaN or infinite.
    columns : Sequence[str]
        Fields of the global object that are read besides: jets are chosen by them.
    """

    num_inputs: Mapping[str, int] = field(default_factory=dict)
    selections: Mapping[str, Sequence[str] | None] = field(default_factory=dict)
    recover_malformed: bool = False
    labeller_config: LabellerConfig | None = None
    multi_target: Sequence[Mapping[str, Any]] = ()
    new_variables: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    mf_config: MaskformerConfig | None = None
    non_finite: NonFinite = "raise"
    columns: Sequence[str] = ()


def make_recipe(schema: Schema, labels: Mapping[str, Sequence[str]], options: Options) -> Recipe:
    """What is read of a sample.

    Parameters
    ----------
    schema : Schema
        The input variables.
    labels : Mapping[str, Sequence[str]]
        Stream -> labels; empty for none.
    options : Options
        All else.
    """
    both = joined_labels(labels, {schema.global_object: options.columns})
    asked = {stream: tuple(names) for stream, names in both.items() if names}
    streams = dict.fromkeys([*schema.variables, *asked, schema.global_object])
    _check_streams(streams, options)
    recipes = {
        name: _of_stream(name, schema.variables.get(name, ()), asked.get(name, ()), schema, options) for name in streams
    }
    return Recipe(recipes, schema.global_object, options.non_finite)


def as_they_are(options: Options) -> Options:
    """The options without those that make labels of truth: a file to be tested need not have any."""
    return replace(options, multi_target=(), labeller_config=None, recover_malformed=False)


def columns_there(
    sample: Sample, columns: Mapping[str, Sequence[str]], schema: Schema, options: Options
) -> dict[str, list[str]]:
    """Those of these columns (stream -> names) that a sample has, or that are made of what it has."""
    found: dict[str, list[str]] = {}
    for stream, names in columns.items():
        dataset = _dataset(stream, schema, options)
        fields = sample.table(dataset, "data.test_file").dtype.names if dataset in sample.names() else None
        known = {*(fields or ()), *options.new_variables.get(stream, {})}
        found[stream] = [name for name in names if name in known]
    return {stream: names for stream, names in found.items() if names}


def joined_labels(*parts: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """The labels of all parts: stream -> labels, each once."""
    streams = dict.fromkeys(stream for part in parts for stream in part)
    return {s: list(dict.fromkeys(name for part in parts for name in part.get(s, ()))) for s in streams}


def _check_streams(streams: Mapping[str, None], options: Options) -> None:
    """Raise where an option names a stream that is not read."""
    asked = {"num_inputs": options.num_inputs, "selections": options.selections, "new_variables": options.new_variables}
    for key, names in asked.items():
        for name in names:
            if name not in streams:
                raise ValueError(unknown("stream", name, streams, f"data.{key}: data.variables has none of that name"))


def _of_stream(
    name: str, variables: Sequence[str], labels: Sequence[str], schema: Schema, options: Options
) -> StreamRecipe:
    filters = _filters(name, schema, options)
    made = [each for each in _label_derivations(name, schema, labels, options) if each.name in labels]
    needed = [*variables, *labels]
    needed += [field for each in filters for field in each.reads()]
    needed += [field for each in made for field in each.reads()]
    derivations = _needed(_derivations(name, options), needed)
    return StreamRecipe(
        dataset=_dataset(name, schema, options),
        variables=tuple(variables),
        labels=tuple(labels),
        derivations=tuple(derivations),
        label_derivations=tuple(made),
        filters=tuple(filters),
        num_inputs=options.num_inputs.get(name),
        keeps_all=name == OBJECTS and options.mf_config is not None,
    )


def _dataset(stream: str, schema: Schema, options: Options) -> str:
    """The stream's dataset in the file."""
    if stream == OBJECTS and stream not in schema.input_map and options.mf_config is not None:
        return options.mf_config.object.name
    return schema.dataset(stream)


def _derivations(stream: str, options: Options) -> list[Derivation]:
    """Columns of a stream that its dataset does not have."""
    return [
        Expression(name, text, f"data.new_variables.{stream}.{name}")
        for name, text in options.new_variables.get(stream, {}).items()
    ]


def _label_derivations(stream: str, schema: Schema, labels: Sequence[str], options: Options) -> list[Derivation]:
    """Labels of a stream that its dataset does not have, or not so."""
    entries = read_entries(options.multi_target).get(stream, [])
    made: list[Derivation] = [MultiTarget(t, entries) for t in dict.fromkeys(entry.target for entry in entries)]
    labeller = options.labeller_config
    if labeller is not None and labeller.use_labeller and stream == schema.global_object:
        made.append(Labeller(labeller.class_names, labeller.require_labels))
    if options.recover_malformed:
        made += [Recovered(label) for label in labels if label.lower().endswith("truthoriginlabel")]
    return made


def _needed(made: Sequence[Derivation], asked: Sequence[str]) -> list[Derivation]:
    """Those of the derivations that are asked for, or that others need which are."""
    by_name = {derivation.name: derivation for derivation in made}
    wanted: dict[str, Derivation] = {}
    names = list(asked)
    while names:
        name = names.pop()
        if name in by_name and name not in wanted:
            wanted[name] = by_name[name]
            names += by_name[name].reads()
    return [derivation for derivation in made if derivation.name in wanted]


def _filters(stream: str, schema: Schema, options: Options) -> list[Filter]:
    """Which constituents of a stream are kept."""
    cuts, key = options.selections.get(stream), f"data.selections.{stream}"
    if cuts and stream == schema.global_object:
        raise ValueError(f"{key}: selections are of constituents; jets are cut by data.sampling.cuts")
    return [Selection(cuts, key)] if cuts else []
