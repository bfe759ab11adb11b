"""Store: jets in memory, or mapped from disk, that any index vector gathers.

Shapes: N jets of the store, B jets of a batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from salt.data.columns import Columns, Gathered
from salt.types import Batch


class Store:
    """Jets that any index vector gathers.

    Parameters
    ----------
    columns : Mapping[str, Columns]
        Stream -> its columns.
    inputs : Sequence[str]
        The streams that are inputs.
    labels : Mapping[str, Sequence[str]]
        Stream -> the labels that a batch has.
    numbers : NDArray | None
        (N,) the jets' numbers in the sample, rising; None where the store holds the first jets of the sample.
    """

    def __init__(
        self,
        columns: Mapping[str, Columns],
        inputs: Sequence[str],
        labels: Mapping[str, Sequence[str]],
        numbers: NDArray | None = None,
    ) -> None:
        self.columns = dict(columns)
        self.inputs = list(inputs)
        self.labels = {stream: list(dict.fromkeys(names)) for stream, names in labels.items() if names}
        self.numbers = numbers
        self.num_jets = next(iter(self.columns.values())).num_jets
        # of streams that are neither inputs nor have labels nothing is gathered
        self._gathered = [stream for stream in self.columns if stream in self.inputs or stream in self.labels]

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

    def has(self, jets: NDArray) -> NDArray[np.bool_]:
        """(B,) bool: which of these jets (B,) of the sample are in the store."""
        if self.numbers is None:
            return jets < self.num_jets
        places = np.searchsorted(self.numbers, jets)
        return self.numbers[np.minimum(places, self.num_jets - 1)] == jets

    def gather(self, index: Tensor | NDArray) -> Batch:
        """Jets of these numbers, sorted by their number of constituents, so that equal lengths are neighbours.

        Parameters
        ----------
        index : Tensor | NDArray
            (B,) int64 numbers of jets in the sample; the same jets in the batch's order are its `index`.
        """
        return self.gather_all([np.asarray(index)])[0]

    def gather_all(self, parts: Sequence[NDArray]) -> list[Batch]:
        """Several batches, as `gather` gives them, for less than one after the other.

        Parameters
        ----------
        parts : Sequence[NDArray]
            (B,) numbers of the jets of each batch.
        """
        known = self.numbers
        jets = [self._sorted(part if known is None else np.searchsorted(known, part)) for part in parts]
        gathered = {stream: self._gather(stream, jets) for stream in self._gathered}
        return [
            Batch(
                inputs={stream: gathered[stream][i].values for stream in self.inputs},
                labels={stream: gathered[stream][i].labels for stream in self.labels},
                index=torch.from_numpy(of if known is None else known[of]),
            )
            for i, of in enumerate(jets)
        ]

    def _sorted(self, jets: NDArray) -> NDArray:
        """These jets (B,) by their number of constituents."""
        lengths = np.zeros(len(jets), np.int64)
        for stream in self._gathered:
            lengths += self.columns[stream].lengths(jets)
        kind = np.int16 if lengths.max(initial=0) < 2**15 else np.int64  # sorted by their bytes where they are short
        return jets[lengths.astype(kind).argsort(kind="stable")]

    def _gather(self, stream: str, parts: Sequence[NDArray]) -> list[Gathered]:
        """What each batch has of a stream."""
        return self.columns[stream].gather(parts, self.labels.get(stream, ()))
