"""Training steps per CPU second, ours against upstream's, on the same parameters and the same batches, and their cost.

    benchmarks/peers/setup && .venv/bin/python benchmarks/step.py

Two processes, one of each package, take turns: only one computes at a time, on one thread, in float32. A step is the
forward pass, all losses, the backward pass, the optimizer's step and zero_grad; making batches is not in it. The number
is the median over rounds of (upstream's CPU seconds / our CPU seconds) of one step each, on the same jets. Before that,
the losses must agree: the first step's of every task to 1e-4, and the third's to 1e-3.

Upstream runs with its defaults (jets padded to 40 tracks, torch-math attention, plain AdamW). As a help to judge where
a speed-up comes from, so do variants of it: trimmed to the longest jet of the batch, with fused AdamW, and both.

Of MaskFormer, two losses of ours are brought to upstream's divisors, to be the same: that of the masks' cross-entropy,
which there counts empty slots (`loss_config.mask_slots`), and the regression's, which counts slots without
object; that one may differ by 1e-3 still, for upstream does not match there.

Besides, of each side: what a step keeps for its backward pass, and which share of this machine's best matrix product on
one thread its products are, of the whole time. The models are in models.py.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from models import MODELS, SCALES

HERE = Path(__file__).resolve().parent
PEER_PYTHON = HERE.parent / ".peer-venv" / "bin" / "python"

VARIANTS = {
    "upstream": {"trim": False, "fused": False},
    "trimmed": {"trim": True, "fused": False},
    "fused": {"trim": False, "fused": True},
    "trimmed_fused": {"trim": True, "fused": True},
}
NUM_BATCHES = 4
QUICK_JETS = 50
WARM_UP = 3
LOOSE = {"regression": 10}
"""Losses that upstream computes otherwise, and how many times the difference of others is allowed.

