"""What a training step costs besides time: what it keeps for the backward pass, its FLOPs, and the machine's best.

Imported by both sides, so it imports neither's `salt`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode, register_flop_formula

PEAK_ROUNDS = 5
LEAST_SECONDS = 0.05
BETWEEN_WAITS = 20


@register_flop_formula(torch.ops.aten.addmm_)
def _added_in_place(out: Any, a: Any, b: Any, *_: Any, **__: Any) -> int:
    """Torch counts products that are added, but not those in place."""
    return 2 * a[0] * a[1] * b[1]


def kept_bytes(model: nn.Module, forward: Callable[[], Tensor]) -> int:
    """Bytes that a forward pass keeps for the backward, each storage once, those of the parameters not.

    Counted is what autograd saves, and what functions with a backward of their own hold besides.
    """
    own = {p.untyped_storage().data_ptr() for p in [*model.parameters(), *model.buffers()]}
    sizes: dict[int, int] = {}
    saved: list[Tensor] = []  # alive, so that no storage takes the place of another

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            sizes[storage.data_ptr()] = storage.nbytes()
            saved.append(tensor.detach())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = forward()
    for node in _nodes(loss):
        for tensor in _tensors(
            vars(node).values() if isinstance(node, torch.autograd.function.BackwardCFunction) else ()
        ):
            keep(tensor)
    return sum(sizes.values())


def _nodes(loss: Tensor) -> Iterator[Any]:
    """All nodes of the graph behind a loss."""
    seen, waiting = set(), [loss.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        yield node
        waiting += [before for before, _ in node.next_functions]


def _tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)
        elif isinstance(value, dict):
            yield from _tensors(value.values())


def count_flops(step: Callable[[], object]) -> int:
    """FLOPs of the matrix products of a step, forward and backward."""
    with FlopCounterMode(display=False) as counter:
        step()
    return int(counter.get_total_flops())


def peak_flops(rows: int, width: int, device: str = "cpu") -> float:
    """FLOPs per second of the best product here: a large square, and shapes like the model's.

    On a CPU on one thread in float32, by CPU seconds; on a GPU in bfloat16.

    Parameters
    ----------
    rows : int
        Tokens of a batch.
    width : int
        Of a token.
    device : str
        cpu or cuda.
    """
    square = 1024 if device == "cpu" else 8192
    shapes = [(square, square, square), (rows, width, width), (rows, width, 3 * width), (width, rows, 2 * width)]
    return max(_speed(*shape, device) for shape in shapes)


def _speed(rows: int, inner: int, columns: int, device: str) -> float:
    """Of a product of this size, the best of some rounds."""
    kind = {"device": device, "dtype": torch.float32 if device == "cpu" else torch.bfloat16}
    a, b = torch.randn(rows, inner, **kind), torch.randn(inner, columns, **kind)
    out = torch.empty(rows, columns, **kind)
    return max(_once(a, b, out) for _ in range(PEAK_ROUNDS))


def _once(a: Tensor, b: Tensor, out: Tensor) -> float:
    """FLOPs per second, of as many products as can be timed."""
    clock = time.process_time if a.device.type == "cpu" else _after_gpu
    times, began, seconds = 0, clock(), 0.0
    while seconds < LEAST_SECONDS:
        for _ in range(1 if a.device.type == "cpu" else BETWEEN_WAITS):
            torch.mm(a, b, out=out)
            times += 1
        seconds = clock() - began
    return 2.0 * a.shape[0] * a.shape[1] * b.shape[1] * times / seconds


def _after_gpu() -> float:
    """Seconds, once the GPU has done all."""
    torch.cuda.synchronize()
    return time.perf_counter()
