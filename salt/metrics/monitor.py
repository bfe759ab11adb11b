"""What every monitor is: integer counts of a task's answers, which add up exactly over batches and ranks.

Shapes: B jets, "..." the tokens of a layout or the jets.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import torch
import torch.distributed as dist
from torch import Tensor

from salt.layout import Layout

MIN_JETS = 10
"""With fewer jets or constituents of a kind there is no figure: it would be noise."""

UNIT = 2**20
"""Fractions are counted in steps of 1 / UNIT: sums of integers do not depend on their order, those of floats do."""


class Monitor(ABC):
    """Counts of one task's answers in a validation, and the figures that follow from them.

    Parameters
    ----------
    shapes : Mapping[str, Sequence[int]]
        Name of each table of counts -> its shape.
    """

    def __init__(self, shapes: Mapping[str, Sequence[int]]) -> None:
        self._shapes = {name: tuple(shape) for name, shape in shapes.items()}
        self.counts: dict[str, Tensor] = {}
        self.begin(torch.device("cpu"))

    def begin(self, device: torch.device) -> None:
        """Count from zero, on this device."""
        self.counts = {
            name: torch.zeros(shape, dtype=torch.int64, device=device) for name, shape in self._shapes.items()
        }

    @abstractmethod
    def add(self, raw: Tensor, labels: Mapping[str, Tensor], layout: Layout | None, bins: Tensor | None) -> None:
        """Count the answers of a batch.

        Parameters
        ----------
        raw : Tensor
            What the task's forward gave.
        labels : Mapping[str, Tensor]
            Labels of its stream.
        layout : Layout | None
            Where the tokens are; None for the global object.
        bins : Tensor | None
            (B,) number of each jet's bin in transverse momentum; None where nobody asked for bins.
        """

    @abstractmethod
    def figures(self) -> dict[str, float | None]:
        """Name -> figure; None where there is too little to tell."""


def reduce(monitors: Sequence[Monitor]) -> None:
    """Give every monitor the counts of all ranks together, by one message."""
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return
    tables = [table for monitor in monitors for table in monitor.counts.values()]
    if not tables:
        return
    message = torch.cat([table.flatten() for table in tables])
    dist.all_reduce(message)
    for table, part in zip(tables, message.split([table.numel() for table in tables]), strict=True):
        table.copy_(part.view_as(table))


def tally(table: Tensor, keys: Tensor, amounts: Tensor) -> None:
    """Add amounts (n,) to the flat places keys (n,) of a table."""
    table.view(-1).scatter_add_(0, keys, amounts)
