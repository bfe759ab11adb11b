"""Metrics: which way each is better."""

from __future__ import annotations

import re
from typing import Literal

GREAT_IS_GOOD = re.compile(r"auc|rejection|accuracy|efficiency|purity")
"""In the names of metrics."""


def direction(name: str) -> Literal["min", "max"]:
    """Which way a metric is better, by its name; "min" for those that are not ours."""
    return "max" if GREAT_IS_GOOD.search(name) else "min"
