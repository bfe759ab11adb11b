"""Lock files between processes: held by one, or shared by several, until they let go or end, however that is.

The kernel holds the lock (`flock`), so that it vanishes with its process, SIGKILL included. A child that is forked has
the lock, too: it is held until the parent lets go, or until both have ended.

File systems without `flock` (Lustre where it is mounted so) get a claim instead: a file that only one process can make.
It names that process, so that the next one on the same machine takes a dead one's place; that of a dead process on
another machine has to be removed by hand, and the message says so. Sharing needs `flock`.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import platform
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

info = logging.getLogger(__name__).info

PAUSE = 0.05
"""Seconds between two looks at a lock that another process holds."""

SILENCE = 2.0
"""Seconds of waiting before a word about it."""

NO_FLOCK = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP}
"""What file systems answer that have no such locks."""

Unlock = Callable[[], None]


@contextmanager
def lock(path: Path, patience: float = float("inf")) -> Iterator[None]:
    """Hold a lock file alone; waits for whoever holds it. The file is made, and removed again.

    Parameters
    ----------
    path : Path
        The lock file, in a folder that is there.
    patience : float
        Seconds after which to give up, with a TimeoutError.
    """
    began, silent = time.monotonic(), True
    while (unlock := _take(path, fcntl.LOCK_EX)) is None:
        waited = time.monotonic() - began
        if waited > patience:
            raise TimeoutError(f"{path} is still held by {_holder(path)} after {waited:.0f} s")
        if silent and waited > SILENCE:
            silent = False
            info("waiting for %s, which holds %s", _holder(path), path)
        time.sleep(PAUSE)
    try:
        yield
    finally:
        with suppress(FileNotFoundError):  # before the lock goes: who waits for this file looks again
            path.unlink()
        unlock()


class Share:
    """One of several holders of a lock file, which stays where it is; `alone` waits for none of them.

    Parameters
    ----------
    path : Path
        The lock file, in a folder that is there.
    """

    def __init__(self, path: Path) -> None:
        while (unlock := _take(path, fcntl.LOCK_SH)) is None:
            time.sleep(PAUSE)
        self._finalizer = weakref.finalize(self, unlock)

    def release(self) -> None:
        """Let go."""
        self._finalizer()


@contextmanager
def alone(path: Path) -> Iterator[bool]:
    """Hold a lock file if nobody else does: whether that is so. A file that is not there is held by nobody."""
    unlock = _take(path, fcntl.LOCK_EX) if path.exists() else _nothing
    try:
        yield unlock is not None
    finally:
        if unlock is not None:
            unlock()


def _nothing() -> None:
    pass


def _take(path: Path, operation: int) -> Unlock | None:
    """Take a lock now; None where another process is in the way."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    taken: Unlock | None = None
    try:
        fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
        if _is_file(descriptor, path):  # not removed, or made anew, by a holder before us
            taken = _flocked(descriptor)
            if operation == fcntl.LOCK_EX:
                _sign(descriptor)
    except BlockingIOError:
        pass
    except OSError as error:
        if error.errno not in NO_FLOCK:
            raise
        if operation == fcntl.LOCK_SH:
            raise OSError(f"the file system of {path} has no locks (flock: {error.strerror})") from error
        return _claim(path)
    finally:
        if taken is None:
            os.close(descriptor)
    return taken


def _flocked(descriptor: int) -> Unlock:
    """What gives up a lock; in a child that was forked, it stays the parent's."""
    process = os.getpid()

    def unlock() -> None:
        if os.getpid() == process:
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # closing alone would leave it to children that have it open, too
        os.close(descriptor)

    return unlock


def _sign(descriptor: int) -> None:
    """Write who holds a lock file into it, for messages; on a full disk it stays empty."""
    with suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, _ourselves().encode(), 0)


def _is_file(descriptor: int, path: Path) -> bool:
    """Whether an open file is what is found under a path."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    return False


def _claim(path: Path) -> Unlock | None:
    """Take a lock by making a file, where there is no flock; None where a living process has made it."""
    claim = _claim_of(path)
    try:
        descriptor = os.open(claim, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        _remove_dead(claim)
        return None  # the next look will tell
    os.write(descriptor, _ourselves().encode())
    os.close(descriptor)
    return lambda: claim.unlink(missing_ok=True)


def _remove_dead(claim: Path) -> None:
    """Remove the claim of a process of this machine that is no more."""
    with suppress(FileNotFoundError):
        before, holder = claim.stat(), claim.read_text()
        number, _, machine = holder.removeprefix("process ").partition(" on ")
        if machine != platform.node() or not number.isdigit() or _lives(int(number)):
            return
        ours = claim.with_name(f"{claim.name}.{os.getpid()}")
        claim.rename(ours)
        if not os.path.samestat(before, ours.stat()):  # another was quicker, and this is its new claim
            with suppress(FileExistsError):
                os.link(ours, claim)
        ours.unlink()


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True


def _ourselves() -> str:
    return f"process {os.getpid()} on {platform.node()}"


def _claim_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.claim")


def _holder(path: Path) -> str:
    """Who wrote that it holds a lock file, as far as it is known."""
    with suppress(OSError, UnicodeDecodeError):
        return f"{_claim_of(path).read_text()} (if it is no more, remove {_claim_of(path)})"
    with suppress(OSError, UnicodeDecodeError):
        return path.read_text() or "another process"
    return "another process"
