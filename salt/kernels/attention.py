"""Attention inside each jet: one function, several kernels.

Shapes: T tokens of all jets together, L tokens of one jet, H heads, d width of a head, k jets of the same
length.
"""

from __future__ import annotations

import logging
from enum import Enum
from functools import cache
from importlib.util import find_spec
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from salt.kernels.groups import parts
from salt.ragged import Segments

log = logging.getLogger(__name__)

SAFE_SPAN = 60.0
"""Logits that differ by no more than this can share one maximum: exp(-60) is far from underflow in float32."""


@torch.library.custom_op("salt::attend_runs", mutates_args=())
def _attend_runs(qkv: Tensor, offsets: Tensor, scale: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Attention inside each jet: qkv (T, 3, H, d) -> (T, H, d), and what the backward needs.

    The softmax is not normalised: e = exp(logit - maximum), and one division at the end, by the sums (T, H) that the
    column of ones gives. torch's own softmax is slow on rows as short as these.
    """
    tokens, _, heads, width = qkv.shape
    out, inverse = qkv.new_empty(tokens, heads, width), qkv.new_empty(tokens, heads)
    by_head = qkv.new_empty(tokens * heads * (3 * width + 1))
    weights = qkv.new_empty(heads * int(offsets.diff().square().sum()))
    for part in parts(offsets, heads, width, by_head, weights):
        k, length = part.jets, part.length
        source = qkv[part.rows].view(k, length, 3, heads, width).permute(2, 0, 3, 1, 4)
        part.queries_and_keys.view(2, k, heads, length, width).copy_(source[:2])
        part.values.view(k, heads, length, width + 1)[..., :width].copy_(source[2])
        part.values[..., width] = 1
        q, key = part.queries_and_keys
        torch.baddbmm(part.weights, q, key.transpose(1, 2), beta=0, alpha=scale, out=part.weights)
        _exponentiate(part.weights)
        product = torch.bmm(part.weights, part.values).view(k, heads, length, width + 1).transpose(1, 2)
        sums, here = part.room(inverse), part.room(out)
        inverse_here = sums.view(k, length, heads)
        torch.reciprocal(product[..., width], out=inverse_here)
        torch.mul(product[..., :width], inverse_here[..., None], out=here.view(k, length, heads, width))
        part.put(inverse, sums)
        part.put(out, here)
    return out, inverse, by_head, weights


def _exponentiate(logits: Tensor) -> None:
    """exp(logits - maximum) in place: one maximum for all where they are close together, else one a row."""
    low, high = torch.aminmax(logits)
    if float(high - low) < SAFE_SPAN and logits.dtype is not torch.float16:
        logits.sub_(high).exp_()
    else:
        logits.sub_(logits.amax(-1, keepdim=True)).exp_()


@torch.library.custom_op("salt::attend_runs_backward", mutates_args=())
def _attend_runs_backward(
    grad: Tensor, out: Tensor, inverse: Tensor, by_head: Tensor, weights: Tensor, offsets: Tensor, scale: float
) -> Tensor:
    """Gradient by qkv, (T, 3, H, d), from that by the output, (T, H, d).

    With p = e / sum: ds = p * (g v - g out). The subtraction rides as a column of the gradient on the column of ones.
    """
    tokens, heads, width = out.shape
    scaled = grad.new_empty(tokens, heads, width + 1)
    torch.mul(grad, inverse[..., None], out=scaled[..., :width])
    torch.mul((grad * out).sum(-1).neg_(), inverse, out=scaled[..., width])
    result = grad.new_empty(tokens, 3, heads, width)
    for part in parts(offsets, heads, width, by_head, weights):
        k, length = part.jets, part.length
        g = scaled[part.rows].view(k, length, heads, width + 1).transpose(1, 2).reshape(k * heads, length, width + 1)
        grad_logits = torch.bmm(g, part.values.transpose(1, 2)).mul_(part.weights)
        q, key = part.queries_and_keys
        grads = grad.new_empty(3, k * heads, length, width)
        torch.baddbmm(grads[0], grad_logits, key, beta=0, alpha=scale, out=grads[0])
        torch.baddbmm(grads[1], grad_logits.transpose(1, 2), q, beta=0, alpha=scale, out=grads[1])
        torch.bmm(part.weights.transpose(1, 2), g[..., :width], out=grads[2])
        here = part.room(result)
        here.view(k, length, 3, heads, width).permute(2, 0, 3, 1, 4).copy_(grads.view(3, k, heads, length, width))
        part.put(result, here)
    return result


@_attend_runs.register_fake
def _(qkv: Tensor, offsets: Tensor, scale: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    tokens, _, heads, width = qkv.shape
    size = torch.library.get_ctx().new_dynamic_size()
    by_head = qkv.new_empty(tokens * heads * (3 * width + 1))
    return qkv.new_empty(tokens, heads, width), qkv.new_empty(tokens, heads), by_head, qkv.new_empty(size)


@_attend_runs_backward.register_fake
def _(
    grad: Tensor, out: Tensor, inverse: Tensor, by_head: Tensor, weights: Tensor, offsets: Tensor, scale: float
) -> Tensor:
    tokens, heads, width = out.shape
    return grad.new_empty(tokens, 3, heads, width)


def _save(ctx, inputs: tuple, output: tuple) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    _, offsets, ctx.scale = inputs
    ctx.set_materialize_grads(False)  # what is kept for the backward has none, and is large
    ctx.save_for_backward(*output, offsets)


def _backward(ctx, grad: Tensor | None, *_: None) -> tuple[Tensor | None, None, None]:  # type: ignore[no-untyped-def]  # noqa: ANN001
    if grad is None:
        return None, None, None
    return _attend_runs_backward(grad.contiguous(), *ctx.saved_tensors, ctx.scale), None, None


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


class Kernel(Enum):
    """What computes attention."""

    RUNS = "one product of matrices for each run of jets"
    VARLEN = "torch.nn.attention.varlen.varlen_attn"
    SDPA = "torch.nn.functional.scaled_dot_product_attention"


class Choice(NamedTuple):
    """A kernel, and why not the fast one of the device; empty where it is."""

    kernel: Kernel
    reason: str = ""


HAS_VARLEN = find_spec("torch.nn.attention.varlen") is not None
VARLEN_TYPES = (torch.float16, torch.bfloat16)
VARLEN_CAPABILITY = (8, 0)
"""The oldest CUDA devices that have varlen_attn: Ampere."""


def choose(device: str, dtype: torch.dtype, dropout: float, width: int, capability: tuple[int, int]) -> Choice:
    """The kernel for tensors of this type, heads of this width and this dropout, on a device.

    Parameters
    ----------
    device : str
        Its type: cpu, cuda, ...
    capability : tuple[int, int]
        Of a CUDA device; of others it does not matter.
    """
    if device == "cpu" and not dropout:
        return Choice(Kernel.RUNS)
    if device != "cuda":
        return Choice(Kernel.SDPA)
    reasons = {
        "dropout of attention weights": dropout > 0,
        f"{str(dtype).removeprefix('torch.')} (trainer.precision)": dtype not in VARLEN_TYPES,
        f"heads of width {width}, no multiple of 8 up to 256": width % 8 != 0 or width > 256,
        f"a device of compute capability {capability}": capability < VARLEN_CAPABILITY,
        f"torch {torch.__version__}": not HAS_VARLEN,
    }
    reason = next((what for what, holds in reasons.items() if holds), "")
    return Choice(Kernel.SDPA if reason else Kernel.VARLEN, reason)


@cache
def _say_once(choice: Choice) -> None:
    """Say which slower kernel is used, and why."""
    log.info("attention: varlen_attn is not for %s; using %s", choice.reason, choice.kernel.value)


def chosen(x: Tensor, dropout: float) -> Kernel:
    """The kernel for queries (T, H, d); where it is not the fast one of the device, the log says why, once."""
    capability = torch.cuda.get_device_capability(x.device) if x.is_cuda else (0, 0)
    choice = choose(x.device.type, x.dtype, dropout, x.shape[-1], capability)
    if choice.reason and not torch.compiler.is_compiling():
        _say_once(choice)
    return choice.kernel


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
    kernel = chosen(qkv, dropout)
    if kernel is Kernel.RUNS:
        return _attend_runs(qkv, segments.offsets, scale)[0]
    if kernel is Kernel.VARLEN:
        q, k, v = qkv.unbind(1)
        return attend_varlen(q, k, v, segments, segments, scale)
    return _attend_sdpa(qkv, segments, scale, dropout)


def attend_varlen(q: Tensor, k: Tensor, v: Tensor, asking: Segments, answering: Segments, scale: float) -> Tensor:
    """Attention (T, H, d) by torch's variable-length CUDA kernel: half precision, no dropout."""
    from torch.nn.attention.varlen import varlen_attn

    ends = [segments.offsets.to(torch.int32) for segments in (asking, answering)]
    q, k, v = (x.contiguous() for x in (q, k, v))
    out = varlen_attn(q, k, v, ends[0], ends[1], asking.longest, answering.longest, scale=scale)
    assert isinstance(out, Tensor)
    return out
