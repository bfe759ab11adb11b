"""Draws: random numbers that depend on what they are for, and on nothing else.

A number is a hash of (key, purpose, jet, row in the jet): the same whichever batch, worker or rank draws it, and
whatever was drawn before. The hash is a step of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number
generators, 2014), which is a bijection of 64 bits.

Shapes: r rows.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_ROW_BITS = 16
"""Bits of the counter that rows have: jets have 48, and neither comes near its end."""
_HALF_BITS = 24
"""Bits of each of the two uniform numbers of a hash: as many as a float32 holds."""


def bits(
    key: int,
    purpose: str,
    jets: NDArray[np.integer],
    rows: NDArray[np.integer] | None = None,
) -> NDArray[np.uint64]:
    """(r,) 64 random bits for each row.

    Parameters
    ----------
    key : int
        Of the seed and the epoch.
    purpose : str
        What the numbers are for: other purposes have others.
    jets : NDArray[np.integer]
        (r,) number of each row's jet.
    rows : NDArray[np.integer] | None
        (r,) place of each row in its jet; None for jets.
    """
    start = hashlib.blake2b(f"{key} {purpose}".encode(), digest_size=8).digest()
    count = jets.astype(np.uint64) << np.uint64(_ROW_BITS)
    if rows is not None:
        count |= rows.astype(np.uint64)
    z = count * _GOLDEN + np.frombuffer(start, np.uint64)  # arrays of integers wrap, as is meant
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(z ^ (z >> np.uint64(31)), np.uint64)


def uniforms(
    key: int,
    purpose: str,
    jets: NDArray[np.integer],
    rows: NDArray[np.integer] | None = None,
) -> NDArray[np.float64]:
    """(r,) numbers in [0, 1); parameters as those of `bits`."""
    return (bits(key, purpose, jets, rows) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def normals(
    key: int,
    purpose: str,
    jets: NDArray[np.integer],
    rows: NDArray[np.integer] | None = None,
) -> NDArray[np.float32]:
    """(r,) normal numbers of mean 0 and deviation 1, none beyond 5.8; parameters as those of `bits`."""
    drawn = bits(key, purpose, jets, rows)
    scale = np.float32(2.0**-_HALF_BITS)
    high = (drawn >> np.uint64(64 - _HALF_BITS)).astype(np.float32)
    low = (drawn & np.uint64(2**_HALF_BITS - 1)).astype(np.float32)
    radius = np.sqrt(np.float32(-2) * np.log((high + np.float32(1)) * scale))  # of a number in (0, 1]
    return np.asarray(radius * np.cos(np.float32(2 * np.pi) * scale * low), np.float32)
