"""Jets per second that are loaded, ours against upstream's, from the same files.

    benchmarks/peers/setup && .venv/bin/python benchmarks/loading.py

Processes of each package take turns, an epoch each: only one loads at a time, from a warm page cache, and a batch's
tensors are looked at, not trained on. Ours shuffles exactly; its batches are taken packed, as our model takes them, and
padded to what upstream's loader gives: the same float32 arrays, masks and labels. Upstream loads with its defaults, in
the main process and with worker processes; its best mode is the one with the most jets per second in this run. The
number is the median over rounds of (upstream's seconds / our seconds), of wall time and of CPU time with children.

First epochs are measured alike, from making the data module to the last batch; ours then builds its store as well.

With --verify nothing is timed: a shuffled epoch of ours must hold each jet once and, put back in the order of the file
and padded, equal upstream's arrays bit for bit.

Shapes: N jets of a file, n jets of a block, L slots.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import h5py
import hdf5plugin  # noqa: F401 (registers LZ4)
import numpy as np
from step import HERE, PEER_PYTHON, Worker, interval
from training_files import KINDS, LABELS, VARIABLES, Kind, make_file

OURS = ("packed", "padded")
COMPARED_JETS = 10_000
"""Jets that are compared at a time."""

# name -> (kind, jets beyond those asked for; None for one jet)
CASES: dict[str, tuple[Kind, int | None]] = {
    "plain": (KINDS["lz4"], 0),
    "wide": (KINDS["wide"], 0),
    "float16": (KINDS["float16"], 0),
    "holes": (Kind(holes=0.2), 0),
    "padding_of_nan": (Kind(filling=np.nan), 0),
    "last_chunk_not_full": (KINDS["lz4"], 37),
    "jets_without_tracks": (Kind(empty=0.5), 0),
    "no_tracks": (Kind(empty=1), 0),
    "one_jet": (KINDS["lz4"], None),
}


class Race:
    """One file, loaded by both sides.

    Parameters
    ----------
    ours : Worker
        Our side.
    peers : dict[int, Worker]
        Number of worker processes -> a process of upstream's that loads with so many.
    file : Path
        The file; its dictionaries are beside it.
    batch_size : int
        Jets of a batch.
    """

    def __init__(self, ours: Worker, peers: dict[int, Worker], file: Path, batch_size: int) -> None:
        self.file = file
        self.stores = {batches: file.parent / f"store_{batches}" for batches in OURS}
        self.turns: dict[str, tuple[Worker, dict[str, Any]]] = {}
        for batches, store in self.stores.items():
            ours_only = {"num_workers": 0, "batches": batches, "store_dir": str(store), "shuffle": "exact"}
            self.turns[batches] = ours, {**setting(file, batch_size), **ours_only}
        for num_workers, peer in peers.items():
            self.turns[f"upstream_{num_workers}"] = peer, {**setting(file, batch_size), "num_workers": num_workers}
        self.rounds = 0

    def first(self) -> dict[str, dict[str, Any]]:
        """A first epoch of everybody, from nothing."""
        results = {}
        for mode, (worker, setting) in self._order():
            if mode in self.stores:
                shutil.rmtree(self.stores[mode], ignore_errors=True)
            results[mode] = worker.ask(do="first", name=mode, setting=setting)
        return results

    def round(self) -> dict[str, dict[str, Any]]:
        """One more epoch of everybody."""
        return {mode: worker.ask(do="epoch", name=mode) for mode, (worker, _) in self._order()}

    def close(self) -> None:
        """Let the sides forget their loaders."""
        for mode, (worker, _) in self.turns.items():
            worker.ask(do="close", name=mode)

    def store_bytes(self) -> int:
        """Size of the store on disk."""
        return sum(path.stat().st_size for path in self.stores["packed"].rglob("*") if path.is_file())

    def _order(self) -> list[tuple[str, tuple[Worker, dict[str, Any]]]]:
        """Whose turn it is: who begins alternates."""
        self.rounds += 1
        turns = list(self.turns.items())
        return turns if self.rounds % 2 else turns[::-1]


def setting(file: Path, batch_size: int) -> dict[str, Any]:
    """What both sides are told."""
    return {
        "file": str(file),
        "batch_size": batch_size,
        "norm_dict": str(file.parent / "norm_dict.yaml"),
        "class_dict": str(file.parent / "class_dict.yaml"),
        "variables": VARIABLES,
        "labels": LABELS,
    }


def run(race: Race, jets: int, firsts: int, rounds: int) -> dict[str, Any]:
    """First epochs, one to warm up, the others: what came of them."""
    first = [race.first() for _ in range(firsts)]
    race.round()
    later = [race.round() for _ in range(rounds)]
    for result in (*first, *later):
        check(result, jets)
    best = min((mode for mode in race.turns if mode not in OURS), key=lambda mode: _median(later, mode, "wall"))
    report: dict[str, Any] = {"best": best, "file_bytes": race.file.stat().st_size, "store_bytes": race.store_bytes()}
    report["store_share"] = round(report["store_bytes"] / report["file_bytes"], 4)
    for mode in race.turns:
        report[f"jets_per_s_{mode}"] = round(jets / _median(later, mode, "wall"))
        report[f"cpu_us_per_jet_{mode}"] = round(1e6 * _median(later, mode, "cpu") / jets, 3)
        report[f"first_s_{mode}"] = round(_median(first, mode, "wall"), 3)
        report[f"first_cpu_s_{mode}"] = round(_median(first, mode, "cpu"), 3)
    for mode in OURS:
        fastest = min((m for m in race.turns if m not in OURS), key=lambda other: _median(first, other, "wall"))
        for name, results, key, other in (
            (f"ratio_{mode}", later, "wall", best),
            (f"cpu_ratio_{mode}", later, "cpu", best),
            (f"first_ratio_{mode}", first, "wall", fastest),
            (f"first_cpu_ratio_{mode}", first, "cpu", fastest),
        ):
            ratios = [result[other][key] / result[mode][key] for result in results]
            report[name], report[f"ci_{name}"] = round(median(ratios), 3), interval(ratios)
    return report


def check(result: dict[str, dict[str, Any]], jets: int) -> None:
    """Everybody loaded all jets, and like is compared with like."""
    for mode, epoch in result.items():
        if epoch["jets"] != jets:
            raise SystemExit(f"{mode} loaded {epoch['jets']} jets of {jets}")
        if mode != "packed" and epoch["tensors"] != result["padded"]["tensors"]:
            raise SystemExit(f"{mode} gives {epoch['tensors']} tensors a batch, ours {result['padded']['tensors']}")


def _median(results: list[dict[str, dict[str, Any]]], mode: str, key: str) -> float:
    return median(result[mode][key] for result in results)


def verify(ours: Worker, peer: Worker, kind: Kind, jets: int, batch_size: int, folder: Path) -> dict[str, Any]:
    """Compare a shuffled epoch of ours with upstream's arrays.

    Returns
    -------
    dict[str, Any]
        `once`: each jet came exactly once; `different`: the arrays that differ in type, shape or any bit.
    """
    file = make_file(folder / "train.h5", kind, jets)
    asked = {**setting(file, batch_size), "num_workers": 0, "store_dir": str(folder / "store"), "shuffle": "exact"}
    told = {}
    for side, worker in {"ours": ours, "upstream": peer}.items():
        (folder / side).mkdir()
        told[side] = worker.ask(do="arrays", setting=asked, folder=str(folder / side), jets=jets)
    arrays = {side: {name: np.load(path, "r") for name, path in of["arrays"].items()} for side, of in told.items()}
    with h5py.File(file) as opened:
        different = differences(arrays["ours"], arrays["upstream"], opened["tracks"])
    return {"jets": jets, "once": told["ours"]["least"] == told["ours"]["most"] == 1, "different": different}


def differences(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray], tracks: h5py.Dataset) -> list[str]:
    """Names of the arrays (N, ...) that are not the same, bit for bit, ours with its tracks back in their slots."""
    found = set(ours.keys() ^ theirs.keys())
    for name in ours.keys() & theirs.keys():
        if ours[name].dtype != theirs[name].dtype or ours[name].shape != theirs[name].shape:
            found.add(name)
    for first, valid in blocks(tracks):
        rows = np.s_[first : first + len(valid)]
        for name in (ours.keys() & theirs.keys()) - found:
            block = ours[name][rows]
            if "tracks" in name:
                block = put_back(block, ours["mask.tracks"][rows], valid)
            if block is None or block.tobytes() != theirs[name][rows].tobytes():
                found.add(name)
    return sorted(found)


def put_back(block: np.ndarray, mask: np.ndarray, valid: np.ndarray) -> np.ndarray | None:
    """The array (n, L, ...) with each jet's tracks in their slots of the file; None where their number is not right."""
    if not np.array_equal((~mask).sum(axis=1), valid.sum(axis=1)):
        return None
    whole = np.zeros_like(block)
    whole[~valid] = block[mask]
    whole[valid] = block[~mask]
    return whole


