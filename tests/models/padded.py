"""The oracle: a layout that holds every jet in 43 slots with masks, the way the field has always done it.

Shapes: B jets, L slots, D width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from salt.layout import Layout, Merged
from salt.ragged import Ragged

SLOTS = 43


class Padded(Layout):
    """Tokens (B, L, D), and which of them are real (B, L)."""

    def __init__(self, valid: Tensor) -> None:
        self.valid = valid

    @classmethod
    def of(cls, stream: Ragged) -> tuple[Tensor, Padded]:
        lengths = stream.segments.lengths
        valid = torch.arange(SLOTS) < lengths[:, None]
        padded = stream.values.new_full((*valid.shape, *stream.values.shape[1:]), 77)
        padded[valid] = stream.values
        return padded, cls(valid)

    @classmethod
    def merge(cls, layouts: Sequence[Padded], num_registers: int = 0) -> PaddedMerge:
        return PaddedMerge([layout.valid for layout in layouts], num_registers)

    @property
    def num_jets(self) -> int:
        return len(self.valid)

    def spread(self, x: Tensor) -> Tensor:
        return x[:, None]

    def attend(self, qkv: Tensor, scale: float, dropout: float = 0.0) -> Tensor:
        return self.attend_across(*qkv.unbind(2), self, scale)

    def attend_across(
        self, q: Tensor, k: Tensor, v: Tensor, others: Padded, scale: float, dropout: float = 0.0
    ) -> Tensor:
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))
        logits = (q @ k.transpose(-1, -2) * scale).masked_fill(~others.valid[:, None, None], -torch.inf)
        weight = logits.softmax(-1).nan_to_num(0)
        return (weight @ v).transpose(1, 2)

    def attend_edges(self, qkv: Tensor, term: Tensor, gate: Tensor, scale: float, dropout: float = 0.0):
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        logits = q @ k.transpose(-1, -2) * scale + term.transpose(0, 1)
        weight = logits.masked_fill(~self.valid[:, None, None], -torch.inf).softmax(-1).nan_to_num(0)
        weight = weight * gate.transpose(0, 1).sigmoid()
        return (weight @ v).transpose(1, 2), logits.transpose(0, 1)

    def square(self, x: Tensor) -> tuple[Tensor, Tensor]:
        full = (*x.shape, x.shape[1])
        return x[:, :, None].expand(full), x[:, None].expand(full)

    def attend_scored(self, score: nn.Module, q: Tensor, k: Tensor, v: Tensor, dropout: float = 0.0) -> Tensor:
        logits = score(q[:, :, None] + k[:, None]).masked_fill(~self.valid[:, None, :, None], -torch.inf)
        return torch.einsum("bijh,bjhd->bihd", logits.softmax(2).nan_to_num(0), v)

    def pool(self, score: Tensor, x: Tensor) -> Tensor:
        weight = score.masked_fill(~self.valid[..., None], -torch.inf).softmax(1).nan_to_num(0)
        return (weight * x).sum(1)

    def slots(self, x: Tensor, count: int) -> Tensor:
        return x.where(self.valid[..., None], 0)[:, :count]

    def total(self, x: Tensor) -> Tensor:
        return x.where(self.valid[..., None], 0).sum(1)

    def dot_queries(self, x: Tensor, queries: Tensor) -> Tensor:
        return torch.einsum("bld,bmd->blm", x, queries)

    def attend_from(self, queries, key, value, scale, allowed=None) -> Tensor:
        allowed = self.valid[..., None] if allowed is None else allowed & self.valid[..., None]
        allowed = torch.where(allowed.any(1, keepdim=True), allowed, self.valid[..., None])  # (B, L, M)
        logits = torch.einsum("bmhd,blhd->bhml", queries, key) * scale
        logits = logits.masked_fill(~allowed.transpose(1, 2)[:, None], -torch.inf)
        return torch.einsum("bhml,blhd->bmhd", logits.softmax(-1).nan_to_num(0), value)

    def attend_to(self, query, keys, values, scale) -> Tensor:
        weight = (torch.einsum("blhd,bmhd->bhlm", query, keys) * scale).softmax(-1)
        return torch.einsum("bhlm,bmhd->blhd", weight, values)

    def _pairs(self) -> Tensor:
        apart = ~torch.eye(self.valid.shape[1], dtype=torch.bool)
        return self.valid[:, :, None] & self.valid[:, None] & apart

    def pair_map(self, fn: nn.Module, a: Tensor, b: Tensor) -> Tensor:
        return fn(a[:, :, None] + b[:, None])[self._pairs()]

    def pair(self, x: Tensor) -> tuple[Tensor, Tensor]:
        full = (*x.shape, x.shape[1])
        return x[:, :, None].expand(full)[self._pairs()], x[:, None].expand(full)[self._pairs()]

    def _square(self, pairs: Tensor) -> Tensor:
        square = pairs.new_zeros(self._pairs().shape)
        square[self._pairs()] = pairs
        return square

    def swap(self, pairs: Tensor) -> Tensor:
        return self._square(pairs).transpose(1, 2)[self._pairs()]

    def connect(self, linked: Tensor) -> Tensor:
        square = self._square(linked)
        place = torch.arange(square.shape[1]).expand(square.shape[:2]).clone()
        for _ in range(square.shape[1]):
            place = torch.where(square, place[:, None], SLOTS).amin(2).minimum(place)
        return place


class PaddedMerge(Merged):
    def __init__(self, valids: list[Tensor], num_registers: int) -> None:
        self.num_registers, self.widths = num_registers, [valid.shape[1] for valid in valids]
        registers = torch.ones(valids[0].shape[0], num_registers, dtype=torch.bool)
        self.layout = Padded(torch.cat([*valids, registers], 1))

    def join(self, streams: Sequence[Tensor], registers: Tensor | None = None) -> Tensor:
        if registers is None:
            return torch.cat(list(streams), 1)
        return torch.cat([*streams, registers.expand(streams[0].shape[0], *registers.shape)], 1)

    def join_edges(self, streams: Sequence[Tensor | None]) -> Tensor:
        total, start, out = sum(self.widths) + self.num_registers, 0, 0
        for edges, width in zip(streams, self.widths, strict=True):
            if edges is not None:
                whole = edges.new_zeros(edges.shape[0], total, total, edges.shape[-1])
                whole[:, start : start + width, start : start + width] = edges
                out = out + whole
            start += width
        return out

    def part(self, x: Tensor, stream: int) -> Tensor:
        return x.split([*self.widths, self.num_registers], 1)[stream]

    def without_registers(self, x: Tensor) -> tuple[Tensor, Padded]:
        count = sum(self.widths)
        return x[:, :count], Padded(self.layout.valid[:, :count])
