"""Whether a change leaves the losses of a training as they were: the same short, seeded fit at two commits, bit by bit.

    python benchmarks/loss_compare.py REV_A REV_B [--config gnn.yaml ...] [-- --trainer.max_epochs=3 ...]

Each commit is checked out in a temporary folder and runs in a process of its own, with this environment's packages.
Prints the first step at which the losses differ, and by how much at most; exits with 0 where they never do, else 1.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent

LOGGED = ("--trainer.log_every_n_steps=1", "--trainer.accelerator=cpu")
SHORT = ("--trainer.max_epochs=2", "--data.batch_size=200")

PROGRAM = "import sys; from salt.cli.main import main; sys.exit(main(sys.argv[1:]))"

Losses = dict[tuple[int, str], float]
"""(step, name) -> value."""


@contextmanager
def checked_out(revision: str, folder: Path) -> Iterator[Path]:
    """A worktree of a commit, which is removed in the end."""
    place = folder / revision.replace("/", "_")
    _git("worktree", "add", "--quiet", "--detach", str(place), revision)
    try:
        yield place
    finally:
        _git("worktree", "remove", "--force", str(place))


def losses_of(tree: Path, folder: Path, arguments: Sequence[str]) -> Losses:
    """What a fit of the code in a tree logs."""
    folder.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(tree), "CUDA_VISIBLE_DEVICES": "", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-P", "-c", PROGRAM, "fit", "-ls", "run", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"the fit at {tree.name} failed:\n{done.stderr[-4000:]}")
    (file,) = folder.glob("logs/*_run/metrics.csv")
    with file.open() as lines:
        rows = list(csv.DictReader(lines))
    return {(int(row["step"]), name): float(row[name]) for row in rows for name in row if "loss" in name and row[name]}


def compared(one: Losses, other: Losses) -> tuple[str, bool]:
    """What there is to say about two runs, and whether they are equal."""
    both = sorted(one.keys() & other.keys())
    only = sorted({name for _, name in one.keys() ^ other.keys()})
    lines = [f"{len(both)} losses of {len({step for step, _ in both})} steps compared"]
    if only:
        lines.append(f"logged by one of them only, or at other steps: {', '.join(only)}")
    differing = [key for key in both if one[key] != other[key]]
    if differing:
        step, name = differing[0]
        far = max(differing, key=lambda key: abs(one[key] - other[key]))
        lines += [
            f"first difference at step {step}, {name}: {one[step, name]!r} and {other[step, name]!r}",
            f"largest difference at step {far[0]}, {far[1]}: {abs(one[far] - other[far]):.3g}",
        ]
    else:
        lines.append("no difference: maximum 0")
    return "\n".join(lines), bool(both) and not differing


def _git(*arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=REPOSITORY, check=True)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("revisions", nargs=2, metavar="REV", help="two commits")
    parser.add_argument("--config", action="append", help="as that of salt fit; gnn.yaml where none is given")
    parser.add_argument("options", nargs="*", help="of salt fit, after --")
    asked = parser.parse_args(arguments)
    fit = [f"--config={config}" for config in asked.config or ["gnn.yaml"]] + [*LOGGED, *SHORT, *asked.options]
    with tempfile.TemporaryDirectory() as name:
        folder, losses = Path(name), []
        for number, revision in enumerate(asked.revisions):
            with checked_out(revision, folder / f"tree{number}") as tree:
                losses.append(losses_of(tree, folder / f"run{number}", fit))
    said, equal = compared(*losses)
    print(f"{asked.revisions[0]} and {asked.revisions[1]}: {said}")
    return 0 if equal else 1


if __name__ == "__main__":
    raise SystemExit(main())
