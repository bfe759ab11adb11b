"""`salt sweep [SPACE.yaml] ...`: many trainings of one config, shared by any number of processes."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from salt.sweeps import plan, table
from salt.sweeps.asked import asked
from salt.sweeps.beginning import made_or_joined
from salt.sweeps.folder import PAGE, Member, members, read_plan, write_whole
from salt.sweeps.plan import Plan

log = logging.getLogger(__name__)

DESCRIPTION = """Train many: a search over SPACE.yaml, N seeds (--replicas), or K folds (--folds). All other options are
those of salt fit, given to each trial. Any number of processes, on machines that share the folder, work on one."""

EPILOG = """SPACE.yaml:
  parameters:
    model.lrs_config.max: {low: 1e-4, high: 1e-2, log: true}
    model.model.init_args.encoder.init_args.num_layers: {low: 2, high: 6, step: 1}
    data.batch_size: [500, 1000]
  trials: 20         # in all, over all processes; the options below say the same, and count more
  method: tpe        # random, grid
  objective: val/loss

A trial's value is the best of its validations, as the best checkpoint is. The folder, logs/NAME_sweep_TIME, holds the
runs (trials/), trials.csv, and index.html. A process that is told to end (Ctrl-C, SIGTERM, SIGUSR1) saves its trial;
salt sweep --study FOLDER goes on, and takes up what was left by processes that have died."""


class Parser(argparse.ArgumentParser):
    """A parser whose errors are those of the whole program."""

    def error(self, message: str) -> NoReturn:
        """Raise, where argparse would write and exit."""
        raise ValueError(f"{self.prog}: {message}\n  mend: {self.prog} --help lists what can be given")


def parser() -> Parser:
    """The sweep's own options."""
    options = Parser(
        prog="salt sweep",
        usage="salt sweep [SPACE.yaml] [options] [options of salt fit]",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    options.add_argument(
        "--trials", type=int, metavar="N", help=f"trials in all (default: {plan.NUM_TRIALS}; all of a grid)"
    )
    options.add_argument("--method", choices=plan.SEARCHES, help="how values are chosen (default: tpe)")
    options.add_argument("--objective", metavar="METRIC", help="any logged metric (default: the one that is monitored)")
    options.add_argument("--direction", choices=plan.DIRECTIONS, help="which way it is better (default: by its name)")
    options.add_argument("--prune", choices=plan.PRUNING, help="end bad trials early (default: median; off for a grid)")
    options.add_argument("--seed", type=int, metavar="N", help="of the search (default: 42)")
    several = options.add_mutually_exclusive_group()
    several.add_argument("--replicas", type=int, metavar="N", help="train N times, with the seeds 42, 43, ...")
    several.add_argument("--folds", type=int, metavar="K", help="train K times, each time without one of K folds")
    options.add_argument(
        "--study", type=Path, metavar="FOLDER", help="the sweep to join or go on with, or to make there"
    )
    options.add_argument("--show", action="store_true", help="only write the table of --study")
    return options


def main(arguments: Sequence[str]) -> int:
    """Work on a sweep; the exit code is that of a signal that came, and 0 when nothing is left to do."""
    space_file = arguments[0] if arguments and not arguments[0].startswith("-") else None
    options, of_fit = parser().parse_known_args(arguments[0 if space_file is None else 1 :])
    if options.show:
        return show(options)
    from salt.sweeps.study import Study, library

    library()
    folder = options.study.absolute() if options.study is not None else None
    own: list[str] = []
    if space_file or of_fit or options.replicas is not None or options.folds is not None:
        found = asked(space_file, options, of_fit)
        folder, own = folder or found.folder, found.own
        made_or_joined(folder, found.plan)
    elif folder is None:
        raise ValueError(
            "salt sweep needs a space, --replicas, --folds or --study\n"
            "  mend: salt sweep SPACE.yaml --config gnn.yaml; salt sweep --help shows how a space is written"
        )
    read_plan(folder)  # or there is no sweep
    study = Study(folder)
    if options.trials is not None:
        study.extend(options.trials)
    log.info("sweep %s: %d trials, %s; %s %s", folder, study.plan.trials, study.plan.method, study.plan.direction,
             study.plan.objective)  # fmt: skip
    return work(study, folder, own)


def work(study: Any, folder: Path, own: Sequence[str]) -> int:
    """Train, then write the table."""
    from salt.sweeps.worker import Worker

    code = Worker(study, lambda of, found: write_page(folder, of, found), own).run()
    found = study.write(lambda of, each: write_page(folder, of, each))
    sys.stdout.write(table.text(study.plan, found))
    sys.stdout.write(f"\n{folder / PAGE}\n")
    running = sum(member.state == "running" for member in found)
    if code:
        log.info("stopped; go on with: salt sweep --study %s", folder)
    elif running:
        log.info("still being trained by other processes: %d", running)
    return code


def show(options: argparse.Namespace) -> int:
    """Write the table of a sweep."""
    if options.study is None:
        raise ValueError("--show needs a sweep\n  mend: salt sweep --study FOLDER --show")
    content = Plan.of(read_plan(options.study), str(options.study))
    sys.stdout.write(table.text(content, members(options.study)))
    return 0


def write_page(folder: Path, of: Plan, found: list[Member]) -> None:
    """Write index.html."""
    from salt.sweeps import page

    write_whole(folder / PAGE, page.render(folder.name, of, found))
