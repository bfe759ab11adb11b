"""What the machinery of a run costs: `salt fit` against a bare loop over the same loader and the same steps.

    .venv/bin/python benchmarks/overhead.py --jets 20000 --rounds 3

Both sides are processes of their own, which take turns, and parse the same config. One trains as `salt fit` does: with
Lightning, checkpoints, the record of the run, loggers, the physics of each validation, the looks for signals and for
losses that are not finite. The other takes model and data of it, and has a loop of a dozen lines: forward, losses,
backward, step of optimiser and schedule; validation without gradients. Both must end with the same weights.

Stated are CPU seconds and wall seconds of the training alone, and those of the start before it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

SIDES = ("salt", "bare")


def bare_fit(model: Any, data: Any, epochs: int) -> None:
    """Train for some epochs, and validate after each."""
    data.setup("fit")
    train, val = data.train_dataloader(), data.val_dataloader()
    config = model.lrs_config
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.max, weight_decay=config.weight_decay, fused=True)
    from salt.training.schedule import scheduled

    schedule = scheduled(optimizer, config, epochs * len(train))
    for _ in range(epochs):
        model.train()
        for batch in train:
            optimizer.zero_grad()
            model._total(model._means(model.model.losses(model(batch.inputs), batch))).backward()
            optimizer.step()
            schedule.step()
        model.eval()
        with torch.no_grad():
            for batch in val:
                model.model.losses(model(batch.inputs), batch)


def run_side(side: str, arguments: list[str], epochs: int) -> None:
    """One training, in this process; prints its figures as JSON."""
    from salt.cli.lightning import SaltCLI, main

    figures: dict[str, Any] = {}

    class TimedCLI(SaltCLI):
        """Fits by Lightning or without, and takes the time."""

        def fit(self, model: Any, datamodule: Any, **options: Any) -> None:
            figures["start_cpu"] = time.process_time()
            cpu, wall = time.process_time(), time.perf_counter()
            if side == "salt":
                self.trainer.fit(model, datamodule=datamodule, **options)
            else:
                datamodule.trainer = None
                bare_fit(model, datamodule, epochs)
            figures["cpu"], figures["wall"] = time.process_time() - cpu, time.perf_counter() - wall
            figures["weights"] = [float(weight.detach().double().sum()) for weight in model.parameters()]

    if side == "bare":  # it writes nothing
        TimedCLI.before_fit = lambda self: None  # type: ignore[method-assign]
    main(["fit", *arguments], TimedCLI)
    print("FIGURES " + json.dumps(figures))


def ask(side: str, folder: Path, arguments: list[str], epochs: int) -> dict[str, Any]:
    """Have a process train, and give its figures."""
    command = [sys.executable, __file__, "--side", side, "--epochs", str(epochs), "--", *arguments]
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}  # as the command sets it
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("FIGURES ")]
    if done.returncode or not lines:
        raise SystemExit(f"{side} failed:\n{done.stderr[-3000:]}")
    return json.loads(lines[-1].removeprefix("FIGURES "))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="configs/gnn.yaml")
    parser.add_argument("--train", type=Path, help="training file; without one, the package's sample")
    parser.add_argument("--jets", type=int, default=-1, help="of the training file")
    parser.add_argument("--val-jets", type=int, default=-1)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=1000)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("rest", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        run_side(options.side, options.rest, options.epochs)
        return
    arguments = ["--config", options.config, f"--trainer.max_epochs={options.epochs}"]
    arguments += [f"--data.batch_size={options.batch_size}", f"--data.num_train={options.jets}"]
    arguments += [f"--data.num_val={options.val_jets}", "--trainer.num_sanity_val_steps=0"]
    if options.train:
        arguments.append(f"--data.train_file={options.train.absolute()}")
    rounds: list[dict[str, dict[str, Any]]] = []
    with tempfile.TemporaryDirectory(prefix="salt-overhead-") as folder:
        ask("salt", Path(folder), [*arguments, "--trainer.fast_dev_run=1"], options.epochs)  # builds the store
        for number in range(options.rounds):
            order = SIDES if number % 2 == 0 else SIDES[::-1]
            rounds.append({side: ask(side, Path(folder), arguments, options.epochs) for side in order})
            show(rounds[-1])
    for key in ("cpu", "wall"):
        ratios = sorted(pair["salt"][key] / pair["bare"][key] - 1 for pair in rounds)
        print(f"overhead in {key}: {statistics.median(ratios):+.1%} ({ratios[0]:+.1%} to {ratios[-1]:+.1%})")


def show(pair: dict[str, dict[str, Any]]) -> None:
    """A line for a round."""
    differ = max(abs(a - b) for a, b in zip(pair["salt"]["weights"], pair["bare"]["weights"], strict=True))
    for side in SIDES:
        of = pair[side]
        print(f"{side:5} {of['cpu']:8.2f} s CPU {of['wall']:8.2f} s wall, start {of['start_cpu']:.2f} s CPU")
    print(f"sums of weights differ by {differ:.3g} at most", flush=True)


if __name__ == "__main__":
    main()
