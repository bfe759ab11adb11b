"""Ordered pairs i != j of tokens of one jet, without ever holding what they become for all pairs at once.

Shapes: T tokens of all jets together, L tokens of one jet, P pairs, D width, k neighbouring jets of equal length.

The pairs of k jets of equal length are the (k, L, L) square of `a[:, :, None] + b[:, None]` without its diagonal, and
leaving the diagonal out is a view (`_apart`). So pairs need no gathers, and their gradients no scattering.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from salt.kernels.activations import Activation, known
from salt.ragged import Segments

PAIRS_AT_A_TIME = 4096
"""So many pairs of width 128 in float32 are 2 MB: what they become stays in a core's cache. Measured, not sharp."""


KEPT_BYTES = 256 * 2**20
"""Activations of all pairs that take no more than this are kept for the backward; more are made again."""


class _Chunk(NamedTuple):
    """Some neighbouring jets of equal length: their tokens, and their pairs."""

    jets: int
    length: int
    tokens: slice
    pairs: slice


def _chunks(segments: Segments, pairs_at_a_time: int) -> Iterator[_Chunk]:
    token = pair = 0
    for jets, length in segments.runs:
        if length < 2:
            token += jets * length
            continue
        step = max(1, pairs_at_a_time // length**2)
        for start in range(0, jets, step):
            k = min(step, jets - start)
            tokens, pairs = k * length, k * length * (length - 1)
            yield _Chunk(k, length, slice(token, token + tokens), slice(pair, pair + pairs))
            token, pair = token + tokens, pair + pairs


def _apart(square: Tensor) -> Tensor:
    """The view (k, L - 1, L, ...) of a (k, L, L, ...) that leaves the diagonal out; its order is that of (i, j).

    In the flat square the diagonal is every (L + 1)-th element: without the first one, it is the last column of a
    matrix with rows of L + 1.
    """
    length = square.shape[1]
    return square.flatten(1, 2)[:, 1:].unflatten(1, (length - 1, length + 1))[:, :, :-1]


@torch.compiler.disable
def pair_labels(x: Tensor, segments: Segments) -> tuple[Tensor, Tensor]:
    """x_i and x_j of all ordered pairs, (T,) -> (P,) twice, without gradient."""
    if x.device.type != "cpu":
        return x[segments.pairs.first], x[segments.pairs.second]
    first, second = x.new_empty(2, segments.num_pairs)
    for c in _chunks(segments, segments.num_pairs):
        own = x[c.tokens].view(c.jets, c.length)
        shape = (c.jets, c.length, c.length)
        for out, square in ((first, own[:, :, None].expand(shape)), (second, own[:, None].expand(shape))):
            out[c.pairs].view(c.jets, c.length - 1, c.length).copy_(_apart(square))
    return first, second


@torch.compiler.disable
def pair_map(fn: nn.Sequential, a: Tensor, b: Tensor, segments: Segments) -> Tensor:
    """fn(a_i + b_j) for all ordered pairs i != j of tokens of one jet: (T, D), (T, D) -> (P, out).

    `fn` works on each pair alone, and may overwrite its input. On CPU, where it is known activations and linear layers
    in turn, it goes through the pairs in chunks that stay in the cache; activations that are many are not kept for the
    backward.
    """
    net = _known_net(fn)
    if a.device.type != "cpu" or net is None or torch.is_autocast_enabled("cpu"):
        pairs = segments.pairs
        return fn(a.index_select(0, pairs.first) + b.index_select(0, pairs.second))
    weights = [p for layer in net.linears for p in (layer.weight, layer.bias)]
    return _Pairs.apply(segments, net.activations, a, b, *weights)


class _Net(NamedTuple):
    activations: list[Activation]
    linears: list[nn.Linear]


def _known_net(fn: nn.Sequential) -> _Net | None:
    """What is in [activation, Linear, activation, Linear, ...], idle dropouts aside; None for anything else."""
    layers = [x for x in fn if not (isinstance(x, nn.Dropout) and (x.p == 0 or not x.training))]
    activations = [activation for x in layers[::2] if (activation := known(x)) is not None]
    linears = [x for x in layers[1::2] if isinstance(x, nn.Linear) and x.bias is not None]
    fits = len(activations) == len(linears) > 0 and len(layers) == 2 * len(linears)
    return _Net(activations, linears) if fits else None


class _Pairs(torch.autograd.Function):
    """Activations and linear layers in turn on the pairs, chunk by chunk, with the backward written out by hand."""

    @staticmethod
    def forward(ctx, segments: Segments, net: list[Activation], a: Tensor, b: Tensor, *weights: Tensor) -> Tensor:  # type: ignore[no-untyped-def]  # noqa: ANN001
        ctx.segments, ctx.net, ctx.kept = segments, net, []
        ctx.save_for_backward(a, b, *weights)
        width = sum(weight.shape[1] for weight in weights[::2])
        keep = segments.num_pairs * width * a.element_size() < KEPT_BYTES and any(ctx.needs_input_grad)
        out = a.new_empty(segments.num_pairs, weights[-2].shape[0])
        for c in _chunks(segments, PAIRS_AT_A_TIME):
            hidden = _hidden(c, net, a, b, weights)
            if keep:
                ctx.kept.append(hidden)
            square = torch.addmm(weights[-1], _activated(net[-1], hidden[-1]), weights[-2].t())
            square = square.view(c.jets, c.length, c.length, -1)
            out[c.pairs].view(c.jets, c.length - 1, c.length, -1).copy_(_apart(square))
        return out

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[no-untyped-def]  # noqa: ANN001
        a, b, *weights = ctx.saved_tensors
        grad_a, grad_b, grad_weights = (
            torch.zeros_like(a),
            torch.zeros_like(b),
            [torch.zeros_like(w) for w in weights],
        )
        kept = iter(ctx.kept)
        for c in _chunks(ctx.segments, PAIRS_AT_A_TIME):
            hidden = next(kept, None) or _hidden(c, ctx.net, a, b, weights)
            square = grad.new_zeros(c.jets, c.length, c.length, grad.shape[1])
            _apart(square).copy_(grad[c.pairs].view(c.jets, c.length - 1, c.length, -1))
            g = square.flatten(0, 2)
            for i in reversed(range(len(hidden))):
                weight, activation = weights[2 * i], ctx.net[i]
                grad_weights[2 * i].addmm_(g.t(), _activated(activation, hidden[i]))
                grad_weights[2 * i + 1].add_(g.sum(0))
                g = g.mul(weight) if len(weight) == 1 else g.mm(weight)
                activation.gradient(g, hidden[i], g)
            square = g.view(c.jets, c.length, c.length, -1)
            torch.sum(square, 2, out=grad_a[c.tokens].view(c.jets, c.length, -1))
            torch.sum(square, 1, out=grad_b[c.tokens].view(c.jets, c.length, -1))
        return None, None, grad_a, grad_b, *grad_weights


def _activated(activation: Activation, hidden: Tensor) -> Tensor:
    """What goes into a linear layer: of an activation whose gradient its value tells, that is what is there already."""
    if not activation.of_value:
        activation.value(hidden, activated := torch.empty_like(hidden))
        return activated
    return hidden


def _hidden(
    c: _Chunk, net: list[Activation], a: Tensor, b: Tensor, weights: tuple[Tensor, ...] | list[Tensor]
) -> list[Tensor]:
    """What each activation's gradient is told from, (k * L * L, width), for the whole squares of a chunk.

    That is its input, or, where it tells it, its value.
    """
    first, second = (x[c.tokens].view(c.jets, c.length, -1) for x in (a, b))
    hidden = [_valued(net[0], (first[:, :, None] + second[:, None]).flatten(0, 2))]
    for activation, before, weight, bias in zip(net[1:], net, weights[:-2:2], weights[1:-2:2], strict=False):
        hidden.append(_valued(activation, torch.addmm(bias, _activated(before, hidden[-1]), weight.t())))
    return hidden


def _valued(activation: Activation, hidden: Tensor) -> Tensor:
    """The input of an activation as it is kept."""
    if activation.of_value:
        activation.value(hidden, hidden)
    return hidden