def blocks(tracks: h5py.Dataset) -> Iterator[tuple[int, np.ndarray]]:
    """Number of the first jet, and `valid` (n, L), of some jets after the others."""
    for first in range(0, len(tracks), COMPARED_JETS):
        yield first, tracks[first : first + COMPARED_JETS]["valid"]


def table(report: dict[str, Any], kinds: list[str]) -> str:
    """What a person reads."""
    lines = [
        f"{'file':8} {'batches':7} {'speed-up':>8}  {'95% interval':16} {'of CPU':>6} {'jets/s':>9}"
        f" {'upstream':>9} {'first epoch':>11}"
    ]
    for kind in kinds:
        of = report[kind]
        for mode in OURS:
            low, high = of[f"ci_ratio_{mode}"]
            lines.append(
                f"{kind:8} {mode:7} {of[f'ratio_{mode}']:8.2f}  {f'{low:.2f} to {high:.2f}':16}"
                f" {of[f'cpu_ratio_{mode}']:6.2f} {of[f'jets_per_s_{mode}']:9}"
                f" {of['jets_per_s_' + of['best']]:9} {of[f'first_ratio_{mode}']:11.2f}"
            )
        lines.append(f"{kind:8} store {of['store_share']:.3f} of the file's size; upstream's best mode: {of['best']}")
    return "\n".join(lines)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n", maxsplit=1)[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--jets", type=int, default=200_000, help="jets of a file")
    parser.add_argument("--batch-size", type=int, default=1000)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--chunk", type=int, default=100, help="jets of a chunk of tracks")
    parser.add_argument("--rounds", type=int, default=7, help="epochs to measure")
    parser.add_argument("--first-rounds", type=int, default=3, help="first epochs to measure")
    parser.add_argument("--upstream-workers", type=int, nargs="+", default=[0, 2], help="upstream's modes")
    parser.add_argument("--verify", action="store_true", help="compare with upstream's arrays and time nothing")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES), help="what to verify")
    parser.add_argument("--folder", type=Path, help="where files are made; default: the system's temporary folder")
    parser.add_argument("--peer-python", type=Path, default=PEER_PYTHON, help="interpreter of upstream's environment")
    parser.add_argument("--json", action="store_true", help="print one JSON object in place of a table")
    return parser.parse_args()


