"""The few operations on packed tokens that need thought: each one function, fast on CPU, with a door to CUDA.

Shapes: B jets, T tokens of all jets together, L tokens of one jet, P ordered pairs, H heads, d width of a head,
D width, k jets of equal length that are neighbours (a run: their rows are a view of shape (k, L)).

On CPU the loops below go over the runs (at most as many as there are different lengths, where the loader sorted the
batch), and no sum is ever scattered row by row: `index_add` handles one row at a time there.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from salt.ragged import Pairs, Segments

log = logging.getLogger(__name__)


def _segment_sum(x: Tensor, sizes: list[tuple[int, int]]) -> Tensor:
    """Sums over neighbouring rows: for each (k, L) the next k * L rows of x (., D) give k rows."""
    parts = x.split([k * length for k, length in sizes])
    return torch.cat([part.view(k, length, x.shape[1]).sum(1) for part, (k, length) in zip(parts, sizes, strict=True)])


class _Spread(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, segments: Segments) -> Tensor:  # type: ignore[no-untyped-def]  # noqa: ANN001
        ctx.segments = segments
        return x.index_select(0, segments.owner)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:  # type: ignore[no-untyped-def]  # noqa: ANN001
        return segment_sum(grad, ctx.segments), None


def spread(x: Tensor, segments: Segments) -> Tensor:
    """Give each token its jet's row: (B, D) -> (T, D)."""
    return _Spread.apply(x, segments)


def segment_sum(x: Tensor, segments: Segments) -> Tensor:
    """Sum of each jet's tokens: (T, D) -> (B, D)."""
    if x.device.type == "cpu":
        return _segment_sum(x, segments.runs)  # type: ignore[arg-type]
    return x.new_zeros(segments.num_jets, x.shape[1]).index_add_(0, segments.owner, x)


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


def take(x: Tensor, position: Tensor) -> Tensor:
    """Rows of x at these positions, all different."""
    return _Take.apply(x, position)


class _PairSum(torch.autograd.Function):
    """a_i + b_j for ordered pairs i != j of neighbouring jets: `sizes` are (tokens, partners of each) of each run."""

    @staticmethod
    def forward(ctx, a: Tensor, b: Tensor, pairs: Pairs, sizes: list[tuple[int, int]]) -> Tensor:  # type: ignore[no-untyped-def]  # noqa: ANN001
        ctx.pairs, ctx.sizes = pairs, sizes
        return a.index_select(0, pairs.first).add_(b.index_select(0, pairs.second))

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:  # type: ignore[no-untyped-def]  # noqa: ANN001
        swapped = grad.index_select(0, ctx.pairs.swapped)
        return _segment_sum(grad, ctx.sizes), _segment_sum(swapped, ctx.sizes), None, None


class _Chunk(NamedTuple):
    """Some neighbouring jets of equal length: their tokens, their pairs, and (tokens, partners of each)."""

    tokens: slice
    pairs: slice
    sizes: tuple[int, int]

    def of(self, pairs: Pairs) -> Pairs:
        """The chunk's own pairs, counted from its own first token and pair."""
        part = (x[self.pairs] for x in pairs)
        return Pairs(*(x - start for x, start in zip(part, (*[self.tokens.start] * 2, self.pairs.start), strict=True)))


