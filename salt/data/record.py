"""Record: how a row of a store lies in memory: its input variables and labels side by side, gathered by one copy.

Shapes: r rows of a stream, k neighbouring columns of one type of number, F input variables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

ALIGNMENT = 4
"""Bytes that the size of a record is a multiple of."""


@dataclass(frozen=True)
class Group:
    """Neighbouring columns of one type of number.

    Parameters
    ----------
    names : tuple[str, ...]
        Their names, k of them.
    dtype : str
        Their type, as numpy writes it.
    start : int
        Where in a record they begin [bytes].
    """

    names: tuple[str, ...]
    dtype: str
    start: int

    @property
    def num_bytes(self) -> int:
        """What they take of a record."""
        return len(self.names) * np.dtype(self.dtype).itemsize

    def of(self, rows: NDArray) -> NDArray:
        """(r, k) view of these columns of rows (r,)."""
        size = np.dtype(self.dtype).itemsize
        shape, strides = (len(rows), len(self.names)), (rows.itemsize, size)
        return np.ndarray(shape, self.dtype, rows, self.start, strides) if rows.size else np.empty(shape, self.dtype)

    def put(self, rows: NDArray, values: NDArray) -> None:
        """Write values (r, k), of any type that this one holds, into rows (r,)."""
        if rows.size:
            packed = np.ascontiguousarray(values, self.dtype).view(f"V{self.num_bytes}")[:, 0]
            np.ndarray((len(rows),), packed.dtype, rows, self.start, (rows.itemsize,))[:] = packed


@dataclass(frozen=True)
class Record:
    """The type of the rows of one stream.

    Parameters
    ----------
    inputs : tuple[Group, ...]
        The input variables: all groups together have them in the order of a batch.
    labels : tuple[Group, ...]
        Labels, and whatever else is needed beside the inputs.
    """

    inputs: tuple[Group, ...]
    labels: tuple[Group, ...]

    @classmethod
    def of(cls, inputs: Sequence[tuple[str, np.dtype]], labels: Sequence[tuple[str, np.dtype]]) -> Record:
        """The record of these columns: inputs in their order, labels with those of one type side by side."""
        sorted_labels = sorted(labels, key=lambda column: (-column[1].itemsize, column[1].str))
        groups, start = [], 0
        for columns in (inputs, sorted_labels):
            of_role = []
            for dtype, run in groupby(columns, key=lambda column: column[1].str):
                of_role.append(Group(tuple(name for name, _ in run), dtype, start))
                start += of_role[-1].num_bytes
            groups.append(tuple(of_role))
        return cls(*groups)

    @cached_property
    def dtype(self) -> np.dtype:
        """Of a row: bytes, which numpy moves at once."""
        size = sum(group.num_bytes for group in (*self.inputs, *self.labels))
        return np.dtype(f"V{max(-(-size // ALIGNMENT), 1) * ALIGNMENT}")

    @cached_property
    def variables(self) -> list[str]:
        """The input variables, in the order of a batch."""
        return [name for group in self.inputs for name in group.names]

    def empty(self, num_rows: int) -> NDArray:
        """Rows (r,), to be filled; what no column fills is zero."""
        return np.zeros(num_rows, self.dtype)

    def rows_as(self, other: Record, rows: NDArray) -> NDArray:
        """The rows (r,) of this record as another one with the same columns has them."""
        new = other.empty(len(rows))
        for olds, groups in ((self.inputs, other.inputs), (self.labels, other.labels)):
            columns = {name: group.of(rows)[:, i] for group in olds for i, name in enumerate(group.names)}
            for group in groups:
                group.put(new, np.stack([columns[name].astype(group.dtype) for name in group.names], axis=1))
        return new

    def values(self, rows: NDArray) -> Tensor:
        """(r, F) float32 input variables of rows (r,)."""
        parts = [(f"f{i}", f"V{4 * len(group.names)}") for i, group in enumerate(self.inputs)]
        if not parts:
            return torch.empty(len(rows), 0)
        packed = np.empty(len(rows), parts)  # field by field: numpy is slow where the last axis is short
        for (name, _), group in zip(parts, self.inputs, strict=True):
            packed[name] = _as_floats(rows, group)
        return torch.from_numpy(packed.view(np.float32).reshape(len(rows), len(self.variables)))

    def label(self, rows: NDArray, name: str) -> Tensor:
        """(r,) a label of rows (r,) as losses want it: float32 or int64."""
        column = self.column(rows, name)
        return torch.from_numpy(column.astype(np.float32 if column.dtype.kind == "f" else np.int64))

    def column(self, rows: NDArray, name: str) -> NDArray:
        """(r,) view of a label, as it is stored."""
        group = next((group for group in self.labels if name in group.names), None)
        if group is None:
            raise KeyError(name)
        return group.of(rows)[:, group.names.index(name)]


def _as_floats(rows: NDArray, group: Group) -> NDArray:
    """(r,) k float32 of each row, as one block of bytes."""
    if rows.size == 0:
        return np.empty(0, f"V{4 * len(group.names)}")
    block = np.ndarray((len(rows),), f"V{group.num_bytes}", rows, group.start, (rows.itemsize,))
    if np.dtype(group.dtype) == np.float32:
        return block
    numbers = np.ascontiguousarray(block).view(group.dtype)
    if np.dtype(group.dtype) == np.float16:  # numpy converts these one by one, torch many at once
        return torch.from_numpy(numbers).float().numpy().view(f"V{4 * len(group.names)}")
    return numbers.astype(np.float32).view(f"V{4 * len(group.names)}")
