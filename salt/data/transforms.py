"""Transforms: what is done to the inputs of training batches, new in each epoch.

Shapes: r rows (jets, or constituents of all jets of a batch), F input variables.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from salt.data.draws import normals
from salt.data.names import unknown

_KEY = "data.transforms"


class Transform(ABC):
    """Changes the inputs of a batch; what is random in it depends on key, jet and row, never on batch or worker."""

    @abstractmethod
    def apply(
        self,
        stream: str,
        values: NDArray[np.float32],
        variables: Sequence[str],
        jets: NDArray[np.int64],
        rows: NDArray[np.int64],
        key: int,
    ) -> NDArray[np.float32]:
        """The changed values (r, F).

        Parameters
        ----------
        stream : str
            The stream whose inputs these are.
        values : NDArray[np.float32]
            (r, F) inputs as read, not normalised; they may be written to.
        variables : Sequence[str]
            Name of each column.
        jets : NDArray[np.int64]
            (r,) number of each row's jet in the file.
        rows : NDArray[np.int64]
            (r,) place of each row in its jet.
        key : int
            Of the seed and the epoch.
        """


class Noise(NamedTuple):
    """Noise of one variable, in fractions of its value."""

    variable: str
    mean: float
    std: float


class GaussianNoise(Transform):
    """Multiplies variables by 1 + a normal random number, drawn for each row and variable.

    Parameters
    ----------
    noise_params : Mapping[str, Sequence[Mapping[str, Any]]] | Sequence[Mapping[str, Any]] | None
        Stream -> its variables, each with `variable`, `mean` and `std` in fractions of the value; or one list, in
        which each also has `input_type`, its stream.
    """

    def __init__(
        self,
        noise_params: Mapping[str, Sequence[Mapping[str, Any]]] | Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        self.noise: dict[str, list[Noise]] = {}
        for stream, entry in _entries(noise_params or {}):
            self.noise.setdefault(stream, []).append(_read(entry, stream))

    def apply(
        self,
        stream: str,
        values: NDArray[np.float32],
        variables: Sequence[str],
        jets: NDArray[np.int64],
        rows: NDArray[np.int64],
        key: int,
    ) -> NDArray[np.float32]:
        """The values (r, F) with their noise."""
        for number, noise in enumerate(self.noise.get(stream, [])):
            if noise.variable not in variables:
                where = f"data.variables.{stream} ({_KEY})"
                raise ValueError(unknown("variable", noise.variable, variables, where))
            drawn = normals(key, f"noise {number} of {stream}.{noise.variable}", jets, rows)
            values[:, variables.index(noise.variable)] *= np.float32(1 + noise.mean) + np.float32(noise.std) * drawn
        return values


def _entries(
    noise_params: Mapping[str, Sequence[Mapping[str, Any]]] | Sequence[Mapping[str, Any]],
) -> list[tuple[str, Mapping[str, Any]]]:
    """Both forms as pairs (stream, entry)."""
    if isinstance(noise_params, Mapping):
        return [(stream, entry) for stream, entries in noise_params.items() for entry in entries]
    for entry in noise_params:
        if "input_type" not in entry:
            raise ValueError(f"{_KEY}: noise_params is a list, so that each needs input_type, its stream: {entry}")
    return [(entry["input_type"], entry) for entry in noise_params]


def _read(entry: Mapping[str, Any], stream: str) -> Noise:
    """One variable's noise, or an error that says what is wrong with it."""
    where = f"{_KEY}: noise_params.{stream}"
    fields = [*Noise._fields, "input_type"]
    for name in entry:
        if name not in fields:
            raise ValueError(unknown("key", name, fields, where))
    if missing := [name for name in Noise._fields if name not in entry]:
        raise ValueError(f"{where} lacks {', '.join(missing)}: {dict(entry)}")
    noise = Noise(entry["variable"], float(entry["mean"]), float(entry["std"]))
    if not (np.isfinite([noise.mean, noise.std]).all() and noise.std >= 0):
        raise ValueError(f"{where}: mean must be a number and std one that is not negative: {dict(entry)}")
    return noise
