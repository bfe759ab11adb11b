"""EpochOrder: which jets each batch of an epoch holds.

Shapes: N jets, B jets of one rank's batch.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor


class EpochOrder:
    """An exact permutation of the jets for each epoch, cut into batches, the same on every rank.

    Its whole state is (seed, epoch, step): nothing has to be saved but these three numbers. Batch k of R ranks
    with batch size B holds together the same jets as batch k of one rank with batch size R x B.

    Parameters
    ----------
    num_jets : int
        N.
    batch_size : int
        Jets of each rank's batch.
    seed : int
        The order of an epoch depends on it and the epoch's number alone.
    shuffle : bool
        False gives the jets in the order of the file, in each epoch.
    rank : int
        Which of the ranks this is.
    num_ranks : int
        How many ranks share the jets.
    drop_last : bool
        Drop the last batch of an epoch where it is not full.
    """

    def __init__(
        self,
        num_jets: int,
        batch_size: int,
        seed: int = 0,
        shuffle: bool = True,
        rank: int = 0,
        num_ranks: int = 1,
        drop_last: bool = False,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"data.batch_size is {batch_size}; it must be at least 1")
        self.num_jets = num_jets
        self.global_batch_size = batch_size * num_ranks
        self.seed = seed
        self.shuffle = shuffle
        self.rank = rank
        self.num_ranks = num_ranks
        full, left = divmod(num_jets, self.global_batch_size)
        self.num_batches = full + (left >= num_ranks and not drop_last)
        if self.num_batches == 0:
            raise ValueError(
                f"{num_jets} jets do not make one batch for {num_ranks} ranks with data.batch_size {batch_size}: "
                "lower it, use fewer devices, or more jets"
            )

    def __len__(self) -> int:
        return self.num_batches

    def indices(self, epoch: int) -> Tensor:
        """(N,) int64: each jet's number exactly once, in the order of this epoch."""
        if not self.shuffle:
            return torch.arange(self.num_jets)
        # neighbouring seeds and epochs must not give related orders: the sequence mixes their bits
        words = [self.seed % 2**64, epoch]
        key = int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0])
        return torch.randperm(self.num_jets, generator=torch.Generator().manual_seed(key))

    def batches(self, epoch: int, start_step: int = 0) -> Iterator[Tensor]:
        """Numbers (B,) of the jets of this rank's batches.

        A last batch that is not full is split as evenly as it goes, so that all ranks have as many batches; where
        it has fewer jets than there are ranks, it is dropped.

        Parameters
        ----------
        epoch : int
            Number of the epoch.
        start_step : int
            Number of the batches that have been seen already.
        """
        indices = self.indices(epoch)
        for step in range(start_step, self.num_batches):
            start = step * self.global_batch_size
            together = indices[start : start + self.global_batch_size]
            yield together.tensor_split(self.num_ranks)[self.rank]
