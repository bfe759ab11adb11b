"""Fold: which jets a k-fold training leaves out, told by a hash of each jet.

Shapes: N jets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from salt.data.names import unknown

Stage = Literal["train", "val", "test"]

OPTIONS = ("variable", "k", "use")


@dataclass(frozen=True)
class Fold:
    """One of k parts of the jets, kept for testing.

    Parameters
    ----------
    variable : str
        Column of the global object with a hash of each jet: jetFoldHash.
    k : int
        How many folds there are; a jet's is its hash modulo k.
    use : int
        The fold that is left out of training and validation, and that alone is tested.
    """

    variable: str
    k: int
    use: int

    @classmethod
    def read(cls, options: Mapping[str, Any], key: str = "data.fold") -> Fold:
        """The fold that a YAML mapping describes; `key` is where it stands."""
        for name in options:
            if name not in OPTIONS:
                raise ValueError(unknown("option", name, OPTIONS, key))
        for name in OPTIONS:
            if name not in options:
                raise ValueError(f"{key}.{name} is missing: write {key}: {{variable: jetFoldHash, k: 4, use: 0}}")
        fold = cls(str(options["variable"]), int(options["k"]), int(options["use"]))
        if fold.k < 2:
            raise ValueError(f"{key}.k is {fold.k}; there must be at least 2 folds")
        if not 0 <= fold.use < fold.k:
            raise ValueError(f"{key}.use is {fold.use}; with {key}.k {fold.k} it is one of 0 to {fold.k - 1}")
        return fold


def in_fold(values: np.ndarray, k: int, use: int, stage: Stage) -> np.ndarray:
    """Which jets a stage uses.

    Training and validation both take the jets of all folds but `use`; what keeps them apart is that they are different
    files, as in the splits of UPP (umami-preprocessing, configs/splits/fold0.yaml: `jetFoldHash %4!= 0` for training
    and validation, `%4== 0` for the test). Testing takes fold `use` alone. k trainings test each jet exactly once, by
    the one that has not seen it.

    Parameters
    ----------
    values : np.ndarray
        (N,) hashes, of any integer type. They count as unsigned: a hash of 2**63 or more that is stored in 64 signed
        bits, and so reads as negative, stays in its fold.
    k, use : int
        As in `Fold`.
    stage : Stage
        train, val or test.

    Returns
    -------
    np.ndarray
        (N,) bool.
    """
    if values.dtype.kind not in "iu":
        raise ValueError(f"a fold needs whole numbers: the hashes are {values.dtype} (data.fold.variable)")
    tested = values.astype(np.uint64) % np.uint64(k) == np.uint64(use)
    return tested if stage == "test" else ~tested
