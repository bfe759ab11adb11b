"""Layouts: where the tokens of each jet are. This face names them."""

from salt.layout.layout import Layout, Merged
from salt.layout.one import One
from salt.layout.packed import Packed

__all__ = ["Layout", "Merged", "One", "Packed"]
