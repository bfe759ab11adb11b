"""What a task is: a head that gives raw numbers, which become a loss or named physical outputs.

Shapes: B jets, "..." the tokens of a layout, D and C widths.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from salt.layout import Layout
from salt.metrics.classification import Classification
from salt.metrics.monitor import Monitor
from salt.metrics.options import MetricOptions
from salt.nn.layers import Dense


class Task(nn.Module, ABC):
    """A head of the model.

    Parameters
    ----------
    name : str
        Name of the task: of its loss in the logs, of its raw output.
    input_name : str
        The stream whose embedding it reads: the global object's is the pooled one.
    dense_config : dict[str, Any]
        Arguments of `Dense`.
    weight : float
        Weight of its loss in the total.
    """

    tokens_read: int = 1
    """How many tokens of its stream its net reads at once."""

    padding: float = 0.0
    """What evaluation files hold for a constituent that does not exist."""

    is_positive: bool = True
    """Whether its loss is never negative, so that a geometric mean may have it."""

    def __init__(self, name: str, input_name: str, dense_config: dict[str, Any], weight: float = 1.0) -> None:
        super().__init__()
        self.name = name
        self.input_name = input_name
        self.weight = weight
        self.net = Dense(**dense_config)

    @abstractmethod
    def required_labels(self) -> list[str]:
        """Labels of its stream that the loader must bring for the loss."""

    def required_columns(self) -> list[str]:
        """Columns of its stream that `outputs` needs, beside what the net has said."""
        return []

    def check_labels(self, ranges: Mapping[str, tuple[int, int]]) -> None:
        """Raise where the labels of the training jets cannot be learnt from.

        Parameters
        ----------
        ranges : Mapping[str, tuple[int, int]]
            Label of its stream -> smallest and largest value, of those that are integers.
        """

    def forward(self, x: Tensor, context: Tensor | None, layout: Layout | None) -> Tensor:
        """Embedding (..., D), and its jets' (B, C) where the stream has many rows a jet, to raw numbers."""
        return self.net(x, context if self.net.context_size else None, layout)

    @abstractmethod
    def loss(self, raw: Tensor, labels: dict[str, Tensor], layout: Layout | None) -> tuple[Tensor, Tensor]:
        """Sum of the losses and what to divide it by (weights, constituents, positive pairs)."""

    def distance(self, raw: Tensor, labels: Mapping[str, Tensor]) -> Tensor | None:
        """How far each answer is from each truth, for whoever matches objects; None: it does not say.

        Parameters
        ----------
        raw : Tensor
            (B, Q, ...) what `forward` has given for the Q objects that were looked for in each jet.
        labels : Mapping[str, Tensor]
            Labels (B, M) of the M objects that there are.

        Returns
        -------
        Tensor | None
            (B, Q, M)
        """
        return None

    def monitor(self, options: MetricOptions, is_global: bool) -> Monitor | None:
        """What counts its answers in each validation; None: its loss tells all there is to tell.

        Parameters
        ----------
        options : MetricOptions
            What the user wants measured.
        is_global : bool
            Whether its stream is the global object, with one row a jet.
        """
        return None

    def confusion(self) -> Classification | None:
        """What counts which of its classes are taken for which; None: it has no classes."""
        return None

    @abstractmethod
    def outputs(self, raw: Tensor, columns: Mapping[str, Tensor], layout: Layout | None) -> dict[str, Tensor]:
        """Physical values, under the names that files and the experiment's software carry.

        Parameters
        ----------
        raw : Tensor
            What `forward` has given.
        columns : Mapping[str, Tensor]
            What `required_columns` asks for, as far as there is: column -> (...).
        layout : Layout | None
            Where each jet's tokens are; None: one row a jet.
        """

    def upstream_name(self, output: str, model: str) -> str:
        """What upstream's evaluation files call one of the outputs of a model of this name."""
        return f"{model}_{output}"
