"""Labels of constituents that are malformed."""

from __future__ import annotations

from typing import Any

import numpy as np

from salt.data.derive import Derivation, Rows

NUM_ORIGINS = 8
"""Classes of truthOriginLabel: pileup, fake, primary, b, b -> c, c, tau, other secondary."""

INVALID = -1
"""Cross-entropies ignore it."""


class Recovered(Derivation):
    """The origin of constituents, -1 where it is none that a task can learn from or ignores: -2, -1 or a class.

    The constituents stay: whether they are there must not depend on the truth, which nobody knows in collision data.

    Parameters
    ----------
    name : str
        Field of the origin.
    num_classes : int
        Origins are 0 to one less.
    """

    def __init__(self, name: str = "truthOriginLabel", num_classes: int = NUM_ORIGINS) -> None:
        super().__init__(name, "data.recover_malformed")
        self.num_classes = num_classes

    def reads(self) -> list[str]:
        """The origin."""
        return [self.name]

    def compute(self, rows: Rows) -> np.ndarray:
        """(r,) int64."""
        origin = rows[self.name]
        known = (origin >= -2) & (origin < self.num_classes)
        return np.where(known, origin, INVALID).astype(np.int64)

    def describe(self) -> dict[str, Any]:
        """The label and its classes."""
        return {"kind": "recovered", "name": self.name, "num_classes": self.num_classes}
