"""How processes end: workers with their parent, and a run that is told to end as by an error, so that it tidies up.

A SIGTERM that nobody answers ends Python at once: no `finally`, no `atexit`.
"""

from __future__ import annotations

import ctypes
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

warn = logging.getLogger(__name__).warning

PR_SET_PDEATHSIG = 1  # linux/prctl.h
PAUSE = 0.1
"""Seconds between two looks for the parent, where the kernel does not tell, and between two signals."""

INTERRUPTED = 128 + signal.SIGINT
TERMINATED = 128 + signal.SIGTERM
"""Exit codes that shells and batch systems know."""

TO_BE_CONTINUED = 75
"""Exit code after a batch system's warning: EX_TEMPFAIL of sysexits.h, try again later."""

EXIT_CODES = {
    signal.SIGINT: INTERRUPTED,
    signal.SIGTERM: TERMINATED,
    signal.SIGUSR1: TO_BE_CONTINUED,
    signal.SIGUSR2: TO_BE_CONTINUED,
}
"""Signals that a run answers -> exit code; of two on different ranks the larger number counts."""

SIGNALS: dict[type[BaseException], signal.Signals] = {SystemExit: signal.SIGTERM, KeyboardInterrupt: signal.SIGINT}
"""What is raised by which signal."""


def die_with_parent(parent: int) -> None:
    """Have this process end when its parent does, however that ends; called first thing in a worker.

    Ctrl-C, which a terminal sends to workers too, is left to the parent, and so are the warnings of batch systems
    (SIGUSR1, SIGUSR2) and their SIGTERM: the parent still has a step to end and a checkpoint to save, for which it
    wants its workers. A SIGTERM of the parent's ends a worker without further ado; where the system does not tell from
    whom it came, any does.

    On Linux the kernel sees to it, at once, even where the worker is busy: SIGKILL, when the *thread* ends that started
    the worker, so start workers from one that lives as long as they may. Elsewhere, and for the children of a fork
    server, a thread looks for the parent.

    Parameters
    ----------
    parent : int
        Process id of who wants the worker, as that knew it.
    """
    for number in (signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # what forking has brought here is the parent's answer
    if sys.platform == "linux":
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # the threads of later inherit this
        threading.Thread(target=_end_when_told, args=(parent,), name="salt-parent-word", daemon=True).start()
    is_child = os.getppid() == parent
    if not is_child and multiprocessing.parent_process() is None:
        os._exit(1)  # the parent ended before we asked
    if is_child and sys.platform == "linux":
        if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
        if os.getppid() != parent:
            os._exit(1)
    else:
        watch = _watch_child if is_child else _watch_served
        threading.Thread(target=watch, args=(parent,), name="salt-parent-watch", daemon=True).start()


def _end_when_told(parent: int) -> None:
    """End this process when its parent says so; who else sends a SIGTERM to a worker sends it to the parent, too."""
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)  # or torch would take it for a worker that was killed


def _watch_child(parent: int) -> None:
    """End this process soon after its parent."""
    while os.getppid() == parent:
        time.sleep(PAUSE)
    os._exit(1)


def _watch_served(_: int) -> None:
    """End this process, the child of a fork server, after who asked for it."""
    asked_by = multiprocessing.parent_process()
    assert asked_by is not None
    asked_by.join()
    os._exit(1)


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let SIGTERM end what is done here by SystemExit, as SIGINT does by KeyboardInterrupt, with a shell's exit codes.

    A handler of somebody else's stays in charge, here or later: Lightning's, while it trains, calls ours besides, lets
    the batch end, runs `on_exception` and leaves with code 0 for SIGTERM and 1 for SIGINT, which become 143 and 130.
    Not in the main thread, or where SIGTERM is ignored or handled already, there is nothing to do.
    """
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    received = False

    def end(number: int, frame: FrameType | None) -> None:
        nonlocal received
        received = True
        if signal.getsignal(signal.SIGTERM) is end:  # else who called us answers
            raise SystemExit(TERMINATED)

    signal.signal(signal.SIGTERM, end)
    try:
        with insisting(SIGNALS.get):
            yield
    except SystemExit as leave:
        if received:
            raise SystemExit(TERMINATED) from leave
        if isinstance(leave.__context__, KeyboardInterrupt):
            raise SystemExit(INTERRUPTED) from leave
        raise
    except Exception as error:
        if received:  # a worker that got it too, most likely
            warn("told to end (SIGTERM), and then: %s", error)
            raise SystemExit(TERMINATED) from error
        raise
    finally:
        if signal.getsignal(signal.SIGTERM) is end:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def insisting(signal_of: Callable[[type[BaseException]], signal.Signals | None]) -> Iterator[None]:
    """Send a signal again whose exception was lost: Python ignores what is raised while it collects an object.

    Parameters
    ----------
    signal_of : Callable[[type[BaseException]], signal.Signals | None]
        Which signal has raised this; None: no signal has.
    """
    before = sys.unraisablehook

    def insist(lost: sys.UnraisableHookArgs) -> None:
        number = signal_of(lost.exc_type)
        if number is None:
            before(lost)
            return
        again = threading.Timer(PAUSE, os.kill, (os.getpid(), number))  # not before this has ended
        again.daemon = True
        again.start()

    sys.unraisablehook = insist
    try:
        yield
    finally:
        sys.unraisablehook = before


def told_by_death_of(parent: int) -> None:
    """Have SIGTERM come to this process when its parent ends, however that ends, where the system does so (Linux).

    Unlike a worker such a process answers signals itself, and may have something to tidy up.

    Parameters
    ----------
    parent : int
        Process id of the parent, as that knew it; if it is no more, this process ends now.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        raise SystemExit(TERMINATED)
