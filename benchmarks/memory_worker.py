"""A process that loads jets, maybe with little memory. Started and watched by memory.py.

Shapes: N jets of the store.
"""

from __future__ import annotations

import logging
import resource
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from loading_side import cpu_seconds
from loading_worker import Ours, consume_packed
from worker import answer_requests

import salt
from salt.training.memory import keep_freed_memory
from salt.types import Batch

LIMITS = {"address_space": resource.RLIMIT_AS, "data": resource.RLIMIT_DATA}


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """`limit` this process, or `load` epochs from nothing."""
    if request["do"] == "limit":
        resource.setrlimit(LIMITS[request["kind"]], (request["bytes"], request["bytes"]))
        return {}
    start = time.perf_counter()
    loader = Ours().module(request["setting"]).train_dataloader()
    opened = time.perf_counter() - start
    return {"open_s": opened, "epochs": [epoch(loader, path) for path in map(Path, request["records"])]}


def epoch(loader: Iterable[Batch], record: Path) -> dict[str, Any]:
    """Load all jets once, and write down which batch (N,) each of them was in, and its flavour.

    The record is a mapped file, so that it is no memory of this process.
    """
    places = np.load(record, "r+")
    wall, cpu = time.perf_counter(), cpu_seconds()
    jets, size, largest = 0, 0, 0
    for step, batch in enumerate(loader):
        count, tensors = consume_packed(batch)
        size = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        largest, jets = max(largest, size), jets + count
        index = batch.index.numpy()
        places["batch"][index] = step
        places["flavour"][index] = batch.labels["jets"]["flavour_label"].numpy()
    wall, cpu = time.perf_counter() - wall, cpu_seconds() - cpu
    return {"jets": jets, "wall": wall, "cpu": cpu, "batch_bytes": largest}


if __name__ == "__main__":
    keep_freed_memory()  # as `salt fit` does
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    answer_requests(answer, {"salt": str(Path(salt.__file__).parent)})
