"""Choice: which jets of a split are used, of those that are there."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from typing import Any

from lightning.pytorch.utilities.rank_zero import rank_zero_only
from numpy.typing import NDArray

from salt.data.folds import Stage
from salt.data.sampling import choose, columns_needed
from salt.data.splits import Split

info = rank_zero_only(logging.getLogger(__name__).info)


class Choice:
    """The jets of a fold, sampled. Validation is sampled as training is; a test is not.

    Parameters
    ----------
    sampling : Mapping[str, Any] | None
        `data.sampling`; None for all jets.
    fold : Mapping[str, Any] | None
        `data.fold`; None for no folds.
    """

    def __init__(self, sampling: Mapping[str, Any] | None = None, fold: Mapping[str, Any] | None = None) -> None:
        self._sampling = sampling
        self._fold = fold
        self.columns("train")  # raises what is wrong with the options

    def columns(self, stage: Stage) -> list[str]:
        """Columns of the global object that are needed."""
        return columns_needed(self._sampling_of(stage), self._fold)

    def jets(self, split: Split, global_object: str, stage: Stage, seed: int) -> NDArray | None:
        """(M,) the jets that are used, rising; None for all.

        Parameters
        ----------
        split : Split
            The jets that there are.
        global_object : str
            The stream that has the columns.
        stage : Stage
            train, val or test.
        seed : int
            Which jets are chosen among equals depends on it alone.
        """
        sampling = self._sampling_of(stage)
        if sampling is None and self._fold is None:
            return None
        chosen = choose(partial(split.column, global_object), split.num_jets, sampling, self._fold, seed, stage)
        info("%s jets chosen of data.%s_file:\n%s", len(chosen.index), stage, chosen.table)
        return chosen.index

    def _sampling_of(self, stage: Stage) -> Mapping[str, Any] | None:
        return None if stage == "test" else self._sampling