def verify_cases(ours: Worker, peer: Worker, options: argparse.Namespace) -> dict[str, Any]:
    """What came of each case."""
    report = {}
    for name in options.cases:
        kind, more = CASES[name]
        jets = 1 if more is None else options.jets + more
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            report[name] = verify(ours, peer, kind, jets, options.batch_size, Path(folder))
    return report


def race_kinds(ours: Worker, peers: dict[int, Worker], options: argparse.Namespace) -> dict[str, Any]:
    """What came of each kind of file."""
    report = {}
    for name in options.kinds:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            file = make_file(Path(folder) / f"{name}.h5", replace(KINDS[name], chunk=options.chunk), options.jets)
            race = Race(ours, peers, file, options.batch_size)
            report[name] = run(race, options.jets, options.first_rounds, options.rounds)
            race.close()
    return report


def main() -> None:
    options = arguments()
    if not options.peer_python.exists():
        raise SystemExit(f"{options.peer_python} is missing: run benchmarks/peers/setup")
    with ExitStack() as stack:
        # not resolved: the link's place tells Python which environment it is
        ours = stack.enter_context(closing(Worker(Path(sys.executable), HERE / "loading_worker.py")))
        script = HERE / "peers" / "loading_worker.py"
        peers = {
            number: stack.enter_context(closing(Worker(options.peer_python.absolute(), script)))
            for number in options.upstream_workers[: 1 if options.verify else None]
        }
        peer = next(iter(peers.values()))
        report = {
            "jets": options.jets,
            "batch_size": options.batch_size,
            "rounds": options.rounds,
            "torch": ours.facts["torch"],
            "upstream_torch": peer.facts["torch"],
            "upstream_version": peer.facts["version"],
        }
        cases = verify_cases(ours, peer, options) if options.verify else race_kinds(ours, peers, options)
    wrong = [name for name, of in cases.items() if options.verify and (of["different"] or not of["once"])]
    if options.json:
        print(json.dumps(report | cases))
    else:
        told = f"{len(cases)} cases, wrong: {', '.join(wrong) or 'none'}"
        print(told if options.verify else table(cases, options.kinds))
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    main()
