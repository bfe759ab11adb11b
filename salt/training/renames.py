"""Names of weights: those that upstream's checkpoints have, and compiled models', in the words of this program.

One table, pattern -> replacement, in the order in which they apply. Names are those of a `SaltModule`'s state.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple, TypeVar

Value = TypeVar("Value")


class Rename(NamedTuple):
    """A regular expression, and what takes the place of what it finds in a name; None: the weight is left out."""

    pattern: str
    replacement: str | None


RENAMES = (
    Rename(r"(^|\.)_orig_mod\.", r"\1"),  # torch.compile's
    Rename(r"^(model\.tasks\.\d+)\.loss\.", r"\1.loss_function."),
    Rename(r"^model\.encoder\.featurewise\.", "model.featurewise_encoder."),
    Rename(r"^model\.mask_decoder\.inital_q$", "model.mask_decoder.queries"),
    Rename(r"^model\.mask_decoder\.layers\.\d+\.mask_net\.", None),  # the decoder's own, once more
    Rename(r"^model\.mask_decoder\.mask_loss\.empty_weight$", None),  # a setting
    Rename(r"^model\.encoder\.layers\.\d+\.edge_prenorm\.", None),  # whose output upstream never looks at
    Rename(r"\.register_mask$", None),  # of padded tokens: registers are never padding
)
"""Upstream's names, and ours."""


def renamed(weights: Mapping[str, Value]) -> dict[str, Value]:
    """The same weights under our names; raises ValueError where two come to have the same one.

    Parameters
    ----------
    weights : Mapping[str, Value]
        Of a checkpoint, whoever has written it: a name of ours is no upstream one and stays.
    """
    found: dict[str, Value] = {}
    origins: dict[str, str] = {}
    for old, value in weights.items():
        new = name_here(old)
        if new is None:
            continue
        if new in found:
            raise ValueError(f"the weights {origins[new]} and {old} of the checkpoint are both {new} here")
        found[new], origins[new] = value, old
    return found


def name_here(name: str) -> str | None:
    """The name that a weight has here; None: it is not needed."""
    for pattern, replacement in RENAMES:
        if replacement is None and re.search(pattern, name):
            return None
        if replacement is not None:
            name = re.sub(pattern, replacement, name)
    return name
