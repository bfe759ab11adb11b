"""The command `salt simulate`."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from salt.simulate import sample

log = logging.getLogger(__name__)

PROCESSES = ("ttbar", "dijet", "zprime")  # generator.PROCESSES, without importing numpy for --help
USAGE_ERROR, FAILURE, INTERRUPTED = 2, 1, 130
DESCRIPTION = (
    "Simulate proton-proton collisions and write jets with their tracks as training, validation and test files. "
    "The same arguments give the same jets for any number of workers. A run that was stopped goes on from where it "
    "was when the same command is given again."
)


def available_cpus() -> int:
    """CPUs that this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def make_parser() -> argparse.ArgumentParser:
    """The arguments of the command."""
    parser = argparse.ArgumentParser(prog="salt simulate", description=DESCRIPTION)
    parser.add_argument("--process", choices=PROCESSES, default="ttbar", help="what to produce (default: ttbar)")
    parser.add_argument(
        "--jets",
        nargs=3,
        type=int,
        required=True,
        metavar=("TRAIN", "VAL", "TEST"),
        help="numbers of jets for training, validation and test",
    )
    parser.add_argument("--seed", type=int, default=42, help="another seed gives other collisions (default: 42)")
    parser.add_argument("--workers", type=int, default=available_cpus(), help="processes (default: %(default)s CPUs)")
    parser.add_argument("--out", type=Path, default=Path("data"), help="folder of the files (default: data)")
    parser.add_argument("--force", action="store_true", help="replace the sample of another command in --out")
    return parser


def existing(path: Path) -> Path:
    """The path itself or its nearest parent that exists."""
    return next(parent for parent in (path.absolute(), *path.absolute().parents) if parent.exists())


def check(options: argparse.Namespace) -> None:
    """Raise ValueError or OSError for arguments that cannot work."""
    if min(options.jets) < 1:
        raise ValueError(f"--jets {' '.join(map(str, options.jets))}: each of TRAIN, VAL and TEST must be 1 or more")
    if options.workers < 1:
        raise ValueError(f"--workers {options.workers}: at least 1 is needed")
    if options.seed < 0:
        raise ValueError(f"--seed {options.seed}: a seed is 0 or more")
    folder = existing(options.out)
    if not folder.is_dir():
        raise NotADirectoryError(f"--out {options.out}: {folder} is a file; give a folder")
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"--out {options.out}: no permission to write in {folder}; give another folder")


def plan(options: argparse.Namespace) -> sample.Recipe | None:
    """Check everything that can fail before the work begins.

    Returns
    -------
    sample.Recipe | None
        What to make; None if the folder holds it already.
    """
    from salt.simulate import generator, sample

    check(options)
    generator.check_installed()
    recipe = sample.Recipe(options.process, options.seed, tuple(options.jets))
    if sample.is_complete(recipe, options.out, force=options.force):
        return None
    sample.check_space(recipe, existing(options.out))
    return recipe


def simulate(recipe: sample.Recipe, options: argparse.Namespace) -> None:
    """Make the sample and say how long it took."""
    from salt.simulate import sample

    began = time.monotonic()
    numbers = " + ".join(map(str, recipe.jets))
    log.info("simulating %s jets of %s with %d workers into %s", numbers, recipe.process, options.workers, options.out)
    sample.build(recipe, options.out, options.workers)
    total, seconds = sum(recipe.jets), time.monotonic() - began
    log.info("wrote %d jets in %.0f s (%.0f a second) to %s", total, seconds, total / seconds, options.out)


def main(argv: list[str]) -> int:
    """Run the command.

    Parameters
    ----------
    argv : list[str]
        Arguments after `salt simulate`.

    Returns
    -------
    int
        Exit code: 0 done, 1 failed, 2 wrong arguments, 130 interrupted.
    """
    options = make_parser().parse_args(argv)
    if not log.hasHandlers():
        logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        recipe = plan(options)
    except (ValueError, OSError, ModuleNotFoundError) as error:
        return fail(str(error), USAGE_ERROR)
    if recipe is None:
        log.info("reused: %s holds this sample already", options.out)
        return 0
    try:
        simulate(recipe, options)
    except (OSError, RuntimeError) as error:
        return fail(str(error), FAILURE)
    except KeyboardInterrupt:
        return fail("stopped; the same command goes on from the finished chunks", INTERRUPTED)
    return 0


def fail(message: str, code: int) -> int:
    """Say on the standard error what went wrong and pass the exit code on."""
    sys.stderr.write(f"salt simulate: {message}\n")
    return code
