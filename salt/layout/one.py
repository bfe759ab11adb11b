"""One: a single jet, by dense operations only: what ONNX exports.

Shapes: as in `salt.layout.layout`; "..." is n.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from salt.kernels.queries import somewhere
from salt.kernels.scored import attend_alike
from salt.layout.layout import Layout, Merged
from salt.ragged import Ragged

_DOUBLINGS = 8
"""Paths of up to 2 ** 8 links are followed: no jet of the field has more tracks."""


class One(Layout):
    """The tokens (n, D) of one jet; n may be 0."""

    @classmethod
    def of(cls, stream: Ragged) -> tuple[Tensor, One]:
        return stream.values, cls()

    @classmethod
    def merge(cls, layouts: Sequence[One], num_registers: int = 0) -> OneMerge:
        return OneMerge(num_registers)

    @property
    def num_jets(self) -> int:
        return 1

    def spread(self, x: Tensor) -> Tensor:
        return x

    def attend(self, qkv: Tensor, scale: float, dropout: float = 0.0) -> Tensor:
        q, k, v = qkv.unbind(1)
        return self.attend_across(q, k, v, self, scale, dropout)

    def attend_across(self, q: Tensor, k: Tensor, v: Tensor, others: One, scale: float, dropout: float = 0.0) -> Tensor:
        q, k, v = (x.transpose(0, 1) for x in (q, k, v))  # (H, n, d) each, n of either stream
        weight = torch.softmax(q @ k.transpose(1, 2) * scale, -1)
        weight = torch.nn.functional.dropout(weight, dropout)
        return (weight @ v).transpose(0, 1)

    def attend_edges(
        self, qkv: Tensor, term: Tensor, gate: Tensor, scale: float, dropout: float = 0.0
    ) -> tuple[Tensor, Tensor]:
        q, key, v = qkv.permute(1, 2, 0, 3)  # (H, n, d) each
        logits = q @ key.transpose(1, 2) * scale + term
        weight = torch.nn.functional.dropout(logits.softmax(-1), dropout) * gate.sigmoid()
        return (weight @ v).transpose(0, 1), logits

    def square(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.pair(x)

    def attend_scored(self, score: nn.Module, q: Tensor, k: Tensor, v: Tensor, dropout: float = 0.0) -> Tensor:
        return attend_alike(score, q[None], k[None], v[None], dropout)[0]

    def pool(self, score: Tensor, x: Tensor) -> Tensor:
        return torch.softmax(score, 0).transpose(0, 1) @ x

    def slots(self, x: Tensor, count: int) -> Tensor:
        return torch.cat([x, x.new_zeros(count, x.shape[1])])[None, :count]

    def total(self, x: Tensor) -> Tensor:
        return x.sum(0, keepdim=True)

    def dot_queries(self, x: Tensor, queries: Tensor) -> Tensor:
        return x @ queries[0].transpose(0, 1)

    def attend_from(
        self, queries: Tensor, key: Tensor, value: Tensor, scale: float, allowed: Tensor | None = None
    ) -> Tensor:
        q, k, v = (x.transpose(0, 1) for x in (queries[0], key, value))  # (H, M or n, d)
        logits = q @ k.transpose(1, 2) * scale
        if allowed is not None:
            logits = logits.masked_fill(~somewhere(allowed.transpose(0, 1)), -torch.inf)
        return (torch.softmax(logits, -1) @ v).transpose(0, 1)[None]

    def attend_to(self, query: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
        q, k, v = (x.transpose(0, 1) for x in (query, keys[0], values[0]))  # (H, n or M, d)
        return (torch.softmax(q @ k.transpose(1, 2) * scale, -1) @ v).transpose(0, 1)

    def pair_map(self, fn: nn.Sequential, a: Tensor, b: Tensor) -> Tensor:
        return fn(a[:, None] + b[None])

    def pair(self, x: Tensor) -> tuple[Tensor, Tensor]:
        n = x.shape[0]  # not len(x): an export would take it for a constant
        return x[:, None].expand(-1, n), x[None].expand(n, -1)

    def swap(self, pairs: Tensor) -> Tensor:
        return pairs.transpose(0, 1)

    def connect(self, linked: Tensor) -> Tensor:
        tokens = linked.shape[0]
        reach = (linked | torch.eye(tokens, dtype=torch.bool, device=linked.device)).to(torch.float32)
        for _ in range(_DOUBLINGS):
            reach = (reach @ reach > 0).to(torch.float32)
        place = torch.arange(tokens, device=linked.device)
        return torch.where(reach > 0, place, tokens).amin(1) if tokens else place


class OneMerge(Merged):
    """Streams of one jet in one: their tokens one after the other, then the registers.

    Parameters
    ----------
    num_registers : int
        R, tokens that the jet has besides.
    """

    def __init__(self, num_registers: int = 0) -> None:
        self.layout = One()
        self._num_registers = num_registers
        self._lengths: list[int] = []

    def join(self, streams: Sequence[Tensor], registers: Tensor | None = None) -> Tensor:
        self._lengths = [stream.shape[0] for stream in streams]
        return torch.cat([*streams, registers] if registers is not None else list(streams))

    def join_edges(self, streams: Sequence[Tensor | None]) -> Tensor:
        whole, start, parts = sum(self._lengths) + self._num_registers, 0, []
        for edges, length in zip(streams, self._lengths, strict=True):
            around = (start, whole - start - length)
            parts += [] if edges is None else [torch.nn.functional.pad(edges, (0, 0, *around, *around))]
            start += length
        return torch.stack(parts).sum(0)

    def part(self, x: Tensor, stream: int) -> Tensor:
        start = sum(self._lengths[:stream])
        return x[start : start + self._lengths[stream]]

    def without_registers(self, x: Tensor) -> tuple[Tensor, Layout]:
        return x[: x.shape[0] - self._num_registers], self.layout
