"""CPU seconds until the command line answers: ours, an empty LightningCLI's, and upstream's.

    .venv/bin/python benchmarks/cli_start.py

`salt fit --help` cannot be cheaper than the same of a LightningCLI with an empty model, which imports torch and
lightning and little else; `salt --help` can, as it needs neither. User and system time of the child and of its
children, medians of runs in turn.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from step import PEER_PYTHON

EMPTY = """
from lightning.pytorch import LightningDataModule, LightningModule
from lightning.pytorch.cli import LightningCLI

class Model(LightningModule): ...
class Data(LightningDataModule): ...

LightningCLI(Model, Data)
"""


def cpu_seconds(command: Sequence[str | Path], folder: str) -> float:
    """Run it to its end."""
    # uv installs without bytecode: where Python may not write any, each start would compile all it imports
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n", maxsplit=1)[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=5, help="runs of each command")
    parser.add_argument("--peer-python", type=Path, default=PEER_PYTHON, help="interpreter of upstream's environment")
    parser.add_argument("--json", action="store_true", help="print one JSON object in place of a table")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        empty = Path(folder) / "empty.py"
        empty.write_text(EMPTY)
        ours = Path(sys.executable).parent / "salt"
        commands: dict[str, list[str | Path]] = {
            "salt_help": [ours, "--help"],
            "salt_fit_help": [ours, "fit", "--help"],
            "empty_fit_help": [sys.executable, "-W", "ignore", empty, "fit", "--help"],
        }
        theirs = options.peer_python.absolute().parent / "salt"
        if theirs.exists():
            commands["upstream_help"] = [theirs, "--help"]
            commands["upstream_fit_help"] = [theirs, "fit", "--help"]
        for command in commands.values():  # compiles bytecode, fills the page cache
            cpu_seconds(command, folder)
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(options.runs):
            for name, command in commands.items():
                times[name].append(cpu_seconds(command, folder))

    seconds = {name: round(median(values), 3) for name, values in times.items()}
    over = [a - b for a, b in zip(times["salt_fit_help"], times["empty_fit_help"], strict=True)]
    report = {**seconds, "salt_fit_help_over_empty": round(median(over), 3), "runs": options.runs}
    if options.json:
        print(json.dumps(report))
        return
    for name, command in commands.items():
        told = " ".join(
            Path(word).name if isinstance(word, Path) else word for word in command[-3:] if word != "ignore"
        )
        print(f"{name:18} {seconds[name]:7.2f} CPU s   {told}")
    print(f"{'fit over empty':18} {report['salt_fit_help_over_empty']:+7.2f} CPU s")


if __name__ == "__main__":
    main()
