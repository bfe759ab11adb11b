"""Workers: how many processes gather batches, and whether that is a good number."""

from __future__ import annotations

import logging
import os

from lightning.pytorch.utilities.rank_zero import rank_zero_only

info = rank_zero_only(logging.getLogger(__name__).info)
warn = rank_zero_only(logging.getLogger(__name__).warning)


def num_cpus() -> int:
    """How many CPUs this process may use, which may be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def speak_of_workers(num_workers: int) -> None:
    """Say at the start what a number of workers means, and warn of one that is wrong."""
    if num_workers < 0:
        raise ValueError(f"data.num_workers is {num_workers}; it must be 0 or more")
    if num_workers > num_cpus():
        warn(
            "data.num_workers is %d, but this process may use %d CPUs: more workers than these slow each other down",
            num_workers,
            num_cpus(),
        )
    if num_workers == 0:
        info("data.num_workers is 0: one thread gathers batches ahead; if training has to wait for it, you are told")
