"""Memory that loading takes, and how well it shuffles what memory cannot hold.

    .venv/bin/python benchmarks/memory.py
    .venv/bin/python benchmarks/memory.py --shuffle window --store-gb 5 --limit-gb 2 --limit-kind address_space

A file sorted by flavour is loaded for some epochs by a process that does nothing else. Meanwhile its anonymous memory
(RssAnon: what it holds for itself, beyond the mapped store) is watched; what counts is how much it grew since its
imports were done. The store is built by another process beforehand, which is watched too.

`address_space` limits all that a process maps (RLIMIT_AS), the store included: what runs under it needs no more memory
than that, whatever else. `data` limits what it holds for itself (RLIMIT_DATA).

How well it shuffles: chi2 per degree of freedom of the flavours in a batch (1 for an exact shuffle, large where batches
show the file's order), and how often two jets of a batch meet again in the next epoch, over how often chance has it.

Shapes: N jets of the store.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from loading import setting
from step import HERE, Worker
from training_files import JETS_CHUNK, KINDS, make_file, tile_file

IN_FLIGHT = 4
"""Batches that are there at once: one in use, `prefetch_factor` (2) waiting, one being gathered."""
RECORD = np.dtype([("batch", np.int32), ("flavour", np.int8)])


class Watch(threading.Thread):
    """The most memory that a process takes while it answers.

    Parameters
    ----------
    pid : int
        The process.
    """

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid = pid
        self.before = self._read()
        self.most = dict(self.before)
        self._stop_now = threading.Event()

    def run(self) -> None:
        while not self._stop_now.wait(0.002):
            # of a process that has ended nothing is read, and what it took at most stays
            self.most.update({name: max(size, self.most[name]) for name, size in self._read().items()})

    def stop(self) -> dict[str, float]:
        """What it took at most, in MB: `grown` is anonymous memory over that of the beginning."""
        self._stop_now.set()
        self.join()
        grown = self.most["RssAnon"] - self.before["RssAnon"]
        return {"grown_mb": grown / 1e3, **{f"{name}_mb".lower(): size / 1e3 for name, size in self.most.items()}}

    def _read(self) -> dict[str, int]:
        """Sizes in kB; VmSize is all that is mapped, VmRSS all that is in memory, the store's pages included."""
        wanted = {"VmSize", "VmRSS", "RssAnon"}
        try:
            lines = [line.split() for line in Path(f"/proc/{self.pid}/status").read_text().splitlines()]
        except (FileNotFoundError, ProcessLookupError):
            return {}
        return {words[0].rstrip(":"): int(words[1]) for words in lines if words[0].rstrip(":") in wanted}


def chi2_per_degree(batch: np.ndarray, flavour: np.ndarray) -> float:
    """Of the flavours' numbers in the batches: mean over batches of chi2 / (flavours - 1).

    Parameters
    ----------
    batch : np.ndarray
        (N,) number of the batch that each jet was in.
    flavour : np.ndarray
        (N,) flavour of each jet.
    """
    kinds = int(flavour.max()) + 1
    counts = np.bincount(batch.astype(np.int64) * kinds + flavour, minlength=(int(batch.max()) + 1) * kinds)
    counts = counts.reshape(-1, kinds)
    expected = counts.sum(axis=1, keepdims=True) * (counts.sum(axis=0) / len(batch))
    # what was drawn cannot be drawn again: a share of the variance is missing in batches that hold much of the file
    left = 1 - counts.sum(axis=1) / len(batch)
    chi2 = ((counts - expected) ** 2 / expected).sum(axis=1)
    return float((chi2[left > 0] / left[left > 0]).mean() / (kinds - 1))


def met_again(first: np.ndarray, second: np.ndarray) -> float:
    """How many pairs of jets share a batch in both epochs, over how many would by chance.

    Parameters
    ----------
    first, second : np.ndarray
        (N,) number of the batch that each jet was in, in two epochs.
    """

    def pairs(counts: np.ndarray) -> float:
        return float((counts.astype(np.float64) * (counts - 1) / 2).sum())

    together = first.astype(np.int64) * (int(second.max()) + 1) + second
    both = pairs(np.unique(together, return_counts=True)[1])
    return both / (pairs(np.bincount(first)) * pairs(np.bincount(second)) / pairs(np.array([len(first)])))


