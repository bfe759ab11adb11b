"""Processes: which one a run belongs to, and whether that one can be proven to have ended."""

from __future__ import annotations

import errno
import fcntl
import os
import platform
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from salt.data.leases import NO_FLOCK

PROC = Path("/proc")

NO_LOCKS = NO_FLOCK | {errno.EBADF, errno.EINVAL}
"""What file systems answer that cannot lock a folder; NFS wants a file that is open for writing."""


@dataclass(frozen=True)
class Process:
    """A process as others can find it again; what the system does not tell is empty.

    Parameters
    ----------
    host : str
        Its machine.
    pid : int
        Its number there.
    boot_id : str
        What the machine calls the time since it was started: numbers of before mean nothing after.
    pid_namespace : str
        Where the number counts: containers have numbers of their own.
    process_started : int
        When it began, in ticks since the machine was started: numbers are given again.
    """

    host: str
    pid: int
    boot_id: str = ""
    pid_namespace: str = ""
    process_started: int = 0

    @classmethod
    def this(cls) -> Self:
        """The process that asks."""
        pid = os.getpid()
        return cls(platform.node(), pid, _boot_id(), _namespace(), _started(pid) or 0)

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Self | None:
        """The process that a record names; None where it names none."""
        if not isinstance(record.get("pid"), int):
            return None
        known = {name: record[name] for name in cls.__dataclass_fields__ if record.get(name) is not None}
        return cls(**{"host": "", **known})

    def has_ended(self) -> bool | None:
        """Whether it has; None where that cannot be known from here."""
        here = self.this()
        if self.host != here.host:
            return None
        if self.boot_id and here.boot_id and self.boot_id != here.boot_id:
            return True
        if self.pid_namespace != here.pid_namespace:
            return None
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:  # somebody else's
            pass
        began = _started(self.pid)
        if began is None:
            return (PROC / "self").exists()  # it ended while we looked, or it is a zombie: nothing is done any more
        return bool(self.process_started) and began != self.process_started


def hold(folder: Path) -> Callable[[], None] | None:
    """Hold a folder for as long as this process lives; None where the file system has no such locks.

    Returns
    -------
    Callable[[], None] | None
        What lets go.

    Raises
    ------
    BlockingIOError
        Another process holds it.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise
    except OSError as error:
        os.close(descriptor)
        if error.errno in NO_LOCKS:
            return None
        raise
    process = os.getpid()

    def let_go() -> None:
        with suppress(OSError):
            if os.getpid() == process:
                fcntl.flock(descriptor, fcntl.LOCK_UN)  # forked workers have it open, too
            os.close(descriptor)

    return let_go


def is_held(folder: Path) -> bool | None:
    """Whether a process holds a folder; None where that cannot be known."""
    try:
        let_go = hold(folder)
    except BlockingIOError:
        return True
    except OSError:
        return None
    if let_go is None:
        return None
    let_go()
    return False


def _boot_id() -> str:
    return _read(PROC / "sys/kernel/random/boot_id")


def _namespace() -> str:
    try:
        return str((PROC / "self/ns/pid").readlink())
    except OSError:
        return ""


def _started(pid: int) -> int | None:
    """When a process began [ticks since the machine was started]; None for one that has ended."""
    fields = _read(PROC / str(pid) / "stat").rpartition(")")[2].split()
    return int(fields[19]) if len(fields) > 19 and fields[0] != "Z" else None


def _read(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""
