"""What a layer of a transformer is made of: steps that add to their input, normalised before or after.

Shapes: B jets, "..." the tokens of a layout, D width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from salt.layout import Layout

PLACES = ("pre", "post", "none")
"""Where a step is normalised: its input, the sum of both, or nothing."""


class Step(nn.Module, ABC):
    """Something that is learned of tokens, and added to them."""

    @abstractmethod
    def forward(self, residual: Tensor | None, x: Tensor, layout: Layout) -> Tensor:
        """What is learned of tokens (..., D), added to the residual (..., D) if there is one."""


def add_linear(residual: Tensor | None, x: Tensor, linear: nn.Linear) -> Tensor:
    """Give residual + linear(x), with one pass over memory less where the product can be added in place."""
    if residual is None:
        return linear(x)
    if x.dim() != 2 or linear.bias is None or torch.is_autocast_enabled(x.device.type):
        return residual + linear(x)
    return (residual + linear.bias).addmm_(x, linear.weight.t())


class LayerScale(nn.Module):
    """A learned factor on each channel of a step. Touvron et al., Going deeper with image transformers, 2103.17239.

    Parameters
    ----------
    dim : int
        Width D of the tokens.
    init_value : float
        The factors at the start.
    """

    def __init__(self, dim: int, init_value: float = 1e-3) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((dim,), float(init_value)))

    def forward(self, x: Tensor) -> Tensor:
        """Scale tokens (..., D)."""
        return x * self.gamma


class DropPath(nn.Module):
    """Leave a step out for some of the jets of a batch, all tokens of a jet alike; what stays is scaled up.

    Huang et al., Deep networks with stochastic depth, arXiv:1603.09382. In training only.

    Parameters
    ----------
    drop_prob : float
        Share of the jets for which the step is left out, below 1; with 0 no random number is drawn.
    """

    def __init__(self, drop_prob: float = 0.0) -> None:
        super().__init__()
        if not 0 <= drop_prob < 1:
            raise ValueError(f"drop_path is {drop_prob}: it is a share of the jets, from 0 to below 1")
        self.drop_prob = drop_prob

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """Tokens (..., D), those of some jets 0."""
        if not self.training or not self.drop_prob:
            return x
        kept = x.new_empty(layout.num_jets, 1).bernoulli_(1 - self.drop_prob).div_(1 - self.drop_prob)
        return x * layout.spread(kept)


class NormResidual(nn.Module):
    """A step that adds to its input: x + fn(norm(x)), or norm(x + fn(x)), or x + fn(x).

    Parameters
    ----------
    fn : nn.Module
        The step; `forward` asks for a `Step`.
    norm : nn.Module
        The normalisation; not used, and not kept, where `norm_type` is none.
    norm_type : str
        pre: of what the step reads; post: of the sum; none.
    layer_scale : LayerScale | None
        The factor on what the step adds; None: 1.
    drop_path : float
        Share of the jets for which the step is left out of a training step.
    """

    def __init__(
        self,
        fn: nn.Module,
        norm: nn.Module,
        norm_type: str = "pre",
        layer_scale: LayerScale | None = None,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        if norm_type not in PLACES:
            raise ValueError(f"unknown norm_type {norm_type!r} of a step; there are {', '.join(PLACES)}")
        self.fn = fn
        self.norm = nn.Identity() if norm_type == "none" else norm
        self.ls = nn.Identity() if layer_scale is None else layer_scale
        self.drop_path = DropPath(drop_path)
        self._adds_itself = layer_scale is None and not drop_path
        self._norm_last = norm_type == "post"

    def forward(self, x: Tensor, layout: Layout, *args: Any) -> Tensor:
        """Tokens (..., D) to tokens (..., D); what else the step reads goes behind the layout."""
        if not self._adds_itself:
            return self.add(x, self.fn(None, self.read(x), layout, *args), layout)
        x = self.fn(x, self.read(x), layout, *args)
        return self.norm(x) if self._norm_last else x

    def read(self, x: Tensor) -> Tensor:
        """What the step reads of tokens (..., D)."""
        return x if self._norm_last else self.norm(x)

    def add(self, x: Tensor, learned: Tensor, layout: Layout) -> Tensor:
        """Tokens (..., D) and what a step has learned of them."""
        x = x + self.drop_path(self.ls(learned), layout)
        return self.norm(x) if self._norm_last else x
