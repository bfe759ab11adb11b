"""Reader: turns one structured dataset of a file into columns.

Shapes: n jets of a block, L slots, r rows (jets, or valid constituents), F input variables.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import h5py
import numpy as np
import torch
from torch import Tensor

from salt.data import h5
from salt.data.columns import Columns, ConstituentColumns, JetColumns

NonFinite = Literal["raise", "zero", "keep"]
"""What happens to an input value that is NaN or infinite."""


class Block(NamedTuple):
    """What a block of records becomes: one array (r, F), the labels' (r,) each, and (n,) rows of each jet."""

    values: np.ndarray
    labels: list[np.ndarray]
    lengths: np.ndarray


class Reader:
    """Reads the input variables and labels of one stream.

    Parameters
    ----------
    dataset : h5py.Dataset
        (N,) jets, or (N, L) constituents; of these the slots that `valid` marks are read.
    stream : str
        Name of the stream, for messages.
    variables : Sequence[str]
        Fields that become float32 input variables, in column order.
    labels : Sequence[str]
        Fields that become labels: int64 where they are integers or booleans, else float32.
    non_finite : NonFinite
        What to do about input values that are NaN or infinite; labels may be both.
    """

    def __init__(
        self,
        dataset: h5py.Dataset,
        stream: str,
        variables: Sequence[str] = (),
        labels: Sequence[str] = (),
        non_finite: NonFinite = "raise",
    ) -> None:
        h5.check_fields(dataset, variables, "variable", f"data.variables.{stream}")
        h5.check_fields(dataset, labels, "label", f"asked for by the tasks of {stream}")
        self.dataset = dataset
        self.variables = list(variables)
        self.labels = list(dict.fromkeys(labels))
        self.non_finite = non_finite

    def read(self, num_jets: int) -> Columns:
        """Columns of the first jets of the file."""
        blocks = [self._convert(first, records) for first, records in h5.blocks(self.dataset, num_jets)]
        lengths = np.concatenate([block.lengths for block in blocks])
        columns = [[block.labels[place] for block in blocks] for place in range(len(self.labels))]
        labels = {label: _join(parts) for label, parts in zip(self.labels, columns, strict=True)}
        matrices = [block.values for block in blocks]
        del blocks, columns
        values = _join(matrices)
        if self.dataset.ndim == 1:
            return JetColumns(values, labels)
        offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        return ConstituentColumns(values, labels, torch.from_numpy(offsets))

    def _convert(self, first: int, records: np.ndarray) -> Block:
        """Rows of the records (n,) or (n, L) of the jets from number `first` on."""
        lengths = np.ones(len(records), np.int64)
        if records.ndim == 2:
            valid = h5.is_valid(records)
            lengths = valid.sum(axis=1)
            records = records.reshape(-1).take(np.flatnonzero(valid))
        values = _matrix(records, self.variables)
        if self.non_finite != "keep" and not np.isfinite(values).all():
            self._mend(values, lengths, first)
        return Block(values, [self._label(records, name) for name in self.labels], lengths)

    def _label(self, records: np.ndarray, name: str) -> np.ndarray:
        kind = np.float32 if self.dataset.dtype[name].kind == "f" else np.int64
        return records[name].astype(kind)

    def _mend(self, values: np.ndarray, lengths: np.ndarray, first: int) -> None:
        """Replace non-finite values (r, F) by 0, or raise and say where they are."""
        bad = ~np.isfinite(values)
        if self.non_finite == "zero":
            values[bad] = 0
            return
        row, column = (int(place[0]) for place in np.nonzero(bad))
        jet = first + int(np.searchsorted(np.cumsum(lengths), row, side="right"))
        counts = dict(zip(self.variables, bad.sum(axis=0).tolist(), strict=True))
        found = ", ".join(f"{name} {count}" for name, count in counts.items() if count)
        last = first + len(lengths) - 1
        raise ValueError(
            f"{self.variables[column]} is {values[row, column]} in jet {jet} of dataset "
            f"{self.dataset.name.strip('/')!r} of {self.dataset.file.filename}; non-finite values among jets "
            f"{first} to {last}: {found}. Mend the file, or set data.non_finite_to_num: true (they become 0) "
            "or data.ignore_finite_checks: true (they stay)"
        )


def _matrix(records: np.ndarray, names: list[str]) -> np.ndarray:
    """(r, F) float32 of the fields of records (r,).

    Field by field is ten times slower than to cut out one slab of each record and choose its columns.
    """
    groups: dict[int | None, list[str]] = {}  # fields whose places in a record are whole floats apart; None: others
    for name in names:
        is_float = records.dtype[name] == np.float32
        groups.setdefault(_offset(records, name) % 4 if is_float else None, []).append(name)
    parts = [_cast(records, group) if key is None else _slab(records, group) for key, group in groups.items()]
    if len(parts) == 1:
        return parts[0]
    found = [name for group in groups.values() for name in group]
    places = np.array([found.index(name) for name in names], np.intp)
    return np.concatenate([np.empty((len(records), 0), np.float32), *parts], axis=1).take(places, axis=1)


def _offset(records: np.ndarray, name: str) -> int:
    """Where a field starts in its record, in bytes."""
    fields = records.dtype.fields
    assert fields is not None  # h5.find_dataset lets structured datasets pass only
    return fields[name][1]


def _slab(records: np.ndarray, names: list[str]) -> np.ndarray:
    """(r, F) of float32 fields that lie whole floats apart."""
    offsets = [_offset(records, name) for name in names]
    start, width = min(offsets), max(offsets) - min(offsets) + 4
    slab = np.ascontiguousarray(records.getfield(np.dtype(f"V{width}"), start))
    floats = slab.view(np.float32).reshape(len(records), width // 4)
    return floats.take([(offset - start) // 4 for offset in offsets], axis=1)


def _cast(records: np.ndarray, names: list[str]) -> np.ndarray:
    """(r, F) float32 of fields of any type of number."""
    values = np.empty((len(records), len(names)), np.float32)
    with np.errstate(over="ignore"):  # what is too large for float32 is infinite, and told as such
        for column, name in enumerate(names):
            values[:, column] = records[name]
    return values


def _join(parts: list[np.ndarray]) -> Tensor:
    """One tensor of the parts, each of which is freed once it is copied."""
    joined = np.empty((sum(map(len, parts)), *parts[0].shape[1:]), parts[0].dtype)
    start = 0
    for place in range(len(parts)):
        part, parts[place] = parts[place], parts[0][:0]
        joined[start : start + len(part)] = part
        start += len(part)
    return torch.from_numpy(joined)
