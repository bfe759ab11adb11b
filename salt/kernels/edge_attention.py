"""Attention that looks at pairs: a term and a gate for each ordered pair of tokens of one jet, a token with itself too.

Shapes: T tokens of all jets together, L of one jet, S = sum of L squared pairs, H heads, d width of a head, k
neighbouring jets of equal length. Pairs stand jet by jet, those of a jet as a matrix of L rows is read; what is known
of them stands head by head, (H, S), so that a run of jets is a view of shape (H, k, L, L).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from salt.ragged import Segments


class _Part(NamedTuple):
    """A run of k jets of L tokens: its rows, and its pairs."""

    jets: int
    length: int
    tokens: slice
    pairs: slice

    def by_jet(self, pairs: Tensor) -> Tensor:
        """The view (k, H, L, L) of what is known of all pairs (H, S)."""
        own = pairs[:, self.pairs].view(pairs.shape[0], self.jets, self.length, self.length)
        return own.transpose(0, 1)

    def by_head(self, tokens: Tensor) -> Tensor:
        """The view (k, H, L, d) of all tokens (T, H, d)."""
        return tokens[self.tokens].unflatten(0, (self.jets, self.length)).transpose(1, 2)


def _parts(segments: Segments) -> Iterator[_Part]:
    token = pair = 0
    for jets, length in segments.runs:
        if length:
            tokens, pairs = jets * length, jets * length**2
            yield _Part(jets, length, slice(token, token + tokens), slice(pair, pair + pairs))
            token, pair = token + tokens, pair + pairs


@torch.compiler.disable
def attend_edges(
    qkv: Tensor, term: Tensor, gate: Tensor, segments: Segments, scale: float, dropout: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Attention of each token to those of its own jet, by what is known of the pairs.

    With s_ij = scale * q_i k_j + term_ij, token i learns sum_j softmax_j(s_ij) sigmoid(gate_ij) v_j. Hussain et al.,
    Global self-attention as a replacement for graph convolution, arXiv:2108.03348.

    Parameters
    ----------
    qkv : Tensor
        (T, 3, H, d): queries, keys and values.
    term, gate : Tensor
        (H, S).
    segments : Segments
        Where each jet's tokens lie.
    scale : float
        Factor on the products of queries and keys.
    dropout : float
        Probability of dropping a weight (0 outside training).

    Returns
    -------
    tuple[Tensor, Tensor]
        What the tokens learn, (T, H, d), and s (H, S).
    """
    term, gate = term.to(qkv.dtype), gate.to(qkv.dtype)
    if qkv.device.type == "cpu" and dropout == 0:
        return _AttendEdges.apply(qkv, term, gate, segments, scale)
    return _by_torch(qkv, term, gate, segments, scale, dropout)


def _by_torch(
    qkv: Tensor, term: Tensor, gate: Tensor, segments: Segments, scale: float, dropout: float
) -> tuple[Tensor, Tensor]:
    """The same by torch's own operations, a few of them a run: any device and type, with dropout."""
    heads, width = qkv.shape[2:]
    out, logits = [qkv.new_empty(0, heads, width)], [term.new_empty(heads, 0)]
    for part in _parts(segments):
        q, key, v = (part.by_head(x) for x in qkv.unbind(1))
        here = q @ key.transpose(2, 3) * scale + part.by_jet(term)
        weight = F.dropout(here.softmax(-1), dropout) * part.by_jet(gate).sigmoid()
        out.append((weight @ v).transpose(1, 2).flatten(0, 1))
        logits.append(here.transpose(0, 1).flatten(1))
    return torch.cat(out), torch.cat(logits, 1)


class _AttendEdges(torch.autograd.Function):
    """The same on CPU, run by run, with the backward written out by hand."""

    @staticmethod
    def forward(  # type: ignore[no-untyped-def]
        ctx,  # noqa: ANN001
        qkv: Tensor,
        term: Tensor,
        gate: Tensor,
        segments: Segments,
        scale: float,
    ) -> tuple[Tensor, Tensor]:
        heads, width = qkv.shape[2:]
        out, logits, gate = qkv.new_empty(qkv.shape[0], heads, width), torch.empty_like(term), gate.sigmoid()
        weights = torch.empty_like(term)  # softmax, head by head as all pairs
        for part in _parts(segments):
            k, length = part.jets, part.length
            q, key, v = (part.by_head(x).reshape(k * heads, length, width) for x in qkv.unbind(1))
            here = part.by_jet(term).reshape(k * heads, length, length)
            here = torch.baddbmm(here, q, key.transpose(1, 2), alpha=scale).view(k, heads, length, length)
            part.by_jet(logits).copy_(here)
            here.sub_(here.amax(-1, keepdim=True)).exp_()
            here.mul_(here.sum(-1, keepdim=True).reciprocal_())
            part.by_jet(weights).copy_(here)
            here.mul_(part.by_jet(gate))
            learned = torch.bmm(here.view(k * heads, length, length), v).view(k, heads, length, width)
            part.by_head(out).copy_(learned)
        ctx.segments, ctx.scale = segments, scale
        ctx.save_for_backward(qkv, gate, weights)
        ctx.set_materialize_grads(False)
        return out, logits

    @staticmethod
    def backward(ctx, grad: Tensor | None, grad_logits: Tensor | None) -> tuple[Tensor | None, ...]:  # type: ignore[no-untyped-def]  # noqa: ANN001
        """With p = softmax(s), g = sigmoid(gate): dp = g (dout v), ds = p (dp - sum p dp)."""
        qkv, gate, weights = ctx.saved_tensors
        heads, width = qkv.shape[2:]
        grad = qkv.new_zeros(qkv.shape[0], heads, width) if grad is None else grad
        grad_qkv, grad_term, grad_gate = torch.empty_like(qkv), torch.empty_like(gate), torch.empty_like(gate)
        for part in _parts(ctx.segments):
            k, length = part.jets, part.length
            square = (k, heads, length, length)
            q, key, v = (part.by_head(x).reshape(k * heads, length, width) for x in qkv.unbind(1))
            g = part.by_head(grad).reshape(k * heads, length, width)
            weight, open_ = part.by_jet(weights).contiguous(), part.by_jet(gate).contiguous()
            here = torch.bmm(g, v.transpose(1, 2)).view(square).mul_(weight)  # p dout v
            part.by_jet(grad_gate).copy_(here)
            here.mul_(open_)
            here.addcmul_(weight, here.sum(-1, keepdim=True), value=-1)
            if grad_logits is not None:
                here.add_(part.by_jet(grad_logits))
            part.by_jet(grad_term).copy_(here)
            flat = here.view(k * heads, length, length)
            weight.mul_(open_)
            grads = (
                torch.bmm(flat, key).mul_(ctx.scale),
                torch.bmm(flat.transpose(1, 2), q).mul_(ctx.scale),
                torch.bmm(weight.view_as(flat).transpose(1, 2), g),
            )
            for target, own in zip(grad_qkv.unbind(1), grads, strict=True):
                part.by_head(target).copy_(own.view(k, heads, length, width))
        grad_gate.mul_(gate).mul_(1 - gate)
        return grad_qkv, grad_term, grad_gate, None, None
