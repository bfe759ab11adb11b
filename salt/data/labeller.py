"""Classes of jets, worked out from truth fields by the definitions of atlas-ftag-tools.

Shapes: r rows, jets of one block.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from salt.data.derive import Derivation, RowError, Rows
from salt.data.names import unknown
from salt.data.selections import passed

UNLABELLED = -1
"""Class of jets of no class: cross-entropies ignore it."""
_KEY = "data.labeller_config"

RENAMED = {"qcdxx": "qcdll"}
"""Names of classes in older configs -> what atlas-ftag-tools calls them today."""


@dataclass(frozen=True)
class LabellerConfig:
    """Classes that are worked out while jets are read.

    Parameters
    ----------
    use_labeller : bool
        Whether they are; else the file's own are read.
    class_names : list[str] | None
        Their names; needed where the labeller is used.
    require_labels : bool
        Whether a jet of no class is an error; else the loss ignores it.
    """

    use_labeller: bool
    class_names: list[str] | None = None
    require_labels: bool = True


class Labeller(Derivation):
    """Class of each jet: its place in `class_names`; a jet of several classes has the last of them.

    Parameters
    ----------
    class_names : Sequence[str]
        Names that atlas-ftag-tools knows: [bjets, cjets, ujets].
    require_labels : bool
        Whether a jet of no class is an error; else its class is -1, which the loss ignores.
    name : str
        Name of the label.
    """

    def __init__(
        self,
        class_names: Sequence[str] | None = None,
        require_labels: bool = True,
        name: str = "flavour_label",
    ) -> None:
        super().__init__(name, f"{_KEY}.class_names")
        if not class_names:
            raise ValueError(f"{_KEY}.use_labeller needs class_names, the classes of {name}: [bjets, cjets, ujets]")
        from ftag import Flavours  # takes a tenth of a second, which few commands need

        known = [flavour.name for flavour in Flavours]
        for each in class_names:
            if RENAMED.get(each, each) not in known:
                raise ValueError(unknown("class", each, known, f"atlas-ftag-tools ({self.key})"))
        self.require_labels = require_labels
        self.cuts = {each: list(Flavours[RENAMED.get(each, each)].cuts) for each in class_names}

    def reads(self) -> list[str]:
        """Truth fields that the classes are cut on."""
        return list(dict.fromkeys(cut.variable for cuts in self.cuts.values() for cut in cuts))

    def compute(self, rows: Rows) -> np.ndarray:
        """(r,) int64 class of each jet."""
        labels = np.full(rows[self.reads()[0]].shape, UNLABELLED, np.int64)
        for place, cuts in enumerate(self.cuts.values()):
            labels[passed(cuts, rows)] = place
        if self.require_labels:
            self._check(labels, rows)
        return labels

    def _check(self, labels: np.ndarray, rows: Rows) -> None:
        """Raise where a jet has no class."""
        without = np.flatnonzero(labels == UNLABELLED)
        if len(without) == 0:
            return
        first = int(without[0])
        values = ", ".join(f"{field} = {rows[field][first]}" for field in self.reads())
        raise RowError(
            f"{len(without)} of {len(labels)} jets are of none of the classes {', '.join(self.cuts)} ({self.key}); "
            f"the first has {values}; add its class, or set {_KEY}.require_labels: false to leave such jets out of "
            "the loss",
            first,
        )

    def describe(self) -> dict[str, Any]:
        """The classes and their cuts."""
        classes = {name: [str(cut) for cut in cuts] for name, cuts in self.cuts.items()}
        return {"kind": "labeller", "name": self.name, "classes": classes, "require_labels": self.require_labels}
