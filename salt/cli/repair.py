"""`repair_ckpt FILE...`: takes torch.compile's `_orig_mod.` out of the names in a checkpoint.

Nothing is unpickled: the names are replaced in the pickle itself, and all else stays as it is, whatever it is.
"""

from __future__ import annotations

import argparse
import logging
import pickletools
import struct
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from salt.cli.main import guard, speak
from salt.training.run_files import write_whole

log = logging.getLogger(__name__)

COMPILED = "_orig_mod."
"""What torch.compile puts into the names of parameters."""

TEXTS = {"BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"}
"""Opcodes of a pickle that hold a text."""

LENGTHS = {"FRAME"}
"""Opcodes that say how long what follows is; a reader does without them."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Repair these files; the exit code."""
    parser = argparse.ArgumentParser("repair_ckpt", description="Repair checkpoints of models that were compiled.")
    parser.add_argument("paths", nargs="+", type=Path, metavar="FILE", help="checkpoints")
    parser.add_argument("--overwrite", action="store_true", help="write in their place, not beside them")
    asked = parser.parse_args(arguments)
    speak()
    return guard(lambda: _repair_all(asked.paths, asked.overwrite))


def _repair_all(paths: Sequence[Path], overwrite: bool) -> int:
    for path in paths:
        target = path if overwrite else path.with_name(f"{path.stem}_repaired{path.suffix}")
        if target != path and target.exists():
            raise FileExistsError(f"{target} is there already\n  mend: remove it, or give --overwrite to change {path}")
        count = repair(path, target)
        if count == 0:
            log.info("%s needs no repair: it has no name with %s", path, COMPILED)
        else:
            log.info("%s: repaired %d names of %s", target, count, path)
    return 0


def repair(path: Path, target: Path) -> int:
    """Write a checkpoint anew without `_orig_mod.`, if it has any; how many names had it.

    Parameters
    ----------
    path : Path
        A checkpoint of torch's zip format.
    target : Path
        Where to; may be the same.
    """
    try:
        with ZipFile(path) as archive:
            pickles = [name for name in archive.namelist() if name.endswith("data.pkl")]
            if len(pickles) != 1 or (damaged := archive.testzip()) is not None:
                raise BadZipFile(f"{len(pickles)} pickles in it" if len(pickles) != 1 else f"{damaged} is damaged")
            content, count = without_compiled(archive.read(pickles[0]))
            if count:
                write_whole(target, lambda file: _write(archive, ZipFile(file, "w"), pickles[0], content))
    except (BadZipFile, ValueError) as error:
        raise ValueError(f"{path} is cut short, damaged, or not a checkpoint of torch's zip format: {error}") from error
    return count


def without_compiled(content: bytes) -> tuple[bytes, int]:
    """A pickle with all texts in it rid of `_orig_mod.`, and how many had it."""
    parts, count = [], 0
    operations = [*((code.name, text, place) for code, text, place in pickletools.genops(content)), ("", "", None)]
    for (name, text, place), (_, _, following) in pairwise(operations):
        if name in TEXTS and COMPILED in str(text):
            encoded = str(text).replace(COMPILED, "").encode("utf-8", "surrogatepass")
            parts.append(b"X" + struct.pack("<I", len(encoded)) + encoded)
            count += 1
        elif name not in LENGTHS:
            parts.append(content[place:following])
    return b"".join(parts), count


def _write(source: ZipFile, target: ZipFile, changed: str, content: bytes) -> None:
    """Copy an archive, with one file of it changed."""
    with target:
        for entry in source.infolist():
            target.writestr(entry, content if entry.filename == changed else source.read(entry))


if __name__ == "__main__":
    sys.exit(main())
