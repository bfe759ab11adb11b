"""Layout: where the tokens of each jet are. Every module is written once, on tokens, and asks the layout for the rest.

Shapes: B jets, T tokens of all jets together, n tokens of the one jet, D width, H heads, d width of a head, P pairs,
M queries of each jet.
"..." below is T under `Packed` and n under `One`; pairs are (P,) under `Packed` and (n, n) under `One`. Where a token
makes a pair with itself, too, there are S, those of each jet a square of (n, n): "square" below, (S,) or (n, n).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Self

from torch import Tensor, nn

from salt.ragged import Ragged


class Layout(ABC):
    """Where the tokens of one stream are."""

    @classmethod
    @abstractmethod
    def of(cls, stream: Ragged) -> tuple[Tensor, Self]:
        """The tokens of a stream as this layout holds them, and the layout."""

    @classmethod
    @abstractmethod
    def merge(cls, layouts: Sequence[Self], num_registers: int = 0) -> Merged:
        """Put several streams of the same jets, and some registers a jet, into one."""

    @property
    @abstractmethod
    def num_jets(self) -> int:
        """B."""

    @abstractmethod
    def spread(self, x: Tensor) -> Tensor:
        """Give each token its jet's row: (B, D) -> something that adds to (..., D)."""

    @abstractmethod
    def attend(self, qkv: Tensor, scale: float, dropout: float = 0.0) -> Tensor:
        """Softmax attention inside each jet: (..., 3, H, d) -> (..., H, d)."""

    @abstractmethod
    def attend_across(
        self, q: Tensor, k: Tensor, v: Tensor, others: Self, scale: float, dropout: float = 0.0
    ) -> Tensor:
        """Softmax attention to the tokens of another stream of the same jet: (..., H, d) thrice -> (..., H, d).

        A token of a jet without such others gets 0.
        """

    @abstractmethod
    def attend_edges(
        self, qkv: Tensor, term: Tensor, gate: Tensor, scale: float, dropout: float = 0.0
    ) -> tuple[Tensor, Tensor]:
        """Attention with a term on the logit and a gate on the weight of each pair, and the logits with their terms.

        (..., 3, H, d), (H, square) twice -> (..., H, d), (H, square).
        """

    @abstractmethod
    def square(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x_i and x_j of all pairs, each token with itself included: (...) -> (square) twice."""

    @abstractmethod
    def attend_scored(self, score: nn.Module, q: Tensor, k: Tensor, v: Tensor, dropout: float = 0.0) -> Tensor:
        """Softmax attention inside each jet, of score(q_i + k_j): (..., H, d) thrice -> (..., H, d).

        The score takes (pairs, H, d) to (pairs, H), pairs of a token with itself included.
        """

    @abstractmethod
    def pool(self, score: Tensor, x: Tensor) -> Tensor:
        """Softmax-weighted mean of each jet's tokens: (..., 1), (..., D) -> (B, D)."""

    @abstractmethod
    def slots(self, x: Tensor, count: int) -> Tensor:
        """The first tokens of each jet, zeros where it has fewer: (..., D) -> (B, count, D)."""

    @abstractmethod
    def total(self, x: Tensor) -> Tensor:
        """Sum of each jet's tokens: (..., D) -> (B, D)."""

    @abstractmethod
    def dot_queries(self, x: Tensor, queries: Tensor) -> Tensor:
        """Product of each token with the queries of its jet: (..., D), (B, M, D) -> (..., M)."""

    @abstractmethod
    def attend_from(
        self, queries: Tensor, key: Tensor, value: Tensor, scale: float, allowed: Tensor | None = None
    ) -> Tensor:
        """Softmax attention of queries to the tokens of their jet: (B, M, H, d), (..., H, d) twice -> (B, M, H, d).

        Where a query may look is `allowed` (..., M); one that may look nowhere looks everywhere.
        """

    @abstractmethod
    def attend_to(self, query: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
        """Softmax attention of each token to the queries of its jet: (..., H, d), (B, M, H, d) twice -> (..., H, d)."""

    @abstractmethod
    def pair_map(self, fn: nn.Sequential, a: Tensor, b: Tensor) -> Tensor:
        """fn(a_i + b_j) for all ordered pairs of tokens of one jet: (..., D) twice -> (pairs, out)."""

    @abstractmethod
    def pair(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x_i and x_j of all pairs, for labels without gradient: (...) -> (pairs) twice."""

    @abstractmethod
    def swap(self, pairs: Tensor) -> Tensor:
        """The value of (j, i) in the place of (i, j)."""

    @abstractmethod
    def connect(self, linked: Tensor) -> Tensor:
        """For each token the place in its jet of the first one linked to it, over any number of links.

        (pairs) bool, symmetric -> (...) int64.
        """


class Merged(ABC):
    """Several streams of the same jets in one, with registers: its layout, the way in, and the way out."""

    layout: Layout

    @abstractmethod
    def join(self, streams: Sequence[Tensor], registers: Tensor | None = None) -> Tensor:
        """Tokens of all streams (..., D) and the same registers (R, D) for every jet -> merged tokens."""

    @abstractmethod
    def join_edges(self, streams: Sequence[Tensor | None]) -> Tensor:
        """What is known of the pairs of each stream, (square, E), None: nothing -> of those of the merged tokens.

        Nothing is known of a token with one of another stream, nor of the registers: zeros. To be called after `join`.
        """

    @abstractmethod
    def part(self, x: Tensor, stream: int) -> Tensor:
        """The merged tokens that came from one stream."""

    @abstractmethod
    def without_registers(self, x: Tensor) -> tuple[Tensor, Layout]:
        """The merged tokens that are no registers, and their layout."""
