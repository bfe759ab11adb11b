"""DeviceStore: a store whose columns are on a GPU, where batches are gathered too.

Shapes: N jets of the store, B jets of a batch, t their rows of a stream.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from torch import Tensor

from salt.data.columns import Columns, Gathered
from salt.data.store import Store
from salt.ragged import Ragged
from salt.types import Batch

PIECE_ROWS = 2**20
"""Rows of a matrix that are moved at once."""


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
        rows, record = columns.rows, columns.record
        self.inputs = [_moved(group.of(rows), np.float32, device) for group in record.inputs]
        self.labels = [(group.names, _moved(group.of(rows), np.int64, device)) for group in record.labels]
        self.device = device

    def gather(self, rows: Tensor, labels: Sequence[str]) -> tuple[Tensor, dict[str, Tensor]]:
        """Values (t, F) and labels (t,) of these rows (t,)."""
        parts = [matrix.index_select(0, rows).float() for matrix in self.inputs]
        values = torch.cat(parts, 1) if parts else torch.empty(len(rows), 0, device=self.device)
        found: dict[str, Tensor] = {}
        for names, matrix in self.labels:
            taken = matrix.index_select(0, rows) if set(names) & set(labels) else None
            for column, name in enumerate(names):
                if taken is not None and name in labels:
                    found[name] = taken[:, column].to(torch.float32 if matrix.is_floating_point() else torch.int64)
        return values, {name: found[name] for name in labels}


def _moved(values: NDArray, final: DTypeLike, device: torch.device) -> Tensor:
    """The values (r, k) on the device; as `final` where they are unsigned integers, of which torch gathers bytes alone.

    They go piece by piece: torch warns of mapped files, which it cannot write to.
    """
    is_known = values.dtype.kind != "u" or values.dtype.itemsize == 1
    dtype = values.dtype if is_known else np.dtype(final)
    moved = torch.empty(values.shape, dtype=torch.from_numpy(np.empty(0, dtype)).dtype, device=device)
    for start in range(0, len(values), PIECE_ROWS):
        moved[start : start + PIECE_ROWS] = torch.from_numpy(values[start : start + PIECE_ROWS].astype(dtype))
    return moved


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

    def _gather(self, stream: str, parts: Sequence[NDArray]) -> list[Gathered]:
        """What each batch has of a stream, on the device."""
        return [self._one(stream, jets) for jets in parts]

    def _one(self, stream: str, jets: NDArray) -> Gathered:
        columns = self.columns[stream]
        places, segments = torch.from_numpy(columns.places(jets)).to(self.device), columns.segments(jets)
        values, labels = self._on_device[stream].gather(places, self.labels.get(stream, ()))
        return Gathered(values if segments is None else Ragged(values, segments.to(self.device)), labels)

    def gather_all(self, parts: Sequence[NDArray]) -> list[Batch]:
        """Several batches, on the device; see `Store`."""
        return [batch.to(self.device) for batch in super().gather_all(parts)]
