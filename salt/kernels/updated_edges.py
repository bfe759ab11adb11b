"""Linear maps of edges that an attention has updated, without the edges.

Shapes: S pairs, H heads, E width of the edges, C of what a linear map makes of them.

A layer gives each pair the edge e = u + norm(u), u = A s + b, where s are its H logits and norm is a LayerNorm or
an RMSNorm. What comes next only ever sees a linear map of e: with c = A s + b centred (or not: RMSNorm),

    W e = W A s + W b + (W c) / sqrt(c c / E + epsilon),

which is linear in s but for one number a pair, and c c is a square form of s. So (S, E) never exists: H + C numbers a
pair do, and all products are as narrow.
"""

from __future__ import annotations

import torch
from torch import Tensor

PAIRS_AT_A_TIME = 8192
"""So many pairs, of some 20 numbers in float32, stay in a core's cache. Measured, not sharp."""


def project_updated(logits: Tensor, maps: Tensor, offsets: Tensor, epsilon: float) -> Tensor:
    """X + y / sqrt(s z + z_0 + epsilon) for each pair, where x, y (C numbers each) and z (H) are linear in s.

    Parameters
    ----------
    logits : Tensor
        (H, S): s.
    maps : Tensor
        (2 C + H, H): x, y and z are maps @ s + offsets.
    offsets : Tensor
        (2 C + H + 1,), the last one is z_0.
    epsilon : float
        As in the normalisation.

    Returns
    -------
    Tensor
        (C, S).
    """
    if logits.device.type != "cpu" or torch.compiler.is_exporting() or torch.is_autocast_enabled("cpu"):
        return _project(logits, maps, offsets, epsilon)[0]
    return _by_chunks(logits, maps, offsets, epsilon)


def _project(logits: Tensor, maps: Tensor, offsets: Tensor, epsilon: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What `project_updated` gives, y, z, and the inverse root (S,)."""
    heads = logits.shape[0]
    channels = (maps.shape[0] - heads) // 2
    x, y, z = torch.addmm(offsets[:-1, None], maps, logits).split([channels, channels, heads])
    square = (z * logits).sum(0) + offsets[-1]
    inverse = (square.clamp(min=0) + epsilon).rsqrt()
    return x + y * inverse, y, z, inverse


@torch.compiler.disable
def _by_chunks(logits: Tensor, maps: Tensor, offsets: Tensor, epsilon: float) -> Tensor:
    return _ProjectUpdated.apply(logits, maps, offsets, epsilon)


class _ProjectUpdated(torch.autograd.Function):
    """The same on CPU, chunk by chunk; the backward makes all again from the logits."""

    @staticmethod
    def forward(ctx, logits: Tensor, maps: Tensor, offsets: Tensor, epsilon: float) -> Tensor:  # type: ignore[no-untyped-def]  # noqa: ANN001
        ctx.save_for_backward(logits, maps, offsets)
        ctx.epsilon = epsilon
        out = logits.new_empty((maps.shape[0] - logits.shape[0]) // 2, logits.shape[1])
        for own, to in zip(_chunks(logits), _chunks(out), strict=True):
            to.copy_(_project(own, maps, offsets, epsilon)[0])
        return out

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[no-untyped-def]  # noqa: ANN001
        logits, maps, offsets = ctx.saved_tensors
        grad_logits, grad_maps, grad_offsets = (torch.zeros_like(x) for x in ctx.saved_tensors)
        for own, to, g in zip(*map(_chunks, (logits, grad_logits, grad)), strict=True):
            _, y, z, inverse = _project(own, maps, offsets, ctx.epsilon)
            square = (g * y).sum(0).mul_(inverse**3).mul_(-0.5)  # by the square form
            grads = torch.cat([g, g * inverse, own * square])
            torch.mm(maps.t(), grads, out=to).addcmul_(z, square)
            grad_maps.addmm_(grads, own.t())
            grad_offsets[:-1].add_(grads.sum(1))
            grad_offsets[-1].add_(square.sum())
        return grad_logits, grad_maps, grad_offsets, None


def _chunks(pairs: Tensor) -> tuple[Tensor, ...]:
    return pairs.split(PAIRS_AT_A_TIME, dim=1)
