"""A gated feed-forward net on CPU, some tokens at a time: what is inside stays in a core's cache, and most is not kept.

Shapes: T tokens, D width, F width inside.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from salt.kernels.activations import Activation, known

TOKENS_AT_A_TIME = 1024
"""So many of width 256 in float32 are 1 MB. Measured, not sharp."""


class Weights(NamedTuple):
    """Of both linear maps: (2 F, D), (2 F,), (D, F), (D,)."""

    into: Tensor
    into_bias: Tensor
    out_of: Tensor
    out_of_bias: Tensor


def gates_by_hand(x: Tensor, into: nn.Linear, out_of: nn.Linear, activation: nn.Module) -> bool:
    """Whether `gated` can do it: tokens (T, D) of a training step on CPU, in the type of the weights."""
    plain = x.device.type == "cpu" and x.dim() == 2 and torch.is_grad_enabled() and x.dtype == into.weight.dtype
    fits = plain and into.bias is not None and out_of.bias is not None and known(activation) is not None
    return fits and not (torch.compiler.is_compiling() or torch.is_autocast_enabled("cpu"))


def gated(residual: Tensor | None, x: Tensor, into: nn.Linear, out_of: nn.Linear, activation: nn.Module) -> Tensor:
    """Residual + out_of(activation(a) * b), where a and b are the halves of into(x). Shazeer, arXiv:2002.05202.

    Parameters
    ----------
    residual : Tensor | None
        (T, D); None: nothing is added to.
    x : Tensor
        (T, D)
    into, out_of : nn.Linear
        D to 2 F, and F to D.
    activation : nn.Module
        One of those that are known.
    """
    function = known(activation)
    assert function is not None
    return _Gated.apply(function, residual, x, into.weight, into.bias, out_of.weight, out_of.bias)


class _Gated(torch.autograd.Function):
    """Keeps its input and the outcome of the first map."""

    @staticmethod
    def forward(ctx, function: Activation, residual: Tensor | None, x: Tensor, *weights: Tensor) -> Tensor:  # type: ignore[no-untyped-def]  # noqa: ANN001
        w = Weights(*weights)
        ctx.function = function
        inside, out = x.new_empty(len(x), len(w.into)), x.new_empty(len(x), len(w.out_of))
        if residual is None:
            out.copy_(w.out_of_bias)
        else:
            torch.add(residual, w.out_of_bias, out=out)
        for part, here, result in zip(*(t.split(TOKENS_AT_A_TIME) for t in (x, inside, out)), strict=True):
            torch.addmm(w.into_bias, part, w.into.t(), out=here)
            a, b = here.chunk(2, 1)
            active = torch.empty_like(b, memory_format=torch.contiguous_format)
            function.value(a, active)
            result.addmm_(active.mul_(b), w.out_of.t())
        ctx.save_for_backward(x, inside, *weights)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[no-untyped-def]  # noqa: ANN001
        x, inside, *weights = ctx.saved_tensors
        w, by = Weights(*weights), Weights(*(torch.zeros_like(weight) for weight in weights))
        by_x = torch.empty_like(x)
        by.out_of_bias.add_(grad.sum(0))
        for part, here, g, result in zip(*(t.split(TOKENS_AT_A_TIME) for t in (x, inside, grad, by_x)), strict=True):
            a, b = here.chunk(2, 1)
            by_inside = torch.empty_like(here)
            by_a, by_b = by_inside.chunk(2, 1)
            active, by_product = torch.empty_like(b, memory_format=torch.contiguous_format), g.mm(w.out_of)
            ctx.function.value(a, active)
            torch.mul(by_product, active, out=by_b)
            by.out_of.addmm_(g.t(), active.mul_(b))
            ctx.function.gradient(by_product.mul_(b), a, by_a)
            by.into.addmm_(by_inside.t(), part)
            by.into_bias.add_(by_inside.sum(0))
            torch.mm(by_inside, w.into, out=result)
        return None, grad if ctx.needs_input_grad[1] else None, by_x, *by
