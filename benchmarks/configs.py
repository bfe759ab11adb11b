"""Whether configs written for upstream run here as they are, and in upstream itself: parse, fit, test.

    benchmarks/peers/setup && benchmarks/peers/configs --configs FOLDER

FOLDER holds upstream's YAML files: configs/ and, if there, tests/configs/; overlays are stacked as their comments say.
For each one, files are made that hold the columns which it asks for. Nothing in it is changed but the paths of files,
how long it trains (two steps of 50 jets, one of validation) and how many processes read; upstream is told to use the
CPU, which it does not find by itself. A line for each config: what goes well here | there; then what did not.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import torch
from config_data import make_files
from step import HERE, PEER_PYTHON, Worker

from salt.cli.configs import merged, read

BASELINE = "configs/GN3_dev/GN3_baseline"
LOOSE = [BASELINE, "configs/GN3_dev/GN3_baseline_loose"]
FLOW = [*LOOSE, "configs/GN3_dev/GN3_flow"]
V00 = "configs/GN3v01/GN3V00"
HYBRID = [V00, "configs/GN3v01/GN3_Hybrid"]
BELOW = {
    "configs/GN3_dev/GN3_baseline_loose": [BASELINE],
    "configs/GN3_dev/GN3_dR": [BASELINE],
    "configs/GN3_dev/GN3_flow": LOOSE,
    "configs/GN3_dev/GN3_LepID_SMT": FLOW,
    "configs/GN3_dev/GN3_tracklabel": [*FLOW, "configs/GN3_dev/GN3_LepID_SMT"],
    "configs/GN3v01/GN3_Hybrid": [V00],
    "configs/GN3v01/GN3_Charge": HYBRID,
    "configs/GN3v01/GN3_SoftE": HYBRID,
}
"""Overlay -> the configs that it goes on top of."""

STEPS = ("parse", "fit", "test")

LIMITS = [
    "--data.batch_size=50", "--data.num_workers=0", "--data.num_train=-1", "--data.num_val=-1", "--data.num_test=-1",
    "--trainer.max_epochs=1", "--trainer.limit_train_batches=2", "--trainer.limit_val_batches=1", "--log_suffix=run",
]  # fmt: skip
ALONE = ["--trainer.devices=1", "--trainer.num_nodes=1"]
"""For a machine with a GPU, which may have fewer than a config asks for."""
ON_CPU = ["--trainer.accelerator=cpu", "--trainer.precision=32-true", *ALONE]
OF_PEER = ["--force", *ON_CPU]
TEST_OF_PEER = ["--data.num_workers=0", *ON_CPU]


class Case(NamedTuple):
    """A config, and the files that it is made of, in the order of --config."""

    name: str
    files: list[Path]


class Result(NamedTuple):
    """How far a config came, and what stopped it."""

    done: list[str]
    fault: str | None

    def __str__(self) -> str:
        return " ".join("ok   " if step in self.done else "-    " for step in STEPS)


def cases(folder: Path) -> Iterator[Case]:
    """The configs in a folder of upstream's; base.yaml is beneath all of them."""
    for file in sorted(folder.rglob("*.yaml")):
        name = file.relative_to(folder).with_suffix("").as_posix()
        if file.name != "base.yaml":
            yield Case(name, [folder / f"{below}.yaml" for below in [*BELOW.get(name, []), name]])


class Side:
    """One of the packages, and how it wants to be told.

    Parameters
    ----------
    worker : Worker
        Runs its commands.
    fit, test : list[str]
        Options of its own for these verbs.
    """

    def __init__(self, worker: Worker, fit: list[str], test: list[str]) -> None:
        self.worker = worker
        self.of_fit = fit
        self.of_test = test

    def result(self, case: Case, files: dict[str, Path], folder: Path) -> Result:
        """Parse, fit and test a config, as far as it goes."""
        folder.mkdir(parents=True)
        configs = [argument for file in case.files for argument in ("--config", str(file.absolute()))]
        paths = [f"--data.{key}={path}" for key, path in files.items()]
        done: list[str] = []
        fault = self._run(folder, "fit", *configs, "--print_config")
        if fault is None:
            done.append("parse")
            fault = self._run(folder, "fit", *configs, *paths, *LIMITS, *self.of_fit)
        if fault is None:
            done.append("fit")
            runs = list(folder.glob("logs/*/config.yaml"))
            test = f"--data.test_file={files['test_file']}"
            fault = self._run(folder, "test", f"--config={runs[0]}", test, *self.of_test) if runs else "no run"
        if fault is None and not list(folder.glob("logs/*/ckpts/*__test_*.h5")):
            fault = "no evaluation file"
        return Result([*done, "test"] if fault is None else done, fault)

    def _run(self, folder: Path, *arguments: str) -> str | None:
        return self.worker.ask(folder=str(folder), arguments=arguments)["fault"]


def make_data(case: Case, folder: Path) -> dict[str, Path]:
    """Files for a config: key of `data` -> path; none for what it says is null."""
    config = merged(read(file) for file in case.files)
    files = make_files(config, folder)
    return {key: path for key, path in files.items() if config["data"].get(key, path) is not None}


def sides(stack: ExitStack, peer_python: Path | None) -> dict[str, Side]:
    """Ours, and upstream's if its environment is there."""
    ours = Worker(Path(sys.executable), HERE / "configs_worker.py")
    stack.callback(ours.close)
    found = {"here": Side(ours, ALONE if torch.cuda.is_available() else [], [])}
    if peer_python is not None:
        peer = Worker(peer_python.absolute(), HERE / "peers" / "configs_worker.py")
        stack.callback(peer.close)
        found["upstream"] = Side(peer, OF_PEER, TEST_OF_PEER)
    return found


def told(name: str, results: dict[str, Result]) -> str:
    """What a person reads of a config."""
    lines = [f"{name:52} " + "| ".join(map(str, results.values()))]
    lines += [f"    {side}: {result.fault[:300]}" for side, result in results.items() if result.fault]
    return "\n".join(lines)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--configs", type=Path, required=True, help="folder of upstream's YAML files")
    parser.add_argument("--peer-python", type=Path, default=PEER_PYTHON, help="interpreter of upstream's environment")
    parser.add_argument("--no-peer", action="store_true", help="only here")
    parser.add_argument("--only", nargs="+", help="names of configs, or parts of them")
    parser.add_argument("--json", action="store_true", help="print one JSON object at the end, besides")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    wanted = [c for c in cases(options.configs) if not options.only or any(part in c.name for part in options.only)]
    if not wanted:
        raise SystemExit(f"there is no such config in {options.configs}")
    if not options.no_peer and not options.peer_python.exists():
        raise SystemExit(f"{options.peer_python} is missing: run benchmarks/peers/setup, or give --no-peer")
    report: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        there = sides(stack, None if options.no_peer else options.peer_python)
        print(f"{'':52} " + "| ".join(f"{name:18}" for name in there))
        print(f"{'config':52} " + "| ".join(" ".join(f"{step:5}" for step in STEPS) for _ in there))
        for place, case in enumerate(wanted):
            home = Path(folder) / str(place)
            files = make_data(case, home)
            results = {name: side.result(case, files, home / name) for name, side in there.items()}
            report[case.name] = {name: result._asdict() for name, result in results.items()}
            print(told(case.name, results), flush=True)
    for name in there:
        whole = sum(len(of[name]["done"]) == len(STEPS) for of in report.values())
        print(f"{name}: {whole} of {len(report)} parse, fit and test")
    if options.json:
        print(json.dumps(report))
    return int(any(of["here"]["fault"] for of in report.values()))


if __name__ == "__main__":
    sys.exit(main())
