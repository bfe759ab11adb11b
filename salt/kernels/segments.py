"""Sums, means and moves of packed tokens, by jet.

Shapes: B jets, T tokens of all jets together, L tokens of one jet, D width, k jets of equal length that are neighbours.
"""

from __future__ import annotations

import torch
from torch import Tensor

from salt.ragged import Segments


class _Spread(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, segments: Segments) -> Tensor:  # type: ignore[no-untyped-def]  # noqa: ANN001
        ctx.segments = segments
        return x.index_select(0, segments.owner)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:  # type: ignore[no-untyped-def]  # noqa: ANN001
        return segment_sum(grad, ctx.segments), None


@torch.compiler.disable
def spread(x: Tensor, segments: Segments) -> Tensor:
    """Give each token its jet's row: (B, D) -> (T, D)."""
    return _Spread.apply(x, segments)


@torch.compiler.disable
def segment_sum(x: Tensor, segments: Segments) -> Tensor:
    """Sum of each jet's tokens: (T, D) -> (B, D)."""
    if x.device.type == "cpu":
        parts = zip(segments.runs, x.split(segments.run_sizes), strict=True)
        return torch.cat([part.view(run.jets, run.length, x.shape[1]).sum(1) for run, part in parts])
    return x.new_zeros(segments.num_jets, x.shape[1]).index_add_(0, segments.owner, x)


@torch.compiler.disable
def pool(score: Tensor, x: Tensor, segments: Segments) -> Tensor:
    """Mean of each jet's tokens by the softmax of their scores: (T, 1), (T, D) -> (B, D); 0 for an empty jet."""
    if x.device.type != "cpu":
        top = score.new_zeros(segments.num_jets, 1).index_reduce_(
            0, segments.owner, score.detach(), "amax", include_self=False
        )
        weight = (score - spread(top, segments)).exp()
        total = segment_sum(weight, segments).clamp(min=torch.finfo(weight.dtype).tiny)
        return segment_sum(weight * x, segments) / total
    pooled = []
    for run, s, part in zip(segments.runs, score.split(segments.run_sizes), x.split(segments.run_sizes), strict=True):
        weight = s.view(run.jets, 1, run.length).softmax(-1)
        pooled.append(torch.bmm(weight, part.view(run.jets, run.length, x.shape[1])).squeeze(1))
    return torch.cat(pooled)


class _Join(torch.autograd.Function):
    @staticmethod
    def forward(ctx, positions: tuple[Tensor, ...], *parts: Tensor) -> Tensor:  # type: ignore[no-untyped-def]  # noqa: ANN001
        ctx.positions = positions
        out = parts[0].new_empty(sum(len(p) for p in positions), parts[0].shape[1])
        for position, part in zip(positions, parts, strict=True):
            out.index_copy_(0, position, part)
        return out

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[no-untyped-def]  # noqa: ANN001
        needed = ctx.needs_input_grad[1:]
        return (None, *(grad.index_select(0, p) if n else None for p, n in zip(ctx.positions, needed, strict=True)))


@torch.compiler.disable
def join(positions: tuple[Tensor, ...], *parts: Tensor) -> Tensor:
    """Write row r of part k to row positions[k][r]; the positions cover every row once."""
    return _Join.apply(positions, *parts)


class _Take(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, position: Tensor) -> Tensor:  # type: ignore[no-untyped-def]  # noqa: ANN001
        ctx.save_for_backward(position)
        ctx.rows = x.shape[0]
        return x.index_select(0, position)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:  # type: ignore[no-untyped-def]  # noqa: ANN001
        (position,) = ctx.saved_tensors
        return grad.new_zeros(ctx.rows, grad.shape[1]).index_copy_(0, position, grad), None


@torch.compiler.disable
def take(x: Tensor, position: Tensor) -> Tensor:
    """Rows of x at these positions, all different."""
    return _Take.apply(x, position)
