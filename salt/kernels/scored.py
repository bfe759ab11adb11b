"""Attention by a score that is learnt, of the sum of a query and a key (GATv2).

Shapes: T tokens of all jets, n of a jet, H heads, d width of a head.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from salt.ragged import Segments


def attend_scored(
    score: nn.Module, q: Tensor, k: Tensor, v: Tensor, segments: Segments, dropout: float = 0.0
) -> Tensor:
    """Softmax attention inside each jet, of score(q_i + k_j): (T, H, d) thrice -> (T, H, d)."""
    found = [v.new_zeros(0, *v.shape[1:])]
    sizes = segments.run_sizes
    for run, *parts in zip(segments.runs, q.split(sizes), k.split(sizes), v.split(sizes), strict=True):
        a, b, c = (part.unflatten(0, (run.jets, run.length)) for part in parts)  # (jets, length, H, d)
        found.append(attend_alike(score, a, b, c, dropout).flatten(0, 1))
    return torch.cat(found)


def attend_alike(score: nn.Module, q: Tensor, k: Tensor, v: Tensor, dropout: float) -> Tensor:
    """Attention of jets of equal length: (jets, n, H, d) thrice -> (jets, n, H, d)."""
    weight = torch.softmax(score(q[:, :, None] + k[:, None]), 2)  # (jets, n, n, H)
    weight = torch.nn.functional.dropout(weight, dropout)
    return torch.einsum("bijh,bjhd->bihd", weight, v)
