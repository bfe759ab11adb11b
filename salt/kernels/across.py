"""Attention from the tokens of one stream to those of another, of the same jets.

Shapes: B jets, T tokens that ask, S tokens that answer, H heads, d width of a head; k jets of a group, in which L
tokens ask and M answer at most.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from salt.kernels.attention import Kernel, attend_varlen, chosen
from salt.ragged import Segments

STEP = 4
"""Jets share a group whose numbers of tokens are the same when rounded up to a multiple of this: little is padded, and
groups are few."""

Integers = NDArray[np.int64]


class _Group(NamedTuple):
    """Jets that are computed together, and how many slots each has of either stream."""

    jets: int
    asking: int
    answering: int


class _Slots(NamedTuple):
    """All groups, one after the other, each jet in as many slots as its group has."""

    groups: list[_Group]
    asking: Integers
    """(sum of k L,) row of what asks; of an empty slot any."""
    answering: Integers
    """(sum of k M,)"""
    is_answer: NDArray[np.bool_]
    """(sum of k M,) whether somebody is in the slot."""
    place: Integers
    """(T,) slot of each token that asks; where a jet has nobody to answer, one behind the last."""


def attend_across(
    q: Tensor, k: Tensor, v: Tensor, asking: Segments, answering: Segments, scale: float, dropout: float = 0.0
) -> Tensor:
    """Softmax attention of each token to the tokens of another stream of its own jet; 0 where there are none.

    Parameters
    ----------
    q, k, v : Tensor
        Queries (T, H, d), keys and values (S, H, d).
    asking, answering : Segments
        Where each jet's tokens lie in either stream.
    scale : float
        Factor on the logits.
    dropout : float
        Probability of dropping a weight (0 outside training).

    Returns
    -------
    Tensor
        (T, H, d).
    """
    if chosen(q, dropout) is Kernel.VARLEN:
        lonely = (answering.lengths == 0)[asking.owner]
        return attend_varlen(q, k, v, asking, answering, scale).masked_fill(lonely[:, None, None], 0)
    return _attend_in_groups(q, k, v, _slots(asking.counts, answering.counts), scale, dropout)


@torch.compiler.disable
def _attend_in_groups(q: Tensor, k: Tensor, v: Tensor, slots: _Slots, scale: float, dropout: float) -> Tensor:
    def on_device(values: NDArray) -> Tensor:
        return torch.from_numpy(values).to(q.device, non_blocking=True)

    answering, is_answer = on_device(slots.answering), on_device(slots.is_answer)
    asked = [group.jets * group.asking for group in slots.groups]
    answered = [group.jets * group.answering for group in slots.groups]
    queries = q.index_select(0, on_device(slots.asking)).split(asked)
    keys, values = (x.index_select(0, answering).split(answered) for x in (k, v))
    out = []
    for group, mask, *parts in zip(slots.groups, is_answer.split(answered), queries, keys, values, strict=True):
        a, b, c = (x.unflatten(0, (group.jets, -1)).transpose(1, 2) for x in parts)  # (k, H, L or M, d)
        mask = mask.view(group.jets, 1, 1, group.answering).expand(-1, -1, group.asking, -1)
        part = F.scaled_dot_product_attention(a, b, c, attn_mask=mask, dropout_p=dropout, scale=scale)
        out.append(part.transpose(1, 2).flatten(0, 1))
    nothing = q.new_zeros(1, *q.shape[1:])
    used = [x[:0] for x in (q, k, v)]  # each has a gradient, be there nobody who asks or answers
    return torch.cat([*out, *used, nothing]).index_select(0, on_device(slots.place))


def _slots(asking: Integers, answering: Integers) -> _Slots:
    """How jets with these numbers of tokens (B,) of either stream are computed together."""
    sizes = np.stack([-(-asking // STEP) * STEP, -(-answering // STEP) * STEP])
    jets = np.lexsort(sizes)
    jets = jets[(sizes[:, jets] > 0).all(0)]
    _, starts = np.unique(sizes[:, jets][::-1], axis=1, return_index=True)
    groups = [
        _Group(len(members), int(asking[members].max()), int(answering[members].max()))
        for members in np.split(jets, starts[1:])
        if len(members)
    ]
    in_group = np.repeat(np.arange(len(groups)), [group.jets for group in groups])
    slots_asking = np.array([group.asking for group in groups], int)[in_group]
    slots_answering = np.array([group.answering for group in groups], int)[in_group]
    ask_rows, is_asking = _rows(asking, jets, slots_asking)
    answer_rows, is_answering = _rows(answering, jets, slots_answering)
    place = np.full(asking.sum(), len(ask_rows))
    place[ask_rows[is_asking]] = np.flatnonzero(is_asking)
    return _Slots(groups, ask_rows, answer_rows, is_answering, place)


def _rows(counts: Integers, jets: Integers, slots: Integers) -> tuple[Integers, NDArray[np.bool_]]:
    """Row of the token in each slot of these jets, and whether there is one; of an empty slot it is the jet's first."""
    starts = np.cumsum(counts) - counts
    rank = np.arange(slots.sum()) - np.repeat(np.cumsum(slots) - slots, slots)
    inside = rank < np.repeat(counts[jets], slots)
    return np.repeat(starts[jets], slots) + np.where(inside, rank, 0), inside