Upstream's regression compares each query with the object of its number, ours with the one that it is matched to: of
random weights the two differ by 3e-4.
"""
DISPERSION = 5
"""Constituents per jet: negative binomial, so variance = mean + mean^2 / dispersion; of 11 tracks 5.9 squared."""


def make_batch(spec: dict[str, Any], jets: int, seed: int) -> dict[str, np.ndarray]:
    """Jets in no order, with labels like those of simulation."""
    random = np.random.default_rng(seed)
    arrays = {"jets": random.normal(size=(jets, 2)).astype(np.float32), "flavour": random.integers(0, 4, jets)}
    for stream, facts in spec["streams"].items():
        mean = facts["mean"]
        lengths = random.negative_binomial(DISPERSION, DISPERSION / (DISPERSION + mean), jets).clip(0, facts["slots"])
        arrays[f"lengths_{stream}"] = lengths.astype(np.int64)
        arrays[stream] = random.normal(size=(int(lengths.sum()), facts["variables"])).astype(np.float32)
    tracks = len(arrays["tracks"])
    # ftagTruthOriginLabel: 0 pile-up, 1 fake, 2 primary, 3-5 from b and c hadrons, 6 tau, 7 other; -2 unknown.
    origin = random.choice([0, 1, 2, 3, 4, 5, 6, 7, -2], tracks, p=[0.15, 0.03, 0.45, 0.1, 0.1, 0.07, 0.02, 0.07, 0.01])
    # pile-up and fakes belong to no vertex (-2), primary tracks to vertex 0, others to one of three
    vertex = np.where(origin == 2, 0, random.integers(1, 4, tracks))
    vertex[(origin < 2)] = -2
    objects = _objects(spec["objects"], arrays["lengths_tracks"], random) if "objects" in spec else {}
    return {**arrays, "origin": origin.astype(np.int64), "vertex": vertex.astype(np.int64), **objects}


def _objects(facts: dict[str, Any], lengths: np.ndarray, random: np.random.Generator) -> dict[str, np.ndarray]:
    """Of each jet some objects: class and targets (B, slots), and which tracks are of it (T, slots)."""
    jets, slots, null = len(lengths), facts["slots"], len(facts["classes"])
    with_so_many = np.diff(np.round(np.cumsum([0, *facts["shares"]]) * jets)).astype(int)
    number = random.permutation(np.repeat(np.arange(len(with_so_many)), with_so_many))
    exists = np.arange(slots) < number[:, None]
    owner = np.repeat(np.arange(jets), lengths)
    of_track = random.integers(-3, number.max(), len(owner))  # more than half are of none
    targets = {f"object_{name}": (random.random((jets, slots)) + 0.1).astype(np.float32) for name in SCALES}
    return {
        "object_class": np.where(exists, random.integers(0, null, (jets, slots)), null),
        "object_masks": (of_track[:, None] == np.arange(slots)) & exists[owner],
        **{name: np.where(exists, values, np.float32(np.nan)) for name, values in targets.items()},
    }


class Worker:
    """A process with one of the packages, and its answers.

    Parameters
    ----------
    python : Path
        The interpreter of its environment.
    script : Path
        What it runs.
    """

    def __init__(self, python: Path, script: Path) -> None:
        threads = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS")}
        self.script = script
        self.process = subprocess.Popen(
            # -P and another directory: the repository's own `salt` folder must not shadow the peer's
            [python, "-P", "-W", "ignore", script],
            cwd=tempfile.gettempdir(),
            env={**os.environ, **threads, "PYTHONPATH": str(HERE), "PYTHONDONTWRITEBYTECODE": ""},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.facts = self._answer()

    def ask(self, **request: Any) -> dict[str, Any]:
        """One request, one answer; the worker works only meanwhile."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.script} stopped with status {self.process.wait()}; its message is above")
        return json.loads(line)

    def close(self) -> None:
        """Let it end, or end it."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()


class Race:
    """One model on both sides, from the same parameters.

    Parameters
    ----------
    ours, peer : Worker
        The two sides.
    name : str
        The model.
    jets : int
        Batch size.
    variants : list[str]
        Which of upstream's variants run; the first is its defaults.
    folder : Path
        For the parameters and the batches.
    """

    def __init__(self, ours: Worker, peer: Worker, name: str, jets: int, variants: list[str], folder: Path) -> None:
        self.ours, self.peer, self.name, self.jets, self.variants = ours, peer, name, jets, variants
        self.step_index = 0
        batches = [str(folder / f"{name}_{i}.npz") for i in range(NUM_BATCHES)]
        for i, path in enumerate(batches):
            np.savez(path, **make_batch(MODELS[name], jets, seed=i))
        parameters = str(folder / f"{name}.pt")
        build = {"do": "build", "model": name, "batches": batches}
        shapes = {}
        for variant in variants:
            first = variant == variants[0]
            shapes["upstream"] = peer.ask(
                **build,
                name=f"{name}_{variant}",
                variant=VARIANTS[variant],
                save=parameters if first else None,
                load=None if first else parameters,
            )["shapes"]
        shapes["ours"] = ours.ask(**build, name=name, variant={"fused": True}, save=None, load=parameters)["shapes"]
        self.shapes = shapes

    def round(self) -> dict[str, dict[str, Any]]:
        """One step of everybody on the same batch; who begins alternates."""
        turns = [(self.ours, "ours", self.name)]
        turns += [(self.peer, variant, f"{self.name}_{variant}") for variant in self.variants]
        if self.step_index % 2:
            turns.reverse()
        result = {label: worker.ask(do="step", name=key, index=self.step_index) for worker, label, key in turns}
        self.step_index += 1
        return result

    def costs(self) -> dict[str, dict[str, int]]:
        """What a step keeps [bytes], and its FLOPs, of both sides."""
        return {
            "ours": self.ours.ask(do="cost", name=self.name),
            "upstream": self.peer.ask(do="cost", name=f"{self.name}_{self.variants[0]}"),
        }

    def peak(self) -> float:
        """FLOPs per CPU second of the best product of this machine, on shapes like the model's."""
        spec = MODELS[self.name]
        rows = int(self.jets * sum(facts["mean"] for facts in spec["streams"].values()))
        width = spec["model"]["init_args"]["encoder"]["init_args"]["embed_dim"]
        return self.ours.ask(do="peak", rows=rows, width=width)["peak"]


def difference(ours: dict[str, float], theirs: dict[str, float]) -> float:
    """Largest relative difference of the tasks' losses; those in `LOOSE` may differ so much more."""
    if ours.keys() != theirs.keys():
        raise SystemExit(f"the sides have different tasks: ours {sorted(ours)}, upstream's {sorted(theirs)}")
    return max(abs(ours[task] - theirs[task]) / abs(theirs[task]) / LOOSE.get(task, 1) for task in ours)


def interval(values: list[float]) -> list[float]:
    """95% bootstrap interval of the median."""
    picks = np.random.default_rng(0).integers(0, len(values), (4000, len(values)))
    return np.percentile(np.median(np.asarray(values)[picks], axis=1), [2.5, 97.5]).round(3).tolist()


