"""Mixing: the jets of files in a random order, for stores that memory will not hold.

Neighbours in such a store are not neighbours in the files, so that what is read together later is a fair sample.

Shapes: n jets of a pool, r rows of a stream, k columns of a matrix.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from salt.data.columns import stretches
from salt.data.reader import Reader, StreamBlock
from salt.data.windows import ShuffledBlocks

BLOCK_JETS = 2000
"""Neighbouring jets of the files that are read together: some megabytes, as HDF5 holds them."""

MIN_BLOCKS = 16
"""Of a pool, whatever the memory."""


def mixed_blocks(reader: Reader, num_jets: int, pool_jets: int, seed: int = 0) -> Iterator[dict[str, StreamBlock]]:
    """The first jets of a sample, each once: blocks of neighbours in a random order, shuffled in pools of many blocks.

    Parameters
    ----------
    reader : Reader
        Reads them.
    num_jets : int
        How many.
    pool_jets : int
        Jets that are in memory together.
    seed : int
        The order depends on it alone.
    """
    block = -(-BLOCK_JETS // reader.chunk) * reader.chunk
    pools = ShuffledBlocks(num_jets, block, max(pool_jets // block, MIN_BLOCKS), seed, 0)
    for pool in range(len(pools)):
        ranges = pools.ranges(pool)
        parts = [part for first, count in ranges for _, part in reader.blocks(first, count)]
        numbers = np.concatenate([np.arange(first, first + count) for first, count in ranges])
        jets = np.searchsorted(numbers, pools.positions(pool).numpy())
        yield {name: _taken(_joined([part[name] for part in parts]), jets) for name in reader.streams}


def _joined(blocks: Sequence[StreamBlock]) -> StreamBlock:
    """All blocks as one."""
    inputs = [np.concatenate(parts) for parts in zip(*(block.inputs for block in blocks), strict=True)]
    labels = [np.concatenate(parts) for parts in zip(*(block.labels for block in blocks), strict=True)]
    return StreamBlock(inputs, labels, np.concatenate([block.lengths for block in blocks]))


def _taken(block: StreamBlock, jets: NDArray) -> StreamBlock:
    """These jets (n,) of a block, in this order."""
    starts = np.cumsum(block.lengths) - block.lengths
    lengths = block.lengths[jets]
    rows = stretches(starts[jets], lengths)
    return StreamBlock([m.take(rows, 0) for m in block.inputs], [m.take(rows, 0) for m in block.labels], lengths)
