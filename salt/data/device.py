"""DeviceStore: a store whose columns are on a GPU, where batches are gathered too.

Shapes: N jets of the store, B jets of a batch, t their rows of a stream.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from salt.data.columns import Columns, Matrix
from salt.data.store import Store
from salt.ragged import Ragged
from salt.types import Batch


class DeviceColumns:
    """The columns of one stream, on a device.

    Parameters
    ----------
    columns : Columns
        The same in memory.
    device : torch.device
        The device.
    """

    def __init__(self, columns: Columns, device: torch.device) -> None:
        self.variables = columns.variables
        self.inputs = [(_places(matrix, columns.variables), _moved(matrix, device)) for matrix in columns.inputs]
        self.labels = [(matrix.names, _moved(matrix, device)) for matrix in columns.labels]

    def gather(self, rows: Tensor, labels: Sequence[str]) -> tuple[Tensor, dict[str, Tensor]]:
        """Values (t, F) and labels (t,) of these rows (t,)."""
        values = torch.empty((len(rows), len(self.variables)), device=rows.device)
        for places, matrix in self.inputs:
            values[:, places] = matrix.index_select(0, rows).float()
        found: dict[str, Tensor] = {}
        for names, matrix in self.labels:
            taken = matrix.index_select(0, rows) if set(names) & set(labels) else None
            for column, name in enumerate(names):
                if taken is not None and name in labels:
                    found[name] = taken[:, column].to(torch.float32 if matrix.is_floating_point() else torch.int64)
        return values, {name: found[name] for name in labels}


def _places(matrix: Matrix, variables: Sequence[str]) -> list[int]:
    return [variables.index(name) for name in matrix.names]


def _moved(matrix: Matrix, device: torch.device) -> Tensor:
    """The values on the device; torch gathers no unsigned integers but bytes."""
    values = matrix.values
    if values.dtype.kind == "u" and values.dtype.itemsize > 1:
        values = values.astype(np.int64)
    return torch.from_numpy(np.ascontiguousarray(values)).to(device)


class DeviceStore(Store):
    """Jets on a GPU that any index vector gathers.

    The offsets stay with the CPU, where the integer work on each batch is done; 8 bytes a jet and stream.

    Parameters
    ----------
    store : Store
        The same in memory, or mapped.
    device : str
        The device: cuda.
    """

    def __init__(self, store: Store, device: str) -> None:
        super().__init__(store.columns, store.inputs, store.labels, store.numbers)
        self.device = torch.device(device)
        self._on_device = {name: DeviceColumns(self.columns[name], self.device) for name in self._gathered}

    def _gather(self, stream: str, jets: NDArray) -> tuple[Tensor | Ragged, dict[str, Tensor]]:
        """Inputs and labels of these jets (B,) of a stream, in that order, on the device."""
        rows, segments = self.columns[stream].rows(jets)
        values, labels = self._on_device[stream].gather(
            torch.from_numpy(rows).to(self.device), self.labels.get(stream, ())
        )
        return (values if segments is None else Ragged(values, segments.to(self.device))), labels

    def gather(self, index: Tensor | NDArray) -> Batch:
        """Jets of these numbers, on the device; see `Store`."""
        return super().gather(index).to(self.device)