def run(race: Race, rounds: int) -> dict[str, Any]:
    """Warm up, check that the losses agree, race."""
    differences = []
    for _ in range(WARM_UP):
        first = race.round()
        differences.append(difference(first["ours"]["losses"], first["upstream"]["losses"]))
    for step, allowed in ((0, 1e-4), (WARM_UP - 1, 1e-3)):
        if not differences[step] <= allowed:
            raise SystemExit(
                f"{race.name}: losses of step {step + 1} differ by {differences[step]:.1e}, allowed {allowed:.0e}"
            )
    results = [race.round() for _ in range(rounds)]
    cpu = {label: [result[label]["cpu"] for result in results] for label in ("ours", *race.variants)}
    ratios = {v: [t / o for t, o in zip(cpu[v], cpu["ours"], strict=True)] for v in race.variants}
    name = race.name
    report = {
        f"ratio_{name}": round(median(ratios["upstream"]), 3),
        f"ci_{name}": interval(ratios["upstream"]),
        f"jets_per_s_{name}": round(race.jets / median(cpu["ours"]), 1),
        f"jets_per_s_{name}_upstream": round(race.jets / median(cpu["upstream"]), 1),
        f"first_loss_difference_{name}": differences[0],
        f"third_loss_difference_{name}": differences[-1],
        f"parameters_{name}": len(race.shapes["ours"]),
        f"jets_{name}": race.jets,
    }
    costs, peak = race.costs(), race.peak()
    for side, end in (("ours", ""), ("upstream", "_upstream")):
        report[f"kept_mb_{name}{end}"] = round(costs[side]["kept"] / 1e6, 2)
        report[f"gflop_{name}{end}"] = round(costs[side]["flops"] / 1e9, 2)
        report[f"share_of_peak_{name}{end}"] = round(costs[side]["flops"] / median(cpu[side]) / peak, 3)
    report[f"kept_{name}"] = round(costs["ours"]["kept"] / costs["upstream"]["kept"], 3)
    report[f"peak_gflops_{name}"] = round(peak / 1e9, 1)
    for variant in race.variants[1:]:
        report[f"speedup_{name}_{variant}"] = round(median(ratios[variant]), 3)
        report[f"speedup_ci_{name}_{variant}"] = interval(ratios[variant])
    return report


def table(report: dict[str, Any], names: list[str], variants: list[str]) -> str:
    """What a person reads."""
    lines = [f"{'model':8} {'against':26} {'speed-up':>9}  {'95% interval':16} {'losses differ by (1st, 3rd step)'}"]
    for name in names:
        for variant in variants:
            plain = variant == "upstream"
            speedup = report[f"ratio_{name}" if plain else f"speedup_{name}_{variant}"]
            low, high = report[f"ci_{name}" if plain else f"speedup_ci_{name}_{variant}"]
            told = "upstream's defaults" if plain else f"upstream {variant.replace('_', ', ')}"
            losses = f"{report[f'first_loss_difference_{name}']:.0e}, {report[f'third_loss_difference_{name}']:.0e}"
            lines.append(
                f"{name:8} {told:26} {speedup:9.2f}  {f'{low:.2f} to {high:.2f}':16} {losses if plain else ''}".rstrip()
            )
        lines.append(
            f"{name:8} jets per CPU second: {report[f'jets_per_s_{name}']:.0f}, "
            f"upstream {report[f'jets_per_s_{name}_upstream']:.0f}"
        )
        lines += [_told(name, report, *words) for words in TOLD]
    return "\n".join(lines)


TOLD = (
    ("kept for the backward pass", "kept_mb", "MB"),
    ("matrix products of a step", "gflop", "GFLOP"),
    ("share of the best product here", "share_of_peak", ""),
)
"""What a person reads of a step's cost: words, key of the report, unit."""


def _told(name: str, report: dict[str, Any], words: str, key: str, unit: str) -> str:
    ours, theirs = report[f"{key}_{name}"], report[f"{key}_{name}_upstream"]
    return f"{name:8} {words}: {ours:g} {unit}".rstrip() + f", upstream {theirs:g} {unit}, ratio {ours / theirs:.2f}"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n", maxsplit=1)[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=9, help="paired steps to measure")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--jets", type=int, help="batch size in place of the model's own, for tests")
    parser.add_argument("--quick", action="store_true", help="few jets and two rounds: whether it runs, not how fast")
    parser.add_argument("--no-variants", action="store_true", help="only upstream's defaults")
    parser.add_argument("--peer-python", type=Path, default=PEER_PYTHON, help="interpreter of upstream's environment")
    parser.add_argument("--parameters", action="store_true", help="print both sides' parameter shapes and stop")
    parser.add_argument("--json", action="store_true", help="print one JSON object in place of a table")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.jets = 2, options.jets or QUICK_JETS
    return options


def main() -> None:
    options = arguments()
    if not options.peer_python.exists():
        raise SystemExit(f"{options.peer_python} is missing: run benchmarks/peers/setup")
    variants = list(VARIANTS)[: 1 if options.no_variants or options.parameters else None]
    workers: list[Worker] = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            # not resolved: the link's place tells Python which environment it is
            workers.append(Worker(Path(sys.executable), HERE / "step_worker.py"))
            workers.append(Worker(options.peer_python.absolute(), HERE / "peers" / "step_worker.py"))
            ours, peer = workers
            races = [
                Race(ours, peer, name, options.jets or MODELS[name]["jets"], variants, Path(folder))
                for name in options.models
            ]
            if options.parameters:
                print(json.dumps({race.name: race.shapes for race in races}))
                return
            report: dict[str, Any] = {
                "rounds": options.rounds,
                "torch": ours.facts["torch"],
                "upstream_torch": peer.facts["torch"],
                "upstream_version": peer.facts["version"],
            }
            for race in races:
                report.update(run(race, options.rounds))
        finally:
            for worker in workers:
                worker.close()
    print(json.dumps(report) if options.json else table(report, options.models, variants))


if __name__ == "__main__":
    main()
