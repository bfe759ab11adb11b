"""Store: the jets of one file in memory, constituents packed, gathered by any index.

Shapes: N jets of the store, B jets of a batch.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from torch import Tensor

from salt.data import h5
from salt.data.columns import Columns
from salt.data.reader import NonFinite, Reader
from salt.types import Batch, Schema

warn = rank_zero_only(logging.getLogger(__name__).warning)


class Store:
    """Jets that any index vector gathers.

    Parameters
    ----------
    inputs : Mapping[str, Columns]
        Stream -> its columns, of the streams that are inputs.
    extra : Mapping[str, Columns]
        Stream -> its columns, of streams of which only labels are asked.
    """

    def __init__(self, inputs: Mapping[str, Columns], extra: Mapping[str, Columns]) -> None:
        self.inputs = dict(inputs)
        self.columns = {**inputs, **extra}
        self.num_jets = next(iter(self.columns.values())).num_jets

    def __len__(self) -> int:
        return self.num_jets

    @property
    def num_bytes(self) -> int:
        """Memory that the store takes."""
        return sum(columns.num_bytes for columns in self.columns.values())

    @property
    def num_constituents(self) -> dict[str, int]:
        """Stream -> number of its constituents; no entry for streams with one row a jet."""
        counts = {stream: columns.num_constituents for stream, columns in self.columns.items()}
        return {stream: count for stream, count in counts.items() if count}

    @classmethod
    def read(
        cls,
        file: str | Path,
        schema: Schema,
        labels: Mapping[str, Sequence[str]],
        num_jets: int = -1,
        non_finite: NonFinite = "raise",
        key: str = "data.train_file",
        num_key: str = "data.num_train",
    ) -> Store:
        """Read a file, in whole records.

        Parameters
        ----------
        file : str | Path
            HDF5 file with one structured dataset a stream.
        schema : Schema
            Which variables to read.
        labels : Mapping[str, Sequence[str]]
            Stream -> labels to read; empty for none.
        num_jets : int
            How many jets to read, from the first on; -1 for all.
        non_finite : NonFinite
            What to do about input values that are NaN or infinite.
        key, num_key : str
            YAML keys of `file` and `num_jets`, for messages.
        """
        streams = dict.fromkeys([*schema.variables, *(stream for stream, names in labels.items() if names)])
        if not streams:
            raise ValueError("nothing to read: name the input variables of each stream in data.variables")
        with h5.open_file(file, key) as source:
            datasets = {s: h5.find_dataset(source, schema.dataset(s), f"data.variables.{s}") for s in streams}
            count = _count_jets(datasets, schema, num_jets, num_key)
            readers = {
                stream: Reader(dataset, stream, schema.variables.get(stream, ()), labels.get(stream, ()), non_finite)
                for stream, dataset in datasets.items()
            }
            columns = {stream: reader.read(count) for stream, reader in readers.items()}
        inputs = {stream: columns.pop(stream) for stream in schema.variables}
        return cls(inputs, columns)

    def gather(self, index: Tensor) -> Batch:
        """Jets of these numbers, sorted by their number of constituents, so that equal lengths are neighbours.

        Parameters
        ----------
        index : Tensor
            (B,) int64 numbers of jets in the file; the same jets in the batch's order are its `index`.
        """
        lengths = torch.zeros_like(index)
        for columns in self.columns.values():
            lengths += columns.lengths(index)
        index = index[torch.argsort(lengths, stable=True)]
        gathered = {stream: columns.gather(index) for stream, columns in self.columns.items()}
        return Batch(
            inputs={stream: gathered[stream][0] for stream in self.inputs},
            labels={stream: labels for stream, (_, labels) in gathered.items() if labels},
            index=index,
        )


def _count_jets(datasets: dict[str, h5py.Dataset], schema: Schema, num_jets: int, num_key: str) -> int:
    """How many jets to read of datasets that must agree on how many there are."""
    file = next(iter(datasets.values())).file.filename
    there = {dataset.name.strip("/"): dataset.shape[0] for dataset in datasets.values()}
    if len(set(there.values())) > 1:
        raise ValueError(f"datasets of {file} differ in their number of jets: {there}; make the file again")
    jets = datasets.get(schema.global_object)
    if jets is not None and jets.ndim != 1:
        raise ValueError(
            f"dataset {jets.name.strip('/')!r} of {file} has the shape {jets.shape}, but data.global_object: "
            f"{schema.global_object} must have one row a jet; set data.global_object to the stream that has"
        )
    total = next(iter(there.values()))
    if num_jets < -1 or num_jets == 0 or total == 0:
        raise ValueError(f"no jets to read: {num_key} is {num_jets} and {file} has {total}; -1 reads all")
    if num_jets > total:
        warn("%s: %d jets asked for, %s has %d: all are used", num_key, num_jets, file, total)
    return total if num_jets == -1 else min(num_jets, total)
