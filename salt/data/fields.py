"""Fields of records: which there are, which can be read, which slots they say are real.

Shapes: n jets, L slots for constituents.
"""

from __future__ import annotations

import numpy as np

from salt.data.names import unknown


def check_type(dtype: np.dtype, name: str, kind: str, where: str) -> None:
    """Raise where records of this type have no field of that name, or one that is not a number.

    Parameters
    ----------
    dtype : np.dtype
        Structured.
    name : str
        Field to be read.
    kind : str
        What it is, for messages: "variable" or "label".
    where : str
        Where the records are, for messages.
    """
    if name not in (dtype.names or ()):
        raise ValueError(unknown(kind, name, dtype.names or (), where))
    if dtype[name].kind not in "fiub":
        raise ValueError(f"{kind} {name!r} in {where} is of type {dtype[name]}; only numbers can be read")


def is_valid(records: np.ndarray) -> np.ndarray:
    """(n, L) bool: which slots of these (n, L) records hold a constituent; all where the file does not say."""
    if "valid" in (records.dtype.names or ()):
        return records["valid"].astype(bool)
    return np.ones(records.shape, bool)
