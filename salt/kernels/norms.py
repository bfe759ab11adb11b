"""Normalisation by the root of the mean square: on CPU with a backward by hand, in less than half of torch's passes.

Shapes: "..." anything, D width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable


def rms_norm(x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    """X / sqrt(mean(x^2) + epsilon) * weight, over the last dimension. Zhang and Sennrich, arXiv:1910.07467.

    Parameters
    ----------
    x : Tensor
        (..., D)
    weight : Tensor
        (D,)
    epsilon : float
        Added to the mean square.
    """
    by_hand = x.device.type == "cpu" and torch.is_grad_enabled() and x.dtype == weight.dtype
    if by_hand and not (torch.compiler.is_compiling() or torch.is_autocast_enabled("cpu")):
        return _RMSNorm.apply(x, weight, epsilon)
    return F.rms_norm(x, (x.shape[-1],), weight, epsilon)


class _RMSNorm(torch.autograd.Function):
    """Keeps its input and one number a row."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:  # type: ignore[no-untyped-def]  # noqa: ANN001
        inverse = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        inverse.square_().div_(x.shape[-1]).add_(epsilon).rsqrt_()
        ctx.save_for_backward(x, weight, inverse)
        return (x * inverse).mul_(weight)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor, None]:  # type: ignore[no-untyped-def]  # noqa: ANN001
        """With y = x * inverse: inverse * (g w - y * mean(g w y)) by x, the sum of g y by the weight."""
        x, weight, inverse = ctx.saved_tensors
        normalised = x * inverse
        products = grad * normalised
        by_weight = products.flatten(0, -2).sum(0)
        mean = products.mul_(weight).sum(-1, keepdim=True).div_(x.shape[-1])
        return torch.addcmul(grad * weight, normalised, mean, value=-1).mul_(inverse), by_weight, None
