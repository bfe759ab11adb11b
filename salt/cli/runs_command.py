"""`salt runs`: what runs there are, how two differ, and what dead ones have left behind."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from salt.cli.comparison import comparison
from salt.cli.leftovers import leftovers, remove
from salt.cli.summary import LOGS, Summary, run_named, runs_in, summary_of, to_json

ACTIONS = ("diff", "clean")

DESCRIPTION = "Without an action, list the runs in folders (default: logs): state, epochs, best metric, data, start."
DIFF = "show what differs between two runs in config, data, code and results"
CLEAN = "remove what runs have left that can be proven dead: half-written files, folders of runs that never began"


class Parser(argparse.ArgumentParser):
    """A parser whose errors are those of the whole program."""

    def error(self, message: str) -> NoReturn:
        """Raise, where argparse would write and exit."""
        raise ValueError(f"{self.prog}: {message}\n  mend: {self.prog} --help lists what can be given")


def list_parser() -> Parser:
    """Arguments of the list."""
    epilog = f"actions:\n  salt runs diff A B   {DIFF}\n  salt runs clean      {CLEAN}"
    parser = Parser(
        prog="salt runs",
        description=DESCRIPTION,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("folders", metavar="FOLDER", type=Path, nargs="*", help="a run, or a folder of runs")
    parser.add_argument("--json", action="store_true", help="write JSON")
    return parser


def diff_parser() -> Parser:
    """Arguments of `diff`."""
    parser = Parser(prog="salt runs diff", description=f"{DIFF.capitalize()}.", allow_abbrev=False)
    parser.add_argument("runs", metavar="RUN", type=Path, nargs=2, help="a run's directory")
    parser.add_argument("--json", action="store_true", help="write JSON")
    return parser


def clean_parser() -> Parser:
    """Arguments of `clean`."""
    parser = Parser(
        prog="salt runs clean",
        description=f"{CLEAN.capitalize()}. Never a checkpoint or a config. Stores: salt store clean.",
        allow_abbrev=False,
    )
    parser.add_argument("folders", metavar="FOLDER", type=Path, nargs="*", help="a run, or a folder of runs")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    return parser


def main(arguments: Sequence[str]) -> int:
    """Do what the first argument names; list runs where it names no action."""
    action = arguments[0] if arguments and arguments[0] in ACTIONS else ""
    return {"": show, "diff": diff, "clean": clean}[action](arguments[1:] if action else arguments)


def show(arguments: Sequence[str]) -> int:
    """List runs."""
    options = list_parser().parse_args(arguments)
    summaries = [summary_of(run) for run in runs_in(options.folders)]
    summaries.sort(key=lambda each: each.started or "")
    if options.json:
        sys.stdout.write(to_json([each.as_json() for each in summaries]))
        return 0
    head = ("RUN", "STATE", "EPOCHS", "BEST", "DATA", "STARTED")
    if summaries:
        sys.stdout.write(_table([head, *map(_row, summaries)]))
    sys.stdout.write(f"{len(summaries)} run{'s' * (len(summaries) != 1)}\n")
    return 0


def diff(arguments: Sequence[str]) -> int:
    """Show what differs between two runs."""
    options = diff_parser().parse_args(arguments)
    one, other = map(run_named, options.runs)
    found = comparison(one, other)
    if options.json:
        sys.stdout.write(to_json(found))
        return 0
    sys.stdout.write(f"{one} -> {other}\n")
    for section, lines in found.items():
        sys.stdout.write(f"\n{section}:{'' if lines else ' no difference'}\n")
        sys.stdout.writelines(f"  {line}\n" for line in lines)
    return 0


def clean(arguments: Sequence[str]) -> int:
    """Remove leftovers."""
    options = clean_parser().parse_args(arguments)
    folders = options.folders or [LOGS if LOGS.is_dir() else Path()]
    runs_in(folders)  # each has to be there
    number = 0
    for each in list(leftovers(folders)):
        is_gone = each.goes and (options.dry_run or remove(each))
        number += is_gone
        said = "left" if not is_gone else "would remove" if options.dry_run else "removed"
        sys.stdout.write(f"{said} {each.path} ({each.why})\n")
    would = "would remove" if options.dry_run else "removed"
    sys.stdout.write(f"{would} {number} leftover{'s' * (number != 1)}\n")
    return 0


def _row(each: Summary) -> tuple[str, ...]:
    """What the list shows of a run."""
    state = f"{each.state} ({each.reason})" if each.reason else each.state
    epochs = f"{each.epoch}/{each.epochs}" if each.epochs is not None else str(each.epoch)
    best = f"{each.best['name']} {each.best['value']:.5f}" if each.best else ""
    first, *more = [Path(file).name for file in each.data] or [""]
    started = (each.started or "")[:16].replace("T", " ")
    shown = state if len(state) <= 60 else f"{state[:57]}..."
    return str(each.path), shown, epochs, best, f"{first}{f' and {len(more)} more' if more else ''}", started


def _table(rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as they need to be."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    return "".join(f"{line}\n" for line in lines)
