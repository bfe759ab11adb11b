"""Dense layers.

Shapes: "..." is anything, the tokens of a layout or the jets; D, C widths.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from salt.kernels.gated import gated, gates_by_hand
from salt.kernels.norms import rms_norm
from salt.layout import Layout
from salt.nn.residual import Step, add_linear


class SplitLinear(nn.Linear):
    """A linear layer on a concatenation that is never built: y = W [a; b] + bias, part by part.

    The weight is that of a `Linear` on the concatenation. Each part is multiplied where it lives (once per jet, or once
    per token), and whoever knows the layout adds the products up.
    """

    def products(self, *parts: Tensor) -> list[Tensor]:
        """The product of each part (..., D_k) with its columns of the weight; the bias rides on the first."""
        widths = [part.shape[-1] for part in parts]
        if sum(widths) != self.in_features:
            raise ValueError(
                f"inputs of widths {widths} add up to {sum(widths)}, but this layer takes {self.in_features}: "
                "input_size and context_size of its dense_config have to fit what comes before"
            )
        weights = self.weight.split(widths, dim=1)
        biases = [self.bias, *[None] * (len(parts) - 1)]
        return [F.linear(x, w, b) for x, w, b in zip(parts, weights, biases, strict=True)]


def make_activation(name: str, in_place: bool = True) -> nn.Module:
    """The activation of `torch.nn` with this name; in place where it can, unless its input is a part of something."""
    if name not in vars(nn):
        raise ValueError(f"unknown activation {name!r}; any class of torch.nn is known: ReLU, SiLU, GELU, ...")
    return nn.ReLU(inplace=in_place) if name == "ReLU" else getattr(nn, name)()


class Dense(nn.Module):
    """A multi-layer perceptron: for each layer an optional dropout, a linear map and an activation.

    Parameters
    ----------
    input_size : int
        Width of the input.
    output_size : int | None
        Width of the output; None: `input_size`.
    hidden_layers : Sequence[int] | None
        Widths of the hidden layers; None: one of `hidden_dim_scale * input_size`.
    hidden_dim_scale : int
        Width of the hidden layer by that of the input, where `hidden_layers` is not given.
    activation : str
        Name of a class of `torch.nn`, after each hidden layer.
    final_activation : str | None
        The same after the last layer; None: nothing.
    dropout : float
        Probability of dropping an input of a layer.
    bias : bool
        Whether the linear maps have a bias.
    context_size : int
        Width of the context, which is concatenated in front of the input.
    mup : bool
        Initial values of a maximal update parametrisation (see `init_mup`).
    norm_layer : str | None
        LayerNorm or RMSNorm: what follows each linear map but the last, before its activation; None: nothing.
    norm_final_layer : bool
        Whether it follows the last one, too.
    """

    def __init__(
        self,
        input_size: int,
        output_size: int | None = None,
        hidden_layers: Sequence[int] | None = None,
        hidden_dim_scale: int = 2,
        activation: str = "ReLU",
        final_activation: str | None = None,
        dropout: float = 0.0,
        bias: bool = True,
        context_size: int = 0,
        mup: bool = False,
        norm_layer: str | None = None,
        norm_final_layer: bool = False,
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.output_size = input_size if output_size is None else output_size
        self.context_size = context_size
        hidden = [input_size * hidden_dim_scale] if hidden_layers is None else list(hidden_layers)
        widths = [input_size + context_size, *hidden, self.output_size]
        norms = [norm_layer] * len(hidden) + [norm_layer if norm_final_layer else None]
        self.net = _stack(widths, [activation] * len(hidden) + [final_activation], norms, dropout, bias)
        self._first = 1 if dropout else 0
        if mup:
            init_mup(*(layer for layer in self.net if isinstance(layer, nn.Linear)))

    def forward(self, x: Tensor, context: Tensor | None = None, layout: Layout | None = None) -> Tensor:
        """Map x (..., D) to (..., output_size), with a context (B, C) of its jets, or (..., C) where layout is None."""
        if context is None:
            return self.net(x)
        before, after = self.first(context, x)
        return self.rest(after + (layout.spread(before) if layout is not None else before))

    def first(self, *parts: Tensor) -> list[Tensor]:
        """Products of parts of the input with their columns of the first weight, to be summed and given to `rest`."""
        layer = self.net[self._first]
        assert isinstance(layer, SplitLinear)
        return layer.products(*(self.net[0](part) if self._first else part for part in parts))

    @property
    def rest(self) -> nn.Sequential:
        """Everything after the first linear map."""
        return nn.Sequential(*list(self.net)[self._first + 1 :])


def _stack(
    widths: list[int], acts: Sequence[str | None], norms: Sequence[str | None], dropout: float, bias: bool
) -> nn.Sequential:
    layers: list[nn.Module] = []
    for i, (size, act, norm) in enumerate(zip(widths[1:], acts, norms, strict=True)):
        layers += [nn.Dropout(dropout)] if dropout else []
        layers.append((SplitLinear if i == 0 else nn.Linear)(widths[i], size, bias=bias))
        layers += [make_norm(norm, size)] if norm else []
        layers += [make_activation(act)] if act else []
    return nn.Sequential(*layers)


class GLU(Step):
    """The feed-forward part of an encoder layer, gated if asked for.

    Shazeer, GLU Variants Improve Transformer, arXiv:2002.05202.

    Parameters
    ----------
    embed_dim : int
        Width D of input and output.
    hidden_dim : int | None
        Width inside; None: 2 D.
    activation : str
        Name of a class of `torch.nn`.
    dropout : float
        Probability of dropping a hidden value.
    bias : bool
        Whether the linear maps have a bias.
    gated : bool
        Multiply the activated half by a linear gate: twice the first weight.
    mup : bool
        Initial values of a maximal update parametrisation (see `init_mup`).
    """

    def __init__(
        self,
        embed_dim: int,
        hidden_dim: int | None = None,
        activation: str = "SiLU",
        dropout: float = 0.0,
        bias: bool = True,
        gated: bool = False,
        mup: bool = False,
    ) -> None:
        super().__init__()
        hidden_dim = 2 * embed_dim if hidden_dim is None else hidden_dim
        self.gated = gated
        self.in_proj = nn.Linear(embed_dim, 2 * hidden_dim if gated else hidden_dim, bias=bias)
        self.out_proj = nn.Linear(hidden_dim, embed_dim, bias=bias)
        self.drop = nn.Dropout(dropout)
        self.activation = make_activation(activation, in_place=not gated)
        if mup:
            init_mup(self.in_proj, self.out_proj)

    def forward(self, residual: Tensor | None, x: Tensor, layout: Layout | None = None) -> Tensor:
        """What becomes of tokens (..., D), added to the residual (..., D)."""
        drops = self.training and self.drop.p > 0
        if self.gated and not drops and gates_by_hand(x, self.in_proj, self.out_proj, self.activation):
            return gated(residual, x, self.in_proj, self.out_proj, self.activation)
        x = self.in_proj(x)
        if self.gated:
            active, gate = x.chunk(2, dim=-1)
            x = self.activation(active) * gate
        else:
            x = self.activation(x)
        return add_linear(residual, self.drop(x), self.out_proj)


class RMSNorm(nn.RMSNorm):
    """Tokens divided by the root of their mean square, times a learnt gain.

    Parameters
    ----------
    width : int
        D, of a token.
    """

    def __init__(self, width: int) -> None:
        super().__init__(width, eps=RMS_EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (..., D) to tokens (..., D)."""
        return rms_norm(x, self.weight, RMS_EPSILON)


NORMS: Mapping[str, Callable[[int], nn.Module]] = {
    "LayerNorm": lambda width: nn.LayerNorm(width, elementwise_affine=False),
    "RMSNorm": RMSNorm,
}
"""Name -> the normalisation of tokens of a width: LayerNorm has no weights, RMSNorm has."""

RMS_EPSILON = 1e-5
"""What RMSNorm adds to the mean square, as upstream and LLaMA."""


def make_norm(name: str, width: int) -> nn.Module:
    """The normalisation of tokens with this name."""
    if name not in NORMS:
        raise ValueError(f"unknown norm {name!r}; there are {' and '.join(NORMS)} (key norm of the encoder)")
    return NORMS[name](width)


def init_mup(*layers: nn.Linear) -> None:
    """Give linear layers the initial values of a maximal update parametrisation, as upstream does: biases 0.

    Weights are drawn with a width of 1 / sqrt(outputs). Yang et al., Tensor Programs V, arXiv:2203.03466.
    """
    for layer in layers:
        nn.init.normal_(layer.weight, std=layer.out_features**-0.5)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
