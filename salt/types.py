"""The types that flow between the rooms: what a file holds (Schema), what a step sees (Batch), what heads say (Preds).

Shapes: B jets, T constituents of all jets of a stream together, F features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypedDict

import torch
from torch import Tensor

from salt.ragged import Ragged

Preds = dict[str, Tensor]
"""Task name -> raw output of that head."""

Inputs = Mapping[str, Tensor | Ragged]
"""Stream -> (B, F) for the global object, Ragged (T, F) for constituents."""

Labels = Mapping[str, Mapping[str, Tensor]]
"""Stream -> label -> (B,) for the global object, (T,) for constituents."""

Columns = Mapping[str, Mapping[str, Tensor]]
"""Stream -> column of the file -> (B,) for the global object, (T,) for constituents."""


GLOBAL = "global"
"""The stream of variables of the global object that join the pooled representation."""

PARAMETERS = "parameters"
"""The stream of what parameterises a network."""


class EdgeFeatures(TypedDict):
    """Which features of pairs of constituents are to be made.

    Parameters
    ----------
    input_name : str
        The stream of the constituents.
    edge_features : list[str]
        dR, kt, z, isSelfLoop, subjetIndex or mass, each made of some of the stream's variables.
    """

    input_name: str
    edge_features: list[str]


def features_of_pairs(constructors: Iterable[EdgeFeatures] | None) -> dict[str, list[str]]:
    """Stream -> features of the pairs of its constituents, as `data.edge_constructors` asks for them."""
    return {item["input_name"]: item["edge_features"] for item in constructors or []}


@dataclass(frozen=True)
class ObjectSchema:
    """What is to be found in each jet.

    Parameters
    ----------
    constituents : str
        The stream that the objects are made of.
    class_names : list[str]
        Names of their classes, in the order of their numbers; the null class has the number after them.
    """

    constituents: str
    class_names: list[str]


@dataclass(frozen=True)
class Schema:
    """What is read from the file: the only facts that data and models share.

    Parameters
    ----------
    variables : dict[str, list[str]]
        Stream -> names of its input variables, in column order.
    global_object : str
        The stream with one row a jet (event, ...).
    input_map : dict[str, str]
        Stream -> name of its dataset in the file, where the two differ.
    edges : dict[str, list[str]]
        Stream -> features of the pairs of its constituents, in column order.
    objects : ObjectSchema | None
        What a mask decoder finds; None: nothing.
    """

    variables: dict[str, list[str]] = field(default_factory=dict)
    global_object: str = "jets"
    input_map: dict[str, str] = field(default_factory=dict)
    edges: dict[str, list[str]] = field(default_factory=dict)
    objects: ObjectSchema | None = None

    def dataset(self, stream: str) -> str:
        """Name of the stream's dataset in the file: global and parameters are fields of the global object."""
        name = self.input_map.get(stream, stream)
        if stream in {GLOBAL, PARAMETERS} and name == stream != self.global_object:
            return self.dataset(self.global_object)
        return name

    def check_repeated(self, variables: Mapping[str, list[str]] | None, global_object: str | None, where: str) -> None:
        """Raise where a part of the config that repeats the schema (saved configs of upstream do) says otherwise."""
        if variables is not None and {k: list(v) for k, v in variables.items()} != self.variables:
            raise ValueError(f"variables of {where} are {dict(variables)}, but data.variables says {self.variables}")
        if global_object not in {None, self.global_object}:
            raise ValueError(
                f"global_object of {where} is {global_object!r}, but data.global_object is {self.global_object!r}"
            )

    @property
    def constituents(self) -> list[str]:
        """The streams with many rows a jet."""
        return [stream for stream in self.variables if stream not in {self.global_object, GLOBAL, PARAMETERS}]


class Batch:
    """Jets as a training step sees them; nobody writes to it.

    Not a dataclass: Lightning would convert the fields of one to `trainer.precision`, physical values and all.

    Parameters
    ----------
    inputs : Inputs
        Un-normalised float32 input variables of each stream.
    labels : Labels
        Labels of each stream; empty where nothing asked for them.
    index : Tensor
        (B,) int64, the jets' places in the file: the order inside a batch is the loader's own.
    columns : Columns | None
        Further columns, not normalised, which the physical values of some tasks need; None: no columns.
    """

    def __init__(self, inputs: Inputs, labels: Labels, index: Tensor, columns: Columns | None = None) -> None:
        self.inputs = inputs
        self.labels = labels
        self.index = index
        self.columns: Columns = {} if columns is None else columns

    def __len__(self) -> int:
        return self.index.shape[0]

    @classmethod
    def joined(cls, batches: Sequence[Batch]) -> Batch:
        """The jets of all batches, one after the other."""
        first = batches[0]
        inputs = {
            s: Ragged.joined([batch.inputs[s] for batch in batches])  # type: ignore[misc]
            if isinstance(x, Ragged)
            else torch.cat([batch.inputs[s] for batch in batches])  # type: ignore[misc]
            for s, x in first.inputs.items()
        }
        labels = _joined([batch.labels for batch in batches])
        columns = _joined([batch.columns for batch in batches])
        return cls(inputs, labels, torch.cat([batch.index for batch in batches]), columns)

    def _map(self, tensor: Callable[[Tensor], Tensor], ragged: Callable[[Ragged], Ragged]) -> Batch:
        inputs = {s: ragged(x) if isinstance(x, Ragged) else tensor(x) for s, x in self.inputs.items()}
        labels, columns = (
            {s: {k: tensor(v) for k, v in of.items()} for s, of in each.items()} for each in (self.labels, self.columns)
        )
        return Batch(inputs, labels, tensor(self.index), columns)

    def changed(
        self, inputs: Inputs | None = None, labels: Labels | None = None, columns: Columns | None = None
    ) -> Batch:
        """The same jets with other inputs, labels or columns; None: with those that they have."""
        return Batch(
            self.inputs if inputs is None else inputs,
            self.labels if labels is None else labels,
            self.index,
            self.columns if columns is None else columns,
        )

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """The same jets on another device."""
        return self._map(lambda x: x.to(device, non_blocking=non_blocking), lambda x: x.to(device, non_blocking))

    def pin_memory(self) -> Batch:
        """The same jets in page-locked memory."""
        return self._map(Tensor.pin_memory, Ragged.pin_memory)


def _joined(parts: Sequence[Labels]) -> dict[str, dict[str, Tensor]]:
    """Labels or columns of several batches, one after the other."""
    return {s: {k: torch.cat([part[s][k] for part in parts]) for k in of} for s, of in parts[0].items()}


def ragged(inputs: Inputs, stream: str) -> Ragged:
    """The constituents of a stream."""
    x = inputs[stream]
    assert isinstance(x, Ragged), f"stream {stream} is not ragged"
    return x
