"""Packed tokens and a few queries of each jet: products, and attention from one to the other.

Shapes: B jets, T tokens of all jets together, M queries of each jet, D width, H heads, d width of a head, k jets of L
tokens each that are neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from salt.ragged import Segments


def dot_queries(x: Tensor, queries: Tensor, segments: Segments) -> Tensor:
    """Product of each token with the queries of its jet: (T, D), (B, M, D) -> (T, M)."""
    parts = [
        torch.bmm(tokens, of.transpose(1, 2)).flatten(0, 1)
        for tokens, of in zip(_by_jet(x, segments), _of_jets(queries, segments), strict=True)
    ]
    return torch.cat(parts)


def attend_from(
    queries: Tensor, key: Tensor, value: Tensor, segments: Segments, scale: float, allowed: Tensor | None = None
) -> Tensor:
    """Softmax attention of the queries to the tokens of their jet; 0 where there is none.

    Parameters
    ----------
    queries : Tensor
        (B, M, H, d)
    key, value : Tensor
        (T, H, d)
    segments : Segments
        Where each jet's tokens lie.
    scale : float
        Factor on the logits.
    allowed : Tensor | None
        (T, M) bool, whether the query may look at the token; one that may look at none looks at all. None: at all.

    Returns
    -------
    Tensor
        (B, M, H, d).
    """
    parts = []
    masks = None if allowed is None else _by_jet(allowed, segments)
    runs = zip(_of_jets(queries, segments), _by_jet(key, segments), _by_jet(value, segments), strict=True)
    for q, k, v in runs:
        mask = None if masks is None else next(masks)
        parts.append(_attend(q, k, v, scale, None if mask is None else somewhere(mask.transpose(1, 2))))
    return torch.cat(parts)


def attend_to(query: Tensor, keys: Tensor, values: Tensor, segments: Segments, scale: float) -> Tensor:
    """Softmax attention of each token to the queries of its jet.

    Parameters
    ----------
    query : Tensor
        (T, H, d)
    keys, values : Tensor
        (B, M, H, d)
    segments : Segments
        Where each jet's tokens lie.
    scale : float
        Factor on the logits.

    Returns
    -------
    Tensor
        (T, H, d).
    """
    runs = zip(_by_jet(query, segments), _of_jets(keys, segments), _of_jets(values, segments), strict=True)
    return torch.cat([_attend(q, k, v, scale).flatten(0, 1) for q, k, v in runs])


def somewhere(allowed: Tensor) -> Tensor:
    """Where each query may look, (..., M, L) bool: one that may look nowhere may look everywhere."""
    return allowed | ~allowed.any(-1, keepdim=True)


def _attend(query: Tensor, key: Tensor, value: Tensor, scale: float, allowed: Tensor | None = None) -> Tensor:
    """Attention of (k, M, H, d) to (k, L, H, d), where allowed (k, M, L)."""
    if not key.shape[1] or not query.shape[1]:
        return torch.zeros_like(query)
    mask = None if allowed is None else allowed[:, None]
    q, k, v = (x.transpose(1, 2) for x in (query, key, value))
    return F.scaled_dot_product_attention(q, k, v, mask, scale=scale).transpose(1, 2)


def _by_jet(x: Tensor, segments: Segments) -> Iterator[Tensor]:
    """Views of packed values (T, ...), one of each run: (k, L, ...)."""
    for run, part in zip(segments.runs, x.split(segments.run_sizes), strict=True):
        yield part.view(run.jets, run.length, *x.shape[1:])


def _of_jets(x: Tensor, segments: Segments) -> Iterator[Tensor]:
    """Views of values of jets (B, ...), one of each run: (k, ...)."""
    yield from x.split([run.jets for run in segments.runs])
