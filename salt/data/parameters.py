"""Parameters: inputs that a parameterised network is conditioned on, such as the mass of what is searched for.

Baldi et al., Parameterized neural networks for high-energy physics, https://arxiv.org/abs/1601.07913: signal jets
train with their own value, background jets with values drawn from those that the signal has.

Shapes: B jets of a batch, P parameters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from salt.data.draws import uniforms
from salt.data.names import unknown

_KEY = "data.parameters"
_FIELDS = ("train", "test", "prob")


class Parameter:
    """One parameter.

    Parameters
    ----------
    name : str
        Its field in the file.
    config : Mapping[str, Any]
        `train`, the values that the signal jets of the training file have; `test`, the value to evaluate at; and
        `prob`, how often background jets get each of `train`, all as often where it is left out.
    """

    def __init__(self, name: str, config: Mapping[str, Any]) -> None:
        self.name = name
        where = f"{_KEY}.{name}"
        for each in config:
            if each not in _FIELDS:
                raise ValueError(unknown("key", each, _FIELDS, where))
        self.train = np.atleast_1d(np.asarray(config.get("train", []), np.float32))
        if self.train.ndim != 1 or self.train.size == 0:
            raise ValueError(f"{where}.train must list the values that the training file has: [5, 40, 55]")
        self.test = config.get("test")
        if not isinstance(self.test, int | float):
            raise ValueError(f"{where}.test must be one number, to evaluate at, not {self.test!r}")
        self.edges = _edges(config.get("prob"), len(self.train), where)

    def drawn(self, own: NDArray[np.floating], jets: NDArray[np.int64], key: int) -> NDArray[np.float32]:
        """(B,) the jets' own values (B,) where these are among `train`, drawn ones elsewhere."""
        own = own.astype(np.float32)
        place = np.searchsorted(self.edges, uniforms(key, f"parameters.{self.name}", jets), side="right")
        return np.where(np.isin(own, self.train), own, self.train[place])


def _edges(prob: Sequence[float] | None, count: int, where: str) -> NDArray[np.float64]:
    """(count - 1,) where [0, 1) is cut, so that each value has its probability."""
    probabilities = np.full(count, 1 / count) if prob is None else np.asarray(prob, np.float64)
    if probabilities.shape != (count,):
        raise ValueError(f"{where}.prob must have one probability for each of its {count} values, not {prob}")
    if (probabilities < 0).any() or not np.isclose(probabilities.sum(), 1):
        raise ValueError(f"{where}.prob must be probabilities that add up to 1, not {prob}")
    return np.cumsum(probabilities)[:-1]


class Parameters:
    """The parameters of a network, in the order of data.variables.parameters.

    Parameters
    ----------
    config : Mapping[str, Mapping[str, Any]]
        Parameter -> its `train`, `test` and `prob`.
    names : Sequence[str] | None
        data.variables.parameters; None for those of the config, in its order.
    """

    def __init__(self, config: Mapping[str, Mapping[str, Any]], names: Sequence[str] | None = None) -> None:
        for name in names or ():
            if name not in config:
                raise ValueError(unknown("parameter", name, config, _KEY))
        self.parameters = [Parameter(name, config[name]) for name in (config if names is None else names)]

    def values(
        self,
        stage: str,
        file_values: NDArray[np.floating],
        jets: NDArray[np.int64],
        key: int,
    ) -> NDArray[np.float32]:
        """(B, P) values of these jets.

        Parameters
        ----------
        stage : str
            test or predict: every jet has the value to evaluate at; else as in training.
        file_values : NDArray[np.floating]
            (B, P) values that the file has; what they are in a test does not matter.
        jets : NDArray[np.int64]
            (B,) number of each jet in the file.
        key : int
            Of the seed and the epoch.
        """
        out = np.empty((len(jets), len(self.parameters)), np.float32)
        for column, parameter in enumerate(self.parameters):
            if stage in {"test", "predict"}:
                out[:, column] = parameter.test
            else:
                out[:, column] = parameter.drawn(file_values[:, column], jets, key)
        return out
