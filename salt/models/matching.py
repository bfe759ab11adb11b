"""Which query is to answer for which object: the assignment that costs least (Kuhn, Nav. Res. Logist. Q. 2, 1955).

Shapes: B jets, Q queries and M objects of each jet, n objects that got a query.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

HOPELESS = 1e12
"""Cost in the place of one that is not finite: the losses will tell of it."""


class Matched(NamedTuple):
    """Queries and objects that belong together."""

    jet: Tensor
    """(n,) int64"""
    query: Tensor
    """(n,) int64"""
    object: Tensor
    """(n,) int64"""
    query_of: Tensor
    """(B, M) int64: the query of each object; 0 where it has none."""
    has_query: Tensor
    """(B, M) bool"""

    def of_queries(self, values: Tensor, num_queries: int, default: int) -> Tensor:
        """(B, Q) what is said (B, M) of the object of each query; the default where a query has none."""
        found = values.new_full((len(values), num_queries), default)
        found[self.jet, self.query] = values[self.jet, self.object]
        return found


def match(cost: Tensor, real: Tensor) -> Matched:
    """Give each real object of a jet a query of its own; where there are more objects than queries, some get none.

    The costs go to the CPU in one piece. There scipy takes some 12 microseconds for a jet with two objects or more, and
    numpy takes all others together: 6 ms for 1000 jets, 1 % of a training step of MaskFormer.yaml on the same CPU.

    Parameters
    ----------
    cost : Tensor
        (B, Q, M)
    real : Tensor
        (B, M) bool: whether the slot has an object.
    """
    both = torch.cat([cost, real[:, None].to(cost.dtype)], 1).cpu().numpy()  # one transfer: it waits for the device
    costs, is_real = np.nan_to_num(both[:, :-1], nan=HOPELESS, posinf=HOPELESS, neginf=-HOPELESS), both[:, -1] > 0
    query_of = _assigned(costs, is_real)
    jet, number = np.nonzero(query_of >= 0)
    parts = jet, query_of[jet, number], number, query_of.clip(0), query_of >= 0
    return Matched(*(torch.from_numpy(part).to(cost.device, non_blocking=True) for part in parts))


def _assigned(cost: NDArray, real: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(B, M) query of each object; -1 where it has none."""
    from scipy.optimize import linear_sum_assignment

    query_of = np.full(real.shape, -1)
    numbers = real.sum(1)
    alone = np.flatnonzero(numbers == 1)
    slots = real[alone].argmax(1)
    query_of[alone, slots] = cost[alone, :, slots].argmin(1)
    for jet in np.flatnonzero(numbers > 1):
        slots = np.flatnonzero(real[jet])
        queries, places = linear_sum_assignment(cost[jet][:, slots])
        query_of[jet, slots[places]] = queries
    return query_of
