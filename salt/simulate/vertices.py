"""True vertices of tracks.

Shapes: T tracks, J jets.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from salt.simulate import candidates, pairing
from salt.simulate.events import Array
from salt.simulate.tracks import Tracks

MERGE_DISTANCE = 0.1  # mm, ATLAS's: vertices nearer than that count as one
PRIMARY_INDEX, NO_TRUTH = 0, -2


def vertex_index(tracks: Tracks, num_jets: int) -> Array:
    """ftagTruthVertexIndex: equal for tracks of one vertex, 0 for the primary one, -2 for pile-up and fakes.

    The hard collision takes part as a point of each jet, so whatever decays within 0.1 mm of it is index 0.
    """
    known = (tracks.truth.origin != candidates.PILEUP) & (tracks.truth.origin != candidates.FAKE)
    truth = tracks.truth.select(known)
    points = np.stack([truth.x, truth.y, truth.z], axis=1)
    points = np.concatenate([np.zeros((num_jets, 3)), points])
    jet = np.concatenate([np.arange(num_jets), tracks.jet[known]])
    order = np.argsort(jet, kind="stable")  # the collision comes first in its jet
    left, right = pairing.pairs(jet[order], jet[order])
    apart = np.linalg.norm(points[order][left] - points[order][right], axis=1)
    joined = apart < MERGE_DISTANCE
    graph = coo_array((np.ones(joined.sum()), (left[joined], right[joined])), shape=(len(jet), len(jet)))
    _, component = connected_components(graph, directed=False)

    # Number the components of a jet in the order of their first tracks, the collision's being 0.
    _, first, inverse = np.unique(component, return_index=True, return_inverse=True)
    starts = np.zeros(len(jet), np.int64)
    starts[first] = 1
    running = np.cumsum(starts)
    of_jet = running[np.searchsorted(jet[order], jet[order], side="left")]
    number = np.empty(len(jet), np.int64)
    number[order] = running[first][inverse] - of_jet
    index = np.full(len(tracks), NO_TRUTH)
    index[known] = number[num_jets:]
    return index
