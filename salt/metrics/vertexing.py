"""Monitor of vertexing: pairs of tracks that are, rightly or not, put into one vertex.

Shapes: T tracks of all jets of a batch, P ordered pairs of tracks of one jet.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from salt.layout import Layout, Packed
from salt.metrics.monitor import Monitor

PRIMARY_VERTEX = 0
"""Code of ftagTruthVertexIndex for the hard collision; displaced vertices follow, negative codes have no vertex."""


class Vertexing(Monitor):
    """Efficiency and purity of pairs from displaced vertices, as `salt report` defines them, over all jets.

    Efficiency is the share of pairs that truly share a displaced vertex and are put together; purity the share of
    the pairs put together, those of two primary tracks left out, that truly share one.

    Parameters
    ----------
    label : str
        Label that tells each track's vertex.
    """

    def __init__(self, label: str) -> None:
        super().__init__({"pairs": (3,)})
        self._label = label

    def add(self, raw: Tensor, labels: Mapping[str, Tensor], layout: Layout | None, bins: Tensor | None) -> None:
        """Count logits (P, 1)."""
        assert isinstance(layout, Packed), "validation goes through packed jets"
        truth = labels[self._label].cpu().numpy()
        if not len(truth):
            return
        offsets = layout.segments.offsets.cpu().numpy()
        called = clusters(raw.detach().flatten().float().cpu().numpy(), offsets)
        jet = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
        primary, displaced = truth == PRIMARY_VERTEX, truth > PRIMARY_VERTEX
        vertex = jet * (int(truth.max()) + 1) + truth  # one number a vertex, where there is one
        both = called * (int(truth.max()) + 1) + truth
        pairs = self.counts["pairs"]
        pairs += pairs.new_tensor(
            [
                _pairs(vertex[displaced]),
                _pairs(called) - _pairs(called[primary]),
                _pairs(both[displaced]),
            ]
        )

    def figures(self) -> dict[str, float | None]:
        """Efficiency and purity."""
        true, grouped, correct = self.counts["pairs"].tolist()
        return {"efficiency": correct / true if true else None, "purity": correct / grouped if grouped else None}


def clusters(raw: NDArray, offsets: NDArray) -> NDArray:
    """A number (T,) for each track's cluster, from the logits (P,) of ordered pairs and offsets (B + 1,).

    Two tracks are linked where the mean of both directions' probabilities is above a half, which is where the sum of
    their logits is positive: so at least one of the two is, and only such pairs are looked at.
    """
    num_tracks = int(offsets[-1])
    lengths = np.diff(offsets)
    partners = np.repeat(np.maximum(lengths - 1, 0), lengths)  # (T,) pairs that each track begins
    start = np.concatenate([[0], np.cumsum(partners)])
    base = np.repeat(offsets[:-1], lengths)  # (T,) first track of the same jet
    likely = np.flatnonzero(raw > 0)
    first = np.searchsorted(start, likely, side="right") - 1
    place, second_place = first - base[first], likely - start[first]
    second_place = second_place + (second_place >= place)  # a track is not its own partner
    second = base[first] + second_place
    swapped = start[second] + place - (place > second_place)
    linked = raw[likely] + raw[swapped] > 0
    ends = first[linked], second[linked]
    graph = coo_array((np.ones(len(ends[0]), np.int8), ends), shape=(num_tracks, num_tracks))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def _pairs(keys: NDArray) -> int:
    """Unordered pairs of equal keys."""
    sizes = np.bincount(keys) if len(keys) else keys
    return int((sizes * (sizes - 1) // 2).sum())
