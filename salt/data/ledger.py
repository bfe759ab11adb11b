"""Ledger: which copies in a folder are ours, written down before they are made, and removed when nobody uses them.

What is in the folder while there are copies, `HOST-UID` being the machine's name and the user's number:

    salt-KEY/name.h5           a copy; KEY depends on the source's path, size and time of change
    salt-KEY/.lease            held by each process that uses it
    .salt-HOST-UID.json        the copies that we made or are making: nothing else is ever removed
    .salt-HOST-UID.lock        held by who makes or removes copies
    .salt-made                 in the folder, and in its parents, where they were made by us

Each machine has a ledger of its own: not every file system that several machines share has locks that they share.
"""

from __future__ import annotations

import json
import logging
import os
import platform
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from salt.data import leases
from salt.data.copies import Copy

warn = logging.getLogger(__name__).warning

LEASE = ".lease"
MADE = ".salt-made"
PATIENCE = 5.0
"""Seconds that an ending process waits for another's copying; who copies removes what is left, too."""

ATTEMPTS = 100
"""How often to make a folder that other processes remove."""


class Ledger:
    """The copies in a folder that are ours.

    Parameters
    ----------
    folder : Path
        Where the copies are.
    """

    def __init__(self, folder: Path) -> None:
        name = f".salt-{platform.node()}-{os.getuid()}"
        self.folder = folder
        self._lock, self._file, self._new = (folder / f"{name}.{end}" for end in ("lock", "json", "json.new"))

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Hold the ledger, in a folder that is made where it is not there; removes what nobody uses in the end."""
        try:
            with ExitStack() as stack:
                self._enter(stack)
                stack.callback(self.sweep)  # also of what others let go meanwhile, who did not wait
                yield
        finally:
            _unmake(self.folder)

    def _enter(self, stack: ExitStack) -> None:
        for attempt in range(ATTEMPTS):
            try:
                _make(self.folder)
                return stack.enter_context(leases.lock(self._lock))
            except FileNotFoundError:  # another process has just removed the folder
                if attempt == ATTEMPTS - 1:
                    raise
        return None

    def close(self) -> None:
        """Remove what nobody uses, unless another process is at it; then the folder, if it is ours and empty."""
        if not self.folder.is_dir():
            return
        try:
            with suppress(TimeoutError, FileNotFoundError), leases.lock(self._lock, PATIENCE):
                self.sweep()
            _unmake(self.folder)
        except OSError as error:
            warn("copies may be left in %s, the next run that uses it removes them: %s", self.folder, error)

    def has(self, copy: Copy) -> bool:
        """Whether a copy is there, whole."""
        entry = self._read().get(copy.folder)
        return bool(entry and entry["whole"]) and copy.is_in(self.folder / copy.folder)

    def share(self, copy: Copy) -> leases.Share:
        """Hold a copy, so that it stays."""
        return leases.Share(self.folder / copy.folder / LEASE)

    def begin(self, copy: Copy) -> None:
        """Make the folder of a copy."""
        place, entries = self.folder / copy.folder, self._read()
        if copy.folder in entries:
            raise FileExistsError(f"{place} is in use, but somebody has changed it")
        self._write(entries | {copy.folder: {"whole": False, "copy": copy.describe()}})
        try:
            place.mkdir(mode=0o700)
        except FileExistsError:
            self._write(entries)
            raise

    def complete(self, copy: Copy) -> None:
        """Note that a copy is whole."""
        self._write(self._read() | {copy.folder: {"whole": True, "copy": copy.describe()}})

    def sweep(self) -> None:
        """Remove all copies that nobody holds."""
        entries = self._read()
        left = {name: entry for name, entry in entries.items() if not self._removed(name, entry)}
        if not left:
            self._file.unlink(missing_ok=True)
            self._new.unlink(missing_ok=True)
        elif left != entries:
            self._write(left)

    def _removed(self, name: str, entry: dict) -> bool:
        """Remove a copy, unless somebody holds it."""
        place = self.folder / name
        with leases.alone(place / LEASE) as unused:
            if unused:
                Copy.from_json(entry["copy"]).remove_from(place)
                (place / LEASE).unlink(missing_ok=True)
        if unused:
            with suppress(OSError):  # not there, or somebody has put something into it, which stays
                place.rmdir()
        return unused

    def _read(self) -> dict[str, dict]:
        try:
            if self._file.lstat().st_uid != os.getuid():  # it could name any file for us to remove
                raise PermissionError(f"{self._file} is ours by its name, but belongs to somebody else")
            return json.loads(self._file.read_text())
        except FileNotFoundError:
            return {}

    def _write(self, entries: dict[str, dict]) -> None:
        self._new.unlink(missing_ok=True)
        with self._new.open("x") as file:  # never what somebody else has put there
            json.dump(entries, file, indent=1)
        self._new.replace(self._file)


def _make(folder: Path) -> None:
    """Make a folder and its parents, for the user alone, each with a file that says that it is ours."""
    if folder.is_dir():
        return
    if not folder.parent.is_dir():
        _make(folder.parent)
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
        (folder / MADE).write_text("made by salt, which removes this folder when it is empty\n")


def _unmake(folder: Path) -> None:
    """Remove a folder, and its parents, as long as they are ours and hold nothing."""
    while not folder.is_dir():
        folder = folder.parent
    marker = folder / MADE
    with suppress(FileNotFoundError):  # another process does the same
        if marker.is_file() and list(folder.iterdir()) == [marker]:
            marker.unlink()
            try:
                folder.rmdir()
            except OSError:  # another process has just begun to use it
                marker.touch()
                return
            _unmake(folder.parent)
