"""What stands in the folders that hold stores: whole stores and unfinished ones, and what may go."""

from __future__ import annotations

import os
import re
import shutil
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from salt.data import manifest
from salt.data.leases import alone, lock
from salt.data.manifest import Manifest
from salt.data.places import FOLDER, UNFINISHED, common_roots
from salt.data.remote import is_url
from salt.data.sources import SourceFile, open_sample

STORE_NAME = r".+-[0-9a-f]{12}"
"""Stem of the first file, and the key of the recipe."""

WHOLE = re.compile(f"{STORE_NAME}$")
PART = re.compile(rf"({STORE_NAME})\.(\d+|old){re.escape(UNFINISHED)}$")
"""Of an unfinished store: its name, and the process that builds it; old: one whose place another has taken."""


class State(Enum):
    """What is to be said of a store."""

    FRESH = "fresh"
    CHANGED = "its files changed"
    GONE = "its files are gone"
    BUILDING = "unfinished: being built"
    LEFTOVER = "unfinished: leftover"
    FOREIGN = "not as its manifest says: left alone"


USELESS = {State.CHANGED, State.GONE, State.LEFTOVER}
"""What nobody will use again."""

OURS = {*USELESS, State.FRESH}
"""What may be removed at all."""


@dataclass(frozen=True)
class Item:
    """A store, or what there is of one.

    Parameters
    ----------
    path : Path
        Its folder.
    name : str
        Of the store that it is, or was to be.
    state : State
        What is to be said of it.
    about : str
        Which files changed or are gone, which process builds it; empty where there is nothing to add.
    size : int
        Bytes of its files.
    written : float
        When, in seconds since 1970.
    manifest : Manifest | None
        What it holds; None for an unfinished one.
    """

    path: Path
    name: str
    state: State
    about: str
    size: int
    written: float
    manifest: Manifest | None = None

    @property
    def files(self) -> list[str]:
        """The files that it was made of; none are known of an unfinished one."""
        return [source.path for source in self.manifest.sources] if self.manifest else []

    def is_made_of(self, path: Path) -> bool:
        """Whether it was made of this file, or of one in this folder."""
        return any(Path(file).is_relative_to(path) for file in self.files if not is_url(file))


def shelves(path: Path) -> list[Item]:
    """What stands in a folder, or in the folder for stores in it; or beside a file, made of that file.

    Parameters
    ----------
    path : Path
        The folder or file; also a file that is no more, and a store itself.
    """
    path = path.expanduser().absolute()
    if path.is_dir() and not (path / manifest.NAME).is_file():
        return [*standing(path), *standing(path / FOLDER)]
    beside = [*standing(path.parent), *standing(path.parent / FOLDER)]
    found = [item for item in beside if item.path == path or item.is_made_of(path)]
    if not found and not path.exists():
        raise FileNotFoundError(f"no file or folder {path}, and no store that was made of it")
    return found


def common() -> list[Item]:
    """What stands in the places that do not depend on where files are: $SALT_STORE, the folder of temporary files."""
    return [item for root in dict.fromkeys(common_roots()) for item in standing(root)]


def standing(root: Path) -> list[Item]:
    """What stands in a folder, and is ours."""
    folders = sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    return [item for path in folders if not path.is_symlink() and (item := look(path)) is not None]


def look(path: Path) -> Item | None:
    """What a folder is; None where it is no store."""
    with suppress(FileNotFoundError):  # gone while we look
        if part := PART.match(path.name):
            return _unfinished(path, part[1], part[2])
        if WHOLE.match(path.name) and (found := Manifest.read(path)) is not None:
            state, about = _state(path, found)
            written = (path / manifest.NAME).stat().st_mtime
            return Item(path, path.name, state, about, _size(path), written, found)
    return None


def _unfinished(path: Path, name: str, process: str) -> Item | None:
    """A store without an end; None where it has no lock, and so may be anything."""
    file = path.with_name(f"{name}.lock")
    if not file.exists():
        return None
    try:
        with alone(file) as is_free:
            state = State.LEFTOVER if is_free else State.BUILDING
    except PermissionError:  # somebody else's
        state = State.BUILDING
    about = f"by process {process}" if state is State.BUILDING else ""
    return Item(path, name, state, about, _size(path), path.stat().st_mtime)


def _state(path: Path, found: Manifest) -> tuple[State, str]:
    """What is to be said of a whole store, and which files are the reason."""
    there = {file.name: file.lstat().st_size for file in path.iterdir() if file.is_file() and not file.is_symlink()}
    is_more = len(there) < len(list(path.iterdir()))
    there.pop(manifest.NAME)
    if is_more or there != found.sizes():
        return State.FOREIGN, ""
    local = [source for source in found.sources if not is_url(source.path)]
    for state, is_so in ((State.GONE, _is_gone), (State.CHANGED, _is_changed)):
        names = [source.path for source in local if is_so(source)]
        if names:
            more = f" and {len(names) - 1} more" if names[1:] else ""
            return state, names[0] + more
    return State.FRESH, "" if local else "as far as is known without a look at the server"


def _is_gone(source: SourceFile) -> bool:
    return not Path(source.path).is_file()


def _is_changed(source: SourceFile) -> bool:
    """Whether a file is another than it was, or one of those that its virtual datasets are made of."""
    modified, *others = source.modified.split("; ")
    status = Path(source.path).stat()
    if (status.st_size, str(status.st_mtime_ns)) != (source.size, modified):
        return True
    if not others:
        return False
    try:
        with open_sample(source.path, "PATH") as sample:
            return sample.files[0] != source
    except (OSError, ValueError):
        return True


def _size(path: Path) -> int:
    """Bytes of the files of a folder."""
    return sum(file.lstat().st_size for file in path.iterdir())


def remove(item: Item) -> bool:
    """Remove what is ours, unless it is another thing by now, or somebody builds it; whether it is gone.

    Whoever has a store open keeps what he has open.
    """
    assert item.state in OURS
    root = item.path.parent
    try:
        with lock(root / f"{item.name}.lock", patience=0):
            if not _is_still(item):
                return False
            going = root / f"{item.name}.{os.getpid()}{UNFINISHED}"  # where we are killed, it is a leftover
            if item.path != going:
                item.path.rename(going)
            shutil.rmtree(going)
    except TimeoutError:
        return False
    if root.name == FOLDER:
        with suppress(OSError):  # it holds more
            root.rmdir()
    return True


def _is_still(item: Item) -> bool:
    """Whether it is what it was; under its lock, which is ours now."""
    return item.path.is_dir() and (item.manifest is None or look(item.path) == item)
