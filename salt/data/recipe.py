"""Recipe: what is read of each stream, what is left out, and what is made of it: all that a store depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from salt.data.derive import Derivation
from salt.data.fields import is_valid
from salt.data.rows import RowView
from salt.data.selections import Filter
from salt.types import PARAMETERS

NonFinite = Literal["raise", "zero", "keep"]
"""What happens to an input value that is NaN or infinite."""

FORMAT = 1
"""Version of the stores on disk: another one is built anew."""


@dataclass(frozen=True)
class StreamRecipe:
    """What is read of one stream.

    Parameters
    ----------
    dataset : str
        Its dataset in the file.
    variables : tuple[str, ...]
        Input variables, in the order that a batch has.
    labels : tuple[str, ...]
        Labels, and whatever else is needed beside the inputs (denominators, what jets are chosen by).
    derivations : tuple[Derivation, ...]
        Columns that the file does not have; variables, labels and filters may name them.
    label_derivations : tuple[Derivation, ...]
        Labels that the file does not have, or not so: inputs of the same name stay as they are.
    filters : tuple[Filter, ...]
        Which constituents are kept, of those that the file marks as valid.
    num_inputs : int | None
        Only the first so many slots of each jet are read; None for all.
    keeps_all : bool
        Read all slots, also those that hold nothing: all jets have equally many.
    """

    dataset: str
    variables: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    derivations: tuple[Derivation, ...] = ()
    label_derivations: tuple[Derivation, ...] = ()
    filters: tuple[Filter, ...] = ()
    num_inputs: int | None = None
    keeps_all: bool = False

    def kept(self, records: NDArray, slots: RowView) -> NDArray[np.bool_]:
        """(n, l) bool: which of the first l slots of these (n, L) records are read.

        Parameters
        ----------
        records : NDArray
            (n, L) structured.
        slots : RowView
            Their fields.
        """
        kept = np.ones(records.shape, bool) if self.keeps_all else is_valid(records)
        for each in self.filters:
            kept = kept & each.kept(slots)
        return kept if self.num_inputs is None else kept[:, : self.num_inputs]

    def describe(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "dataset": self.dataset,
            "variables": list(self.variables),
            "labels": list(self.labels),
            "derivations": [derivation.describe() for derivation in self.derivations],
            "label_derivations": [derivation.describe() for derivation in self.label_derivations],
            "filters": [each.describe() for each in self.filters],
            "num_inputs": self.num_inputs,
            "keeps_all": self.keeps_all,
        }


@dataclass(frozen=True)
class Recipe:
    """What is read of a sample.

    Parameters
    ----------
    streams : Mapping[str, StreamRecipe]
        Stream -> what is read of it.
    global_object : str
        The stream whose dataset has one row a jet.
    non_finite : NonFinite
        What to do about input values that are NaN or infinite; labels may be both.
    """

    streams: Mapping[str, StreamRecipe] = field(default_factory=dict)
    global_object: str = "jets"
    non_finite: NonFinite = "raise"

    def policy(self, stream: str) -> NonFinite:
        """What happens to values of a stream that are NaN or infinite; a parameter that is tells a background jet."""
        return "keep" if stream == PARAMETERS else self.non_finite

    def describe(self) -> dict[str, Any]:
        """As JSON has it: two recipes of the same description make the same store."""
        return {
            "format": FORMAT,
            "global_object": self.global_object,
            "non_finite": self.non_finite,
            "streams": {name: stream.describe() for name, stream in self.streams.items()},
        }

    def key(self, sources: list[str]) -> str:
        """Name of the store of these files, 12 hexadecimal digits."""
        text = json.dumps([sources, self.describe()], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]
