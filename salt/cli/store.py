"""`salt store`: the converted copies of training files: built ahead, listed, removed."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from salt.data.space import in_words

if TYPE_CHECKING:  # it imports torch
    from salt.cli.shelf import Item

log = logging.getLogger(__name__)

DESCRIPTION = (
    "A store is a copy of training files from which jets can be taken in any order. salt fit builds it at its first "
    "use: in the folder salt-store beside the files, else in $SALT_STORE, else in the folder of temporary files."
)
BUILD = "build the stores that salt fit would build of the same arguments, without training (salt fit --help has them)"
LIST = "show the stores that there are, what they were made of, and whether they can still serve"
CLEAN = "remove stores whose files changed or are gone, and what interrupted building has left"
COMMON = "$SALT_STORE and the folder of temporary files"

UNITS = (("day", 86400), ("hour", 3600), ("minute", 60))
"""Of ages, in seconds."""


class Parser(argparse.ArgumentParser):
    """A parser whose errors are those of the whole program."""

    def error(self, message: str) -> NoReturn:
        """Raise, where argparse would write and exit."""
        raise ValueError(f"{self.prog}: {message}\n  mend: {self.prog} --help lists what can be given")


def make_parser() -> Parser:
    """The arguments of the command; those of build are those of fit."""
    parser = Parser(prog="salt store", description=DESCRIPTION)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("build", help=BUILD, add_help=False)
    shown = actions.add_parser(
        "list", help=LIST, description=f"{LIST.capitalize()}. Those in {COMMON} are shown, too.", allow_abbrev=False
    )
    cleaned = actions.add_parser(
        "clean",
        help=CLEAN,
        description=f"{CLEAN.capitalize()}. Where PATH is given, in {COMMON} only those that were made of files there. "
        "Whoever has a store open keeps it.",
        allow_abbrev=False,
    )
    for action in (shown, cleaned):
        action.add_argument(
            "paths",
            metavar="PATH",
            type=Path,
            nargs="*",
            help="a folder: the stores in it, and in salt-store in it; a file: those made of it; a store (default: .)",
        )
    cleaned.add_argument("--all", action="store_true", help="the others, too: salt fit builds them again")
    cleaned.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    return parser


def main(arguments: Sequence[str]) -> int:
    """Do what the first argument names."""
    if not arguments:
        make_parser().print_help()
        return 2
    if arguments[0] == "build":
        return build(arguments[1:])
    options = make_parser().parse_args(arguments)
    return show(options) if options.action == "list" else clean(options)


def build(arguments: Sequence[str]) -> int:
    """Build the stores of the training and validation files of a config."""
    from salt.cli import building, lightning

    return lightning.main(["fit", *arguments], building.StoreCLI)


def show(options: argparse.Namespace) -> int:
    """List stores."""
    from salt.cli import shelf

    items = _distinct([*_named(options.paths), *shelf.common()])
    head = ("STORE", "MADE OF", "JETS", "SIZE", "INPUTS + LABELS", "AGE", "STATE")
    if items:
        sys.stdout.write(_table([head, *map(_row, items)]))
    sys.stdout.write(f"{_count(items)}, {in_words(sum(item.size for item in items))}\n")
    return 0


def clean(options: argparse.Namespace) -> int:
    """Remove stores that nobody will use again; with --all, those that somebody may."""
    from salt.cli import shelf

    places = [path.expanduser().absolute() for path in options.paths]
    shared = [item for item in shelf.common() if not places or any(item.is_made_of(path) for path in places)]
    wanted = shelf.OURS if options.all else shelf.USELESS
    going = [item for item in _distinct([*_named(options.paths), *shared]) if item.state in wanted]
    would, gone = ("would remove", going) if options.dry_run else ("removed", [each for each in going if _remove(each)])
    for item in gone:
        sys.stdout.write(f"{would} {item.path} ({_state(item)})\n")
    sys.stdout.write(f"{would} {_count(gone)}, {in_words(sum(item.size for item in gone))}\n")
    return 0


def _named(paths: Sequence[Path]) -> list[Item]:
    """What stands where the user says; here where he does not."""
    from salt.cli import shelf

    return [item for path in paths or [Path()] for item in shelf.shelves(path)]


def _remove(item: Item) -> bool:
    """Remove a store; whether it is gone."""
    from salt.cli import shelf

    is_gone = shelf.remove(item)
    if not is_gone:
        log.warning("left %s: another process is at work on it", item.path)
    return is_gone


def _distinct(items: Iterable[Item]) -> list[Item]:
    """Each once: places may be named twice."""
    return list({item.path.resolve(): item for item in items}.values())


def _count(items: Sequence[Item]) -> str:
    return f"{len(items)} store{'s' * (len(items) != 1)}"


def _row(item: Item) -> tuple[str, ...]:
    """What the list shows of a store."""
    found = item.manifest
    jets = streams = ""
    if found is not None:
        jets = f"{found.num_jets}{'' if found.is_complete else f' of {sum(s.num_jets for s in found.sources)}'}"
        records = {name: of.record for name, of in found.streams.items()}
        labels = {name: sum(len(group.names) for group in record.labels) for name, record in records.items()}
        streams = ", ".join(f"{name} {len(record.variables)} + {labels[name]}" for name, record in records.items())
    return _short(item.path), _made_of(item), jets, in_words(item.size), streams, _age(item.written), _state(item)


def _short(path: Path) -> str:
    """A path as it is written from here, where that is shorter."""
    return min(str(path), os.path.relpath(path), key=len)


def _made_of(item: Item) -> str:
    """The first file, and how many more."""
    first, *more = item.files or [""]
    return f"{first}{f' and {len(more)} more' if more else ''}"


def _state(item: Item) -> str:
    """In words, with what there is to say about it."""
    return f"{item.state.value}{f': {item.about}' if item.about else ''}"


def _age(written: float) -> str:
    """In the largest unit."""
    seconds = time.time() - written
    for unit, length in UNITS:
        if seconds >= length:
            number = int(seconds // length)
            return f"{number} {unit}{'s' * (number != 1)}"
    return "new"


def _table(rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as they need to be."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    return "".join(f"{line}\n" for line in lines)
