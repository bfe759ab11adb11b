"""Normalisation by the root of the mean square: on CPU with a backward by hand, some rows at a time that stay in cache.

Shapes: "..." anything, D width.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

NUMBERS_AT_A_TIME = 2**16
"""So many in float32 are 256 KB: they and what becomes of them stay in a core's cache. Measured, not sharp."""


def rms_norm(x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    """X / sqrt(mean(x^2) + epsilon) * weight, over the last dimension. Zhang and Sennrich, arXiv:1910.07467.

    Parameters
    ----------
    x : Tensor
        (..., D), of two dimensions or more.
    weight : Tensor
        (D,), or anything with D last that multiplies x's last dimensions, its first left out.
    epsilon : float
        Added to the mean square.
    """
    by_hand = x.device.type == "cpu" and torch.is_grad_enabled() and x.dtype == weight.dtype
    plain = x.dtype in {torch.float32, torch.float64}
    if by_hand and plain and not (torch.compiler.is_compiling() or torch.is_autocast_enabled("cpu")):
        return _RMSNorm.apply(x, weight, epsilon)
    if weight.dim() > 1:
        return F.rms_norm(x, (x.shape[-1],), None, epsilon) * weight
    return F.rms_norm(x, (x.shape[-1],), weight, epsilon)


def _chunks(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """The same rows of all of them, some at a time."""
    rows = max(1, NUMBERS_AT_A_TIME // max(1, tensors[0][:1].numel()))
    return zip(*(x.split(rows) for x in tensors), strict=True)


def _row_products(products: Tensor, factors: Tensor) -> Tensor:
    """Sum over the last dimension of products times factors (D,), (..., D) -> (..., 1): a product of matrices."""
    return (products.reshape(-1, products.shape[-1]) @ factors).view(*products.shape[:-1], 1)


class _RMSNorm(torch.autograd.Function):
    """Keeps its input and one number a row."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:  # type: ignore[no-untyped-def]  # noqa: ANN001
        out, inverse = torch.empty_like(x), x.new_empty(*x.shape[:-1], 1)
        mean = x.new_full((x.shape[-1],), 1 / x.shape[-1])
        for part, result, factor in _chunks(x, out, inverse):
            torch.mul(part, part, out=result)
            torch.rsqrt(_row_products(result, mean).add_(epsilon), out=factor)
            torch.mul(part, factor, out=result).mul_(weight)
        ctx.save_for_backward(x, weight, inverse)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor, None]:  # type: ignore[no-untyped-def]  # noqa: ANN001
        """With y = x * inverse: inverse * (g w - y * mean(g w y)) by x, the sum of g y by the weight."""
        x, weight, inverse = ctx.saved_tensors
        out, by_weight = torch.empty_like(x), x.new_zeros(x.shape[1:])
        mean = x.new_full((x.shape[-1],), 1 / x.shape[-1])
        for part, g, factor, result in _chunks(x, grad, inverse, out):
            normalised = part * factor
            torch.mul(g, normalised, out=result)
            by_weight += result.sum(0)
            shift = _row_products(result.mul_(weight), mean)
            torch.mul(g, weight, out=result).addcmul_(normalised, shift, value=-1).mul_(factor)
        return out, by_weight.sum_to_size(weight.shape), None
