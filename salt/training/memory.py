"""Memory of the process: keep what was freed, since the next step wants it again."""

from __future__ import annotations

import ctypes
import platform

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Parameters of mallopt, from glibc's malloc.h."""


def keep_freed_memory() -> bool:
    """Tell glibc's malloc to keep freed memory rather than give it back; whether it did.

    A training step on CPU allocates and frees the same hundreds of megabytes again and again; by default each large
    tensor is mapped anew and every page of it is a page fault: 8 % of a step here.
    """
    if platform.system() != "Linux":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, 1 << 30) and mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1))