def forget(folder: Path) -> None:
    """Drop the files of a folder from the page cache."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def watched(worker: Worker, **request: Any) -> tuple[dict[str, Any], dict[str, float]]:
    """An answer, and the most memory that it took."""
    watch = Watch(worker.process.pid)
    watch.start()
    try:
        answer = worker.ask(**request)
    finally:
        memory = watch.stop()
    return answer, memory


def records(folder: Path, jets: int, epochs: int) -> list[str]:
    """Files to write down where each jet was."""
    paths = [folder / f"epoch_{epoch}.npy" for epoch in range(epochs)]
    for path in paths:
        np.lib.format.open_memmap(path, "w+", RECORD, (jets,))["batch"][:] = -1
    return list(map(str, paths))


def load(asked: dict[str, Any], paths: list[str], limit: dict[str, Any] | None) -> dict[str, Any]:
    """Epochs in a process of their own: seconds, memory."""
    with closing(Worker(Path(sys.executable), HERE / "memory_worker.py")) as worker:
        if limit:
            worker.ask(do="limit", **limit)
        answer, memory = watched(worker, do="load", setting=asked, records=paths)
    return {**answer, **{name: round(size, 1) for name, size in memory.items()}}


def make_sample(options: argparse.Namespace, folder: Path) -> tuple[Path, int]:
    """A file sorted by flavour whose store has the size asked for, and its number of jets."""
    small = make_file(folder / "small.h5", replace(KINDS[options.kind], by_class=True), options.jets)
    if not options.store_gb:
        return small, options.jets
    store = folder / "small_store"
    load({**asked(small, store, options), "shuffle": "none"}, [], None)
    times = -(-int(options.store_gb * 1e9) // folder_bytes(store))
    return tile_file(small, folder / "large.h5", times), options.jets * times


def asked(file: Path, store: Path, options: argparse.Namespace) -> dict[str, Any]:
    """What the loader is told."""
    return {
        **setting(file, options.batch_size),
        "num_workers": 0,
        "store_dir": str(store),
        "shuffle": options.shuffle,
        "window_jets": options.window_jets,
    }


def run(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Build the store, load the epochs, judge the shuffle."""
    file, jets = make_sample(options, folder)
    store = folder / "store"
    wanted = asked(file, store, options)
    built = load(wanted, [], None)
    if options.cold:
        forget(store)
    limit = {"kind": options.limit_kind, "bytes": int(options.limit_gb * 1e9)} if options.limit_gb else None
    paths = records(folder, jets, options.epochs)
    loaded = load(wanted, paths, limit)
    seen = [np.load(path, "r") for path in paths]
    if any(
        epoch["jets"] != jets or record["batch"].min() < 0 for epoch, record in zip(loaded["epochs"], seen, strict=True)
    ):
        raise SystemExit(f"an epoch did not hold each of the {jets} jets once")
    batch_mb = max(epoch["batch_bytes"] for epoch in loaded["epochs"]) / 1e6
    return {
        "jets": jets,
        "batch_size": options.batch_size,
        "shuffle": options.shuffle,
        "limit": limit,
        "store_mb": round(folder_bytes(store) / 1e6, 1),
        "build_s": round(built["open_s"], 2),
        "build_grown_mb": built["grown_mb"],
        "jets_per_s": [round(jets / epoch["wall"]) for epoch in loaded["epochs"]],
        "batch_mb": round(batch_mb, 3),
        "grown_mb": loaded["grown_mb"],
        "in_flight_mb": round(IN_FLIGHT * batch_mb, 3),
        "grown_over_in_flight": round(loaded["grown_mb"] / (IN_FLIGHT * batch_mb), 2),
        "all_in_memory_mb": loaded["vmrss_mb"],
        "mapped_mb": loaded["vmsize_mb"],
        "chi2_per_degree": [round(chi2_per_degree(of["batch"], of["flavour"]), 3) for of in seen],
        "met_again": [round(met_again(a["batch"], b["batch"]), 3) for a, b in pairwise(seen)],
    }


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n", maxsplit=1)[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--jets", type=int, default=200_000, help="jets of the file, or of what is tiled")
    parser.add_argument("--kind", choices=KINDS, default="lz4")
    parser.add_argument("--batch-size", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--shuffle", choices=["auto", "exact", "window", "batch", "none"], default="exact")
    parser.add_argument("--window-jets", type=int, help="jets of a window; default: the loader's own choice")
    parser.add_argument("--store-gb", type=float, help="repeat the jets until the store is so large")
    parser.add_argument("--limit-gb", type=float, help="memory of the loading process; default: no limit")
    parser.add_argument("--limit-kind", choices=["address_space", "data"], default="address_space")
    parser.add_argument("--cold", action="store_true", help="drop the store from the page cache first")
    parser.add_argument("--folder", type=Path, help="where files are made; default: the system's temporary folder")
    parser.add_argument("--json", action="store_true", help="print one JSON object in place of lines")
    options = parser.parse_args()
    if options.store_gb and options.jets % JETS_CHUNK:
        parser.error(f"--jets {options.jets}: with --store-gb it must be full thousands")
    return options


def main() -> None:
    options = arguments()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        report = run(options, Path(folder))
    report["seconds"] = round(time.perf_counter() - start, 1)
    print(json.dumps(report) if options.json else "\n".join(f"{name:18} {value}" for name, value in report.items()))


if __name__ == "__main__":
    main()
