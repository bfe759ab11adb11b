"""Vertexing: which constituents of a jet come from the same vertex.

Shapes: "..." the tokens of a layout, "pairs" all ordered pairs of tokens of one jet, D and C widths.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from salt.layout import Layout
from salt.metrics.monitor import Monitor
from salt.metrics.options import MetricOptions
from salt.metrics.vertexing import Vertexing
from salt.tasks.base import Task
from salt.tasks.losses import in_full, make_loss

FAKE = 1
FROM_HEAVY_FLAVOUR = (3, 4, 5)
"""Codes of ftagTruthOriginLabel: FromB, FromBC, FromC."""
SAME_VERTEX = 0.5
"""Probability from which two tracks are joined."""


class VertexingTask(Task):
    """For each pair of tracks of a jet: do they share a vertex? Pairs from heavy flavour count double, fakes not.

    The origin of the tracks is read from the label of the same name with OriginLabel instead of VertexIndex.

    Parameters
    ----------
    name, input_name, dense_config, weight
        As of every `Task`; dense_config.input_size is twice the width of a token.
    label : str
        Name of the label in the file: the number of each track's vertex, negative for none.
    loss : nn.Module | str | None
        A `torch.nn.BCEWithLogitsLoss`, or its name; None: the same.
    """

    tokens_read = 2
    padding = -1

    def __init__(
        self,
        name: str,
        input_name: str,
        label: str,
        dense_config: dict[str, Any],
        loss: nn.Module | str | None = None,
        weight: float = 1.0,
    ) -> None:
        super().__init__(name, input_name, {"output_size": 1, **dense_config}, weight)
        self.label = label
        self.loss_function = make_loss("BCEWithLogitsLoss" if loss is None else loss, name)
        if not isinstance(self.loss_function, nn.BCEWithLogitsLoss):
            raise ValueError(
                f"task {name!r}: loss {type(self.loss_function).__name__} is not known for vertexing; "
                "there is torch.nn.BCEWithLogitsLoss"
            )
        self.origin_label = label.replace("VertexIndex", "OriginLabel")

    def required_labels(self) -> list[str]:
        """The vertex of each track, and its origin."""
        return [self.label, self.origin_label]

    def forward(self, x: Tensor, context: Tensor | None, layout: Layout | None) -> Tensor:
        """Tokens (..., D) and their jets (B, C) to logits (pairs, 1)."""
        assert layout is not None
        if context is None or not self.net.context_size:
            a, b = self.net.first(x, x)
        else:
            before, a, b = self.net.first(context, x, x)
            a = a + layout.spread(before)
        return layout.pair_map(self.net.rest, a, b)

    def loss(self, raw: Tensor, labels: dict[str, Tensor], layout: Layout | None) -> tuple[Tensor, Tensor]:
        """Weighted sum over pairs, and the number of pairs that do share a vertex."""
        assert layout is not None
        function = self.loss_function
        assert isinstance(function, nn.BCEWithLogitsLoss)
        first, second = layout.pair(labels[self.label])
        same = (first == second) & (first >= 0)
        raw = in_full(raw)
        per_pair = F.binary_cross_entropy_with_logits(
            raw.squeeze(-1), same.to(raw.dtype), pos_weight=function.pos_weight, reduction="none"
        )
        return (per_pair * self._weights(labels[self.origin_label], layout)).sum(), same.sum()

    @staticmethod
    def _weights(origin: Tensor, layout: Layout) -> Tensor:
        """2 where both tracks are from heavy flavour, 0 where both are fakes; the bits decide for mixed pairs."""
        grade = torch.isin(origin, origin.new_tensor(FROM_HEAVY_FLAVOUR)).to(torch.int8) - (origin == FAKE).to(
            torch.int8
        )
        first, second = layout.pair(grade)
        return 1 + (first & second)

    def monitor(self, options: MetricOptions, is_global: bool) -> Monitor:
        """Pairs of tracks of displaced vertices."""
        return Vertexing(self.label)

    def outputs(self, raw: Tensor, columns: Mapping[str, Tensor], layout: Layout | None) -> dict[str, Tensor]:
        """VertexIndex (...): the place in the jet of the first track of each track's vertex."""
        assert layout is not None
        probability = raw.squeeze(-1).sigmoid()
        return {"VertexIndex": layout.connect((probability + layout.swap(probability)) / 2 > SAME_VERTEX)}

    def upstream_name(self, output: str, model: str) -> str:
        """The one column that upstream writes without the model's name."""
        return output
