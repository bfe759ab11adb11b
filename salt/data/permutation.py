"""Permutation: the numbers 0 to n - 1 in an order that a key alone decides, any stretch of which can be asked for."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import numpy as np
import torch
from torch import Tensor

MAX_DRAWN = 10_000_000
"""Up to this many numbers a permutation is drawn into an array (80 MB, 0.3 s); beyond, it is computed by stretches."""

NUM_ROUNDS = 8
"""Of the Feistel network: 4 are a proof on large domains, the others are for small ones."""


class Permutation(ABC):
    """The numbers 0 to n - 1, each exactly once."""

    @abstractmethod
    def part(self, start: int, stop: int) -> Tensor:
        """(stop - start,) int64: the numbers at these places of the order; 0 <= start <= stop <= n."""


class Identity(Permutation):
    """The numbers in their own order."""

    def part(self, start: int, stop: int) -> Tensor:
        """(stop - start,) int64."""
        return torch.arange(start, stop)


class DrawnPermutation(Permutation):
    """An array of all numbers, shuffled by torch.

    Parameters
    ----------
    num : int
        n.
    sequence : np.random.SeedSequence
        The key.
    """

    def __init__(self, num: int, sequence: np.random.SeedSequence) -> None:
        key = int(sequence.generate_state(1, np.uint64)[0])
        self.numbers = torch.randperm(num, generator=torch.Generator().manual_seed(key))

    def part(self, start: int, stop: int) -> Tensor:
        """(stop - start,) int64: a view."""
        return self.numbers[start:stop]


class KeyedPermutation(Permutation):
    """A keyed bijection of [0, n) that needs no array: place -> number is computed, so that a resume is a seek.

    A Feistel network on the residues (left, right) of a rectangle of ceil(sqrt(n)) x ceil(n / ceil(sqrt(n))) numbers
    (J. Black, P. Rogaway, Ciphers with arbitrary finite domains, CT-RSA 2002); the few numbers of the rectangle that
    are n or more walk on along their cycle until they are not. Its round function is the finaliser of splitmix64.

    Parameters
    ----------
    num : int
        n, up to 2**63 - 1.
    sequence : np.random.SeedSequence
        The key.
    """

    def __init__(self, num: int, sequence: np.random.SeedSequence) -> None:
        self.num = num
        rows = math.isqrt(max(num - 1, 0)) + 1
        self.rows, self.columns = np.uint64(rows), np.uint64(-(-num // rows))
        self.keys = sequence.generate_state(NUM_ROUNDS, np.uint64)

    def part(self, start: int, stop: int) -> Tensor:
        """(stop - start,) int64."""
        numbers = self._rectangle(np.arange(start, stop, dtype=np.uint64))
        while len(outside := np.flatnonzero(numbers >= np.uint64(self.num))):
            numbers[outside] = self._rectangle(numbers[outside])
        return torch.from_numpy(numbers.view(np.int64))

    def _rectangle(self, numbers: np.ndarray) -> np.ndarray:
        """One turn of the network, on all numbers below rows x columns."""
        left, right = np.divmod(numbers, self.columns)
        for round_, key in enumerate(self.keys):
            if round_ % 2:
                right = (right + _mixed(left, key)) % self.columns
            else:
                left = (left + _mixed(right, key)) % self.rows
        return left * self.columns + right


def permutation(num: int, seed: int, epoch: int, *part: int) -> Permutation:
    """The permutation of an epoch.

    Parameters
    ----------
    num : int
        n.
    seed, epoch : int
        Its key; the seed counts modulo 2**64.
    *part : int
        Which of several permutations of one epoch this is; none for the first.
    """
    # neighbouring seeds and epochs must not give related orders: the sequence mixes their bits
    sequence = np.random.SeedSequence([seed % 2**64, epoch], spawn_key=part)
    return DrawnPermutation(num, sequence) if num <= MAX_DRAWN else KeyedPermutation(num, sequence)


def _mixed(numbers: np.ndarray, key: np.uint64) -> np.ndarray:
    """63 bits that depend on all bits of the number and the key; one less than 64, so that a sum does not overflow."""
    bits = (numbers + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15) ^ key
    bits ^= bits >> np.uint64(30)
    bits *= np.uint64(0xBF58476D1CE4E5B9)
    bits ^= bits >> np.uint64(27)
    bits *= np.uint64(0x94D049BB133111EB)
    bits ^= bits >> np.uint64(31)
    return bits >> np.uint64(1)
