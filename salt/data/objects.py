"""Objects that a MaskFormer finds in a jet: their classes, and which constituents are theirs.

Shapes: B jets, M object slots of each, t constituents of all jets, packed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from salt.ragged import Ragged, Segments
from salt.types import Batch, ObjectSchema

OBJECTS = "objects"
"""The stream of the objects."""

NULL_ID = -1
"""Id of a slot without an object, and raw class of the null class where the config does not say."""
_KEY = "data.mf_config.object"


@dataclass(frozen=True)
class ObjectConfig:
    """A dataset of objects, or that of their constituents.

    Parameters
    ----------
    name : str
        The dataset: truth_hadrons; for constituents the stream: tracks.
    id_label : str
        Field that is equal for an object and its constituents: a barcode.
    class_label : str | None
        Field of the object's class; constituents need none.
    object_classes : dict[str | None, dict[str, int]] | None
        Class -> its value in the file (`raw`) and for the model (`mapped`); the class null, of slots without an
        object, must be among them. Constituents need none.
    """

    name: str
    id_label: str
    class_label: str | None = None
    object_classes: dict[str | None, dict[str, int]] | None = None

    @cached_property
    def class_map(self) -> dict[int, int]:
        """Class in the file -> class for the model."""
        classes = self.object_classes or {}
        null = [name for name in classes if name in {None, "null"}]
        if len(null) != 1:
            there = ", ".join(str(name) for name in classes) or "none"
            raise ValueError(f"{_KEY}.object_classes must have the class null, once; there are: {there}")
        for name, values in classes.items():
            if "mapped" not in values or ("raw" not in values and name not in null):
                raise ValueError(f"{_KEY}.object_classes.{name} must have raw and mapped, not {values}")
        mapping = {values.get("raw", NULL_ID): values["mapped"] for values in classes.values()}
        if len(mapping) < len(classes):
            raise ValueError(f"{_KEY}.object_classes gives one raw class to several: {classes}")
        if set(mapping.values()) != set(range(len(set(mapping.values())))):
            raise ValueError(f"{_KEY}.object_classes must be mapped to 0, 1, 2, ... without a gap: {classes}")
        return mapping

    @cached_property
    def null_class(self) -> int:
        """Class, for the model, of a slot without an object."""
        return next(v["mapped"] for name, v in (self.object_classes or {}).items() if name in {None, "null"})

    @cached_property
    def class_names(self) -> list[str]:
        """Names of the classes in the order of their numbers, without the null class, which must be the last."""
        if self.null_class != max(self.class_map.values()):
            raise ValueError(
                f"{_KEY}.object_classes: null is mapped to {self.null_class}, but must come last: map it to "
                f"{max(self.class_map.values())}"
            )
        names: dict[int, str] = {}
        for name, values in (self.object_classes or {}).items():
            names.setdefault(values["mapped"], str(name))  # of several that are one class, the first
        return [names[number] for number in range(self.null_class)]

    def mapped(self, classes: Tensor) -> Tensor:
        """Classes for the model, int64, of classes in the file, of any shape."""
        raw = torch.tensor(sorted(self.class_map), device=classes.device)
        place = torch.searchsorted(raw, classes.long().contiguous()).clamp(max=len(raw) - 1)
        unknown = raw[place] != classes
        if unknown.any():
            found = sorted(set(classes[unknown].tolist()))
            raise ValueError(
                f"{self.name}.{self.class_label} has values that {_KEY}.object_classes does not map: "
                f"{', '.join(map(str, found[:5]))}; there are {', '.join(map(str, sorted(self.class_map)))}"
            )
        return torch.tensor([self.class_map[int(value)] for value in raw], device=classes.device)[place]


@dataclass(frozen=True)
class MaskformerConfig:
    """What is found in each jet.

    Parameters
    ----------
    object : ObjectConfig
        The objects.
    constituent : ObjectConfig
        What they are made of: any stream of constituents.
    """

    object: ObjectConfig
    constituent: ObjectConfig

    def __post_init__(self) -> None:
        if self.object.class_label is None:
            raise ValueError(f"{_KEY}.class_label must name the field of the object's class")
        assert self.object.class_map  # raises where the config is wrong

    @classmethod
    def of(cls, config: Mapping[str, Mapping[str, Any]]) -> MaskformerConfig:
        """What a mapping of a YAML file says."""
        return cls(**{part: ObjectConfig(**of) for part, of in config.items()})

    @property
    def schema(self) -> ObjectSchema:
        """What a model must know of it."""
        return ObjectSchema(self.constituent.name, self.object.class_names)

    def required_labels(self) -> dict[str, list[str]]:
        """Stream -> labels that the classes and masks of objects are made of."""
        of_object = [self.object.id_label, *([self.object.class_label] if self.object.class_label else [])]
        return {OBJECTS: of_object, self.constituent.name: [self.constituent.id_label]}


class ObjectLabels(NamedTuple):
    """What a MaskFormer learns from."""

    object_class: Tensor
    """(B, M) int64; the null class where a slot has no object."""
    masks: Tensor
    """(t, M) bool: whether the constituent is of its jet's object; of a null object none is."""


def with_objects(batch: Batch, config: MaskformerConfig) -> Batch:
    """The batch with the labels of its objects as (B, M), and `object_class` and `masks` besides."""
    flat = batch.labels[OBJECTS]
    labels = {name: values.view(len(batch), -1) for name, values in flat.items()}
    constituents = batch.inputs[config.constituent.name]
    if not isinstance(constituents, Ragged):
        raise ValueError(f"data.mf_config.constituent.name: {config.constituent.name} has one row a jet")
    ids = batch.labels[config.constituent.name][config.constituent.id_label]
    of, classes = config.object, labels.get(config.object.class_label or "")
    if classes is None:
        raise ValueError(f"{_KEY}.class_label is not set: the field of the objects' classes")
    found = object_labels(of, ids, constituents.segments, labels[of.id_label], classes)
    return batch.changed(labels={**batch.labels, OBJECTS: {**labels, **found._asdict()}})


def object_labels(
    config: ObjectConfig,
    constituent_ids: Tensor,
    segments: Segments,
    ids: Tensor,
    classes: Tensor,
) -> ObjectLabels:
    """Classes and masks of the objects of a batch.

    Parameters
    ----------
    config : ObjectConfig
        The objects.
    constituent_ids : Tensor
        (t,) id of the object that each constituent is of.
    segments : Segments
        Which jet each constituent is of.
    ids : Tensor
        (B, M) ids of the objects; -1 where a slot has none.
    classes : Tensor
        (B, M) classes as the file has them.
    """
    object_class = config.mapped(classes)
    real = (ids != NULL_ID) & (object_class != config.null_class)
    owner = segments.owner
    return ObjectLabels(object_class, (constituent_ids[:, None] == ids[owner]) & real[owner])
