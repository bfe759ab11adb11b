"""Activations of which values and slopes can be computed again from their input alone, in place of being kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

aten = torch.ops.aten


class Activation(NamedTuple):
    """A function of each number, and its gradient; both write where they are told."""

    value: Callable[[Tensor, Tensor], object]
    """(input, where its value goes), which may be the input itself."""
    gradient: Callable[[Tensor, Tensor, Tensor], object]
    """(gradient by the value, input, where the gradient by the input goes), which may be the first one."""
    of_value: bool = False
    """Whether the gradient can be told from the value, too, so that the input need not be kept."""


def _relu(x: Tensor, out: Tensor) -> object:
    return torch.clamp(x, min=0, out=out)


def _relu_gradient(grad: Tensor, x: Tensor, out: Tensor) -> object:
    return aten.threshold_backward.grad_input(grad, x, 0, grad_input=out)


def _silu(x: Tensor, out: Tensor) -> object:
    return aten.silu.out(x, out=out)


def _silu_gradient(grad: Tensor, x: Tensor, out: Tensor) -> object:
    return aten.silu_backward.grad_input(grad, x, grad_input=out)


def _gelu(x: Tensor, out: Tensor) -> object:
    return aten.gelu.out(x, out=out)


def _gelu_gradient(grad: Tensor, x: Tensor, out: Tensor) -> object:
    return aten.gelu_backward.grad_input(grad, x, grad_input=out)


def _mish(x: Tensor, out: Tensor) -> object:
    return aten.mish.out(x, out=out)


def _mish_gradient(grad: Tensor, x: Tensor, out: Tensor) -> object:
    return out.copy_(aten.mish_backward(grad, x))


_KNOWN = {
    nn.ReLU: Activation(_relu, _relu_gradient, of_value=True),
    nn.SiLU: Activation(_silu, _silu_gradient),
    nn.GELU: Activation(_gelu, _gelu_gradient),
    nn.Mish: Activation(_mish, _mish_gradient),
}


def known(module: nn.Module) -> Activation | None:
    """What is known of an activation of `torch.nn`; None: nothing."""
    if isinstance(module, nn.GELU) and module.approximate != "none":
        return None
    return _KNOWN.get(type(module))