def _chunks(segments: Segments) -> Iterator[_Chunk]:
    token = pair = 0
    for jets, length in segments.runs:
        partners = max(length - 1, 0)
        step = max(1, PAIRS_AT_A_TIME // max(length * partners, 1))
        for start in range(0, jets, step):
            tokens = min(step, jets - start) * length
            yield _Chunk(slice(token, token + tokens), slice(pair, pair + tokens * partners), (tokens, partners))
            token, pair = token + tokens, pair + tokens * partners


PAIRS_AT_A_TIME = 4096
"""So many pairs of width 128 in float32 are 2 MB: what they become stays in a core's cache. Measured, not sharp."""


class _PairMap(torch.autograd.Function):
    """Chunk by chunk, forward and again in the backward: activations of pairs are never kept, nor leave the cache."""

    @staticmethod
    def forward(ctx, fn: nn.Module, segments: Segments, a: Tensor, b: Tensor, *weights: Tensor) -> Tensor:  # type: ignore[no-untyped-def]  # noqa: ANN001
        ctx.fn, ctx.segments = fn, segments
        ctx.random_state = torch.get_rng_state()
        ctx.autocast = torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")
        ctx.save_for_backward(a, b, *weights)
        pairs = segments.pairs
        return torch.cat(
            [fn(_PairSum.apply(a[c.tokens], b[c.tokens], c.of(pairs), [c.sizes])) for c in _chunks(segments)]
        )

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[no-untyped-def]  # noqa: ANN001
        a, b, *weights = ctx.saved_tensors
        pairs = ctx.segments.pairs
        grad_a, grad_b = torch.empty_like(a), torch.empty_like(b)
        grad_weights = [torch.zeros_like(w) for w in weights]
        enabled, dtype = ctx.autocast
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.set_rng_state(ctx.random_state)  # the same dropout again
            for c in _chunks(ctx.segments):
                leaves = [x[c.tokens].detach().requires_grad_() for x in (a, b)]
                with torch.autocast("cpu", dtype, enabled):
                    y = ctx.fn(_PairSum.apply(*leaves, c.of(pairs), [c.sizes]))
                grad_a[c.tokens], grad_b[c.tokens], *grads = torch.autograd.grad(y, (*leaves, *weights), grad[c.pairs])
                for total, part in zip(grad_weights, grads, strict=True):
                    total.add_(part)
        return None, None, grad_a, grad_b, *grad_weights


def pair_map(fn: nn.Module, a: Tensor, b: Tensor, segments: Segments) -> Tensor:
    """fn(a_i + b_j) for all ordered pairs i != j of tokens of one jet: (T, D), (T, D) -> (P, out).

    `fn` works on each pair alone, and may overwrite its input.
    """
    if a.device.type != "cpu":
        sizes = [(run.jets * run.length, max(run.length - 1, 0)) for run in segments.runs]
        return fn(_PairSum.apply(a, b, segments.pairs, sizes))
    return _PairMap.apply(fn, segments, a, b, *fn.parameters())


# --- attention ---------------------------------------------------------------------------------------------------


def _runs(offsets: Tensor) -> list[tuple[int, int]]:
    """(jets, length) of neighbouring jets of equal length."""
    lengths, counts = torch.unique_consecutive(offsets.diff(), return_counts=True)
    return list(zip(counts.tolist(), lengths.tolist(), strict=True))


@torch.library.custom_op("salt::attend_runs", mutates_args=())
def _attend_runs(qkv: Tensor, offsets: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Attention inside each jet: qkv (T, 3, H, d) -> (T, H, d), and the softmax that the backward needs, flat."""
    _, _, heads, width = qkv.shape
    runs = _runs(offsets)
    out = qkv.new_empty(qkv.shape[0], heads, width)
    probs = qkv.new_empty(sum(k * heads * length * length for k, length in runs))
    start = at = 0
    for k, length in runs:
        rows, size = k * length, k * heads * length * length
        if rows == 0:
            continue
        q, key, v = _by_head(qkv[start : start + rows], k, length)
        p = probs[at : at + size].view(k * heads, length, length)
        torch.baddbmm(p, q, key.transpose(1, 2), beta=0, alpha=scale, out=p)
        torch.softmax(p, -1, out=p)
        o = torch.bmm(p, v).view(k, heads, length, width)
        out[start : start + rows].view(k, length, heads, width).copy_(o.transpose(1, 2))
        start, at = start + rows, at + size
    return out, probs


def _by_head(qkv: Tensor, k: int, length: int) -> Tensor:
    """(k * L, n, H, d) -> contiguous (n, k * H, L, d)."""
    _, n, heads, width = qkv.shape
    split = qkv.view(k, length, n, heads, width).permute(2, 0, 3, 1, 4)
    return split.reshape(n, k * heads, length, width)


@torch.library.custom_op("salt::attend_runs_backward", mutates_args=())
def _attend_runs_backward(grad: Tensor, qkv: Tensor, offsets: Tensor, probs: Tensor, scale: float) -> Tensor:
    """Gradient of attention by qkv, (T, 3, H, d), from that by its output, (T, H, d)."""
    _, _, heads, width = qkv.shape
    out = torch.empty_like(qkv)
    start = at = 0
    for k, length in _runs(offsets):
        rows, size = k * length, k * heads * length * length
        if rows == 0:
            continue
        q, key, v = _by_head(qkv[start : start + rows], k, length)
        (g,) = _by_head(grad[start : start + rows].unsqueeze(1), k, length)
        p = probs[at : at + size].view(k * heads, length, length)
        grad_p = torch.bmm(g, v.transpose(1, 2))
        grad_s = torch.ops.aten._softmax_backward_data(grad_p, p, -1, p.dtype)
        target = out[start : start + rows].view(k, length, 3, heads, width).permute(2, 0, 3, 1, 4)
        target[0].copy_(torch.bmm(grad_s, key).mul_(scale).view(k, heads, length, width))
        target[1].copy_(torch.bmm(grad_s.transpose(1, 2), q).mul_(scale).view(k, heads, length, width))
        target[2].copy_(torch.bmm(p.transpose(1, 2), g).view(k, heads, length, width))
        start, at = start + rows, at + size
    return out


@_attend_runs.register_fake
def _(qkv: Tensor, offsets: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    tokens, _, heads, width = qkv.shape
    size = torch.library.get_ctx().new_dynamic_size()
    return qkv.new_empty(tokens, heads, width), qkv.new_empty(size)


@_attend_runs_backward.register_fake
def _(grad: Tensor, qkv: Tensor, offsets: Tensor, probs: Tensor, scale: float) -> Tensor:
    return torch.empty_like(qkv)


def _save(ctx, inputs: tuple, output: tuple) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    qkv, offsets, ctx.scale = inputs
    ctx.save_for_backward(qkv, offsets, output[1])


def _backward(ctx, grad: Tensor, _: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[no-untyped-def]  # noqa: ANN001
    qkv, offsets, probs = ctx.saved_tensors
    return _attend_runs_backward(grad.contiguous(), qkv, offsets, probs, ctx.scale), None, None


_attend_runs.register_autograd(_backward, setup_context=_save)


def _attend_sdpa(qkv: Tensor, segments: Segments, scale: float, dropout: float) -> Tensor:
    """Attention by torch's own kernel, one call a run: any device and type, with dropout."""
    _, _, heads, width = qkv.shape
    out = []
    for run, part in zip(segments.runs, qkv.split(segments.run_sizes), strict=True):
        q, key, v = part.view(run.jets, run.length, 3, heads, width).permute(2, 0, 3, 1, 4)
        o = F.scaled_dot_product_attention(q, key, v, dropout_p=dropout, scale=scale)
        out.append(o.transpose(1, 2).reshape(run.jets * run.length, heads, width))
    return torch.cat(out)


@cache
def _say_once(message: str) -> None:
    log.info(message)


def attend(qkv: Tensor, segments: Segments, scale: float, dropout: float = 0.0) -> Tensor:
    """Softmax attention of each token to the tokens of its own jet.

    Parameters
    ----------
    qkv : Tensor
        (T, 3, H, d): queries, keys and values.
    segments : Segments
        Where each jet's tokens lie.
    scale : float
        Factor on the logits.
    dropout : float
        Probability of dropping a weight (0 outside training).

    Returns
    -------
    Tensor
        (T, H, d).
    """
    if qkv.device.type == "cpu" and dropout == 0:
        return _attend_runs(qkv, segments.offsets, scale)[0]
    if qkv.is_cuda and dropout == 0 and qkv.dtype in {torch.float16, torch.bfloat16}:
        from torch.nn.attention.varlen import varlen_attn

        longest = max((run.length for run in segments.runs), default=0)
        offsets = segments.offsets.to(torch.int32)
        q, key, v = (x.contiguous() for x in qkv.unbind(1))
        out = varlen_attn(q, key, v, offsets, offsets, longest, longest, scale=scale)
        assert isinstance(out, Tensor)
        return out
    if qkv.is_cuda:
        why = "dropout inside attention" if dropout else f"{qkv.dtype}"
        _say_once(f"attention: {why} is not for the variable-length CUDA kernel; using scaled_dot_product_attention")
    return _attend_sdpa(qkv, segments, scale, dropout)
