"""Training steps on a GPU, ours against upstream's: GN2 in bfloat16, batches of 4000 jets, in one run.

    benchmarks/peers/setup && .venv/bin/python benchmarks/gpu.py

Two processes, one of each package, take turns on the same GPU, on the same parameters and batches. `compute` is forward
pass, losses, backward pass and optimiser on a batch that is there already; `from host` begins with jets in the memory
of the host: padding, or order and indices, the copy to the GPU, then the step (files: see loading.py). Upstream runs
with attn_type flash-varlen where flash-attn is installed in its environment, else torch-meff. Both use fused AdamW, and
float32 weights under autocast.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from models import MODELS
from step import HERE, NUM_BATCHES, PEER_PYTHON, Worker, difference, interval, make_batch

WARM_UP = 5
ALLOWED = 2e-2
"""Relative difference of the first losses: both are in bfloat16, by other kernels."""

GOALS = {"compute": 2.0, "from_host": 10.0}
"""Ratios to be reached."""


def main() -> None:
    options = arguments()
    if not (torch.cuda.is_available() or options.trial):
        raise SystemExit("gpu.py: no CUDA device here; run it on a machine with an NVIDIA GPU")
    if not options.peer_python.exists():
        raise SystemExit(f"{options.peer_python} is missing: run benchmarks/peers/setup")
    workers: list[Worker] = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            workers.append(Worker(Path(sys.executable), HERE / "step_worker.py"))
            workers.append(Worker(options.peer_python.absolute(), HERE / "peers" / "step_worker.py"))
            report = measured(workers[0], workers[1], options, Path(folder))
        finally:
            for worker in workers:
                worker.close()
    print(json.dumps(report) if options.json else table(report))


def measured(ours: Worker, peer: Worker, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Build both, check that their losses agree, and let them take turns."""
    batches = [str(folder / f"{i}.npz") for i in range(NUM_BATCHES)]
    for i, path in enumerate(batches):
        np.savez(path, **make_batch(MODELS[options.model], options.jets, seed=i))
    attention = "flash-varlen" if peer.facts["flash_attn"] else "torch-meff"
    variant = {"fused": True, "device": "cpu" if options.trial else "cuda"}
    build = {"do": "build", "model": options.model, "batches": batches, "name": "gpu"}
    parameters = str(folder / "parameters.pt")
    peer.ask(**build, variant={**variant, "trim": False, "attn_type": attention}, save=parameters, load=None)
    ours.ask(**build, variant=variant, save=None, load=parameters)
    sides = {"ours": ours, "upstream": peer}
    first = {side: worker.ask(do="step", name="gpu", index=0) for side, worker in sides.items()}
    apart = difference(first["ours"]["losses"], first["upstream"]["losses"])
    if not apart <= ALLOWED:
        raise SystemExit(f"losses of the first step differ by {apart:.1e}, allowed {ALLOWED:.0e}")
    rounds = [
        {side: worker.ask(do="step", name="gpu", index=i) for side, worker in _turns(sides, i)}
        for i in range(WARM_UP + options.rounds)
    ][WARM_UP:]
    report = {
        "device": ours.facts["device"], "jets": options.jets, "model": options.model, "attention_upstream": attention,
        "first_loss_difference": apart, "rounds": options.rounds,
    }  # fmt: skip
    for kind, key in (("compute", "wall"), ("from_host", "from_host")):
        seconds = {side: [result[side][key] for result in rounds] for side in sides}
        ratios = [theirs / own for theirs, own in zip(seconds["upstream"], seconds["ours"], strict=True)]
        report |= {f"ratio_{kind}": round(median(ratios), 3), f"ci_{kind}": interval(ratios)}
        report |= {f"jets_per_s_{kind}_{side}": round(options.jets / median(seconds[side])) for side in sides}
    spec = MODELS[options.model]
    rows = int(options.jets * sum(facts["mean"] for facts in spec["streams"].values()))
    width = spec["model"]["init_args"]["encoder"]["init_args"]["embed_dim"]
    peak = ours.ask(do="peak", rows=rows, width=width, device=variant["device"])["peak"]
    report["peak_tflops"] = round(peak / 1e12, 1)
    for side, worker in sides.items():
        cost = worker.ask(do="cost", name="gpu")
        seconds_of = options.jets / report[f"jets_per_s_compute_{side}"]
        report[f"memory_mb_{side}"] = round(rounds[-1][side]["memory"] / 1e6)
        report[f"share_of_peak_{side}"] = round(cost["flops"] / seconds_of / peak, 3)
    return report


def _turns(sides: dict[str, Worker], number: int) -> list[tuple[str, Worker]]:
    """Who begins alternates."""
    return list(sides.items())[:: 1 if number % 2 else -1]


def table(report: dict[str, Any]) -> str:
    """What a person reads."""
    lines = [f"{report['model']}, bf16, {report['jets']} jets a batch, {report['device']}; upstream with "
             f"{report['attention_upstream']}"]  # fmt: skip
    for kind, goal in GOALS.items():
        low, high = report[f"ci_{kind}"]
        speeds = " upstream ".join(str(report[f"jets_per_s_{kind}_{side}"]) for side in ("ours", "upstream"))
        lines.append(
            f"{kind.replace('_', ' '):11} speed-up {report[f'ratio_{kind}']:6.2f} "
            f"({low:.2f} to {high:.2f}; goal {goal:g}), jets/s {speeds}"
        )
    lines.append(f"memory      {report['memory_mb_ours']} MB, upstream {report['memory_mb_upstream']} MB")
    lines.append(
        f"share of the best product here ({report['peak_tflops']} TFLOP/s): {report['share_of_peak_ours']:.3f}, "
        f"upstream {report['share_of_peak_upstream']:.3f}"
    )
    return "\n".join(lines)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--model", choices=MODELS, default="gn2")
    parser.add_argument("--jets", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--peer-python", type=Path, default=PEER_PYTHON, help="interpreter of upstream's environment")
    parser.add_argument("--trial", action="store_true", help="on the CPU, in float32: whether it runs, no more")
    parser.add_argument("--json", action="store_true", help="print one JSON object in place of a table")
    return parser.parse_args()


if __name__ == "__main__":
    main()
