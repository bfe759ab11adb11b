"""RowView: the fields of records, those of their jets, and what is derived of both, under one name each.

Shapes: n jets of a block, L slots, r rows (jets, or kept constituents).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from salt.data.derive import Derivation


class RowView(Mapping[str, NDArray]):
    """Field -> its values, of the shape of the records: (r,), or (n, L) with its slots without constituents.

    Parameters
    ----------
    records : NDArray
        Structured records.
    derivations : Sequence[Derivation]
        What else there is; made when it is asked for.
    jets : RowView | None
        The jets' own fields, as `jets.pt`; None for the jets themselves.
    prefix : str
        Name of the global object: jets.
    owner : NDArray
        Index into the jets that gives each record its own: (r,), or (n, 1) for slots.
    """

    def __init__(
        self,
        records: NDArray,
        derivations: Sequence[Derivation] = (),
        jets: RowView | None = None,
        prefix: str = "jets",
        owner: NDArray | None = None,
    ) -> None:
        self.records = records
        self.derivations = {derivation.name: derivation for derivation in derivations}
        self.jets = jets
        self.prefix = f"{prefix}."
        self.owner = owner
        self._made: dict[str, NDArray] = {}
        self._making: set[str] = set()

    def __getitem__(self, name: str) -> NDArray:
        if name in self.derivations and name not in self._made and name not in self._making:
            self._make(name)
        if name in self._made:
            return self._made[name]
        if self.jets is not None and name.startswith(self.prefix):
            return np.broadcast_to(self.jets[name.removeprefix(self.prefix)][self.owner], self.records.shape)
        if name not in (self.records.dtype.names or ()):
            raise ValueError(f"{self.derivations[name].key}: {name} is needed for itself, in a circle of new variables")
        return self.records[name]

    def _make(self, name: str) -> None:
        """Compute a column; where it replaces a field, it is made of that field."""
        self._making.add(name)
        with np.errstate(all="ignore"):  # slots without a constituent hold anything
            self._made[name] = self.derivations[name].compute(self)
        self._making.remove(name)

    def with_labels(self, derivations: Sequence[Derivation]) -> LabelView:
        """The same rows as losses see them, in which these columns come before the fields of their names."""
        return LabelView(self, derivations)

    def is_field(self, name: str) -> bool:
        """Whether that is a field of the records, as it is there."""
        return name in (self.records.dtype.names or ()) and name not in self.derivations

    def jet_of(self, row: int) -> int:
        """The jet that a record belongs to, counted through their shape."""
        return row if self.owner is None else int(np.broadcast_to(self.owner, self.records.shape).reshape(-1)[row])

    def __iter__(self) -> Iterator[str]:
        yield from dict.fromkeys([*(self.records.dtype.names or ()), *self.derivations])
        if self.jets is not None:
            yield from (self.prefix + name for name in self.jets)

    def __len__(self) -> int:
        return sum(1 for _ in self)


class LabelView(RowView):
    """Rows as losses see them. Each label is made of what inputs are made of, never of other labels, nor for inputs.

    Parameters
    ----------
    inputs : RowView
        The rows as inputs see them.
    derivations : Sequence[Derivation]
        How labels are made.
    """

    def __init__(self, inputs: RowView, derivations: Sequence[Derivation]) -> None:
        super().__init__(inputs.records, derivations, inputs.jets, inputs.prefix.removesuffix("."), inputs.owner)
        self.inputs = inputs

    def __getitem__(self, name: str) -> NDArray:
        if name not in self.derivations:
            return self.inputs[name]
        if name not in self._made:
            self._made[name] = self.derivations[name].compute(self.inputs)
        return self._made[name]

    def is_field(self, name: str) -> bool:
        """Whether that is a field of the records, as it is there."""
        return name not in self.derivations and self.inputs.is_field(name)
