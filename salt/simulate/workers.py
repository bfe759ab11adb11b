"""Worker processes that run tasks and hand back their results in order.

A worker dies with its parent, however that ends, and ignores Ctrl-C, which the parent answers for all.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any, cast

PR_SET_PDEATHSIG = 1  # linux/prctl.h
Task = tuple[Callable[..., Any], tuple[Any, ...]]


def die_with(parent: int) -> None:
    """Have Linux end this process when its parent ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before we asked
        sys.exit(1)


def serve(pipe: Connection, parent: int) -> None:
    """Run tasks from a pipe until it closes."""
    die_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # also where it was not inherited
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # C++ libraries print banners
    while True:
        try:
            function, arguments = pipe.recv()
        except EOFError:
            return
        try:
            answer = (True, function(*arguments))
        except Exception:
            answer = (False, traceback.format_exc())
        pipe.send(answer)


@contextlib.contextmanager
def interrupts_ignored() -> Iterator[None]:
    """Ignore Ctrl-C while processes start, for they inherit that: an import of theirs is not interrupted either."""
    if threading.current_thread() is not threading.main_thread():  # only the main one may ask
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class Workers:
    """Processes that share a sequence of tasks.

    Parameters
    ----------
    number : int
        How many processes.
    """

    def __init__(self, number: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._processes: dict[Connection, BaseProcess] = {}
        with interrupts_ignored():
            for _ in range(number):
                ours, theirs = context.Pipe()
                process = context.Process(target=serve, args=(theirs, os.getpid()), daemon=True)
                process.start()
                theirs.close()
                self._processes[ours] = process

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pipe, process in self._processes.items():
            process.kill()
            process.join()
            process.close()
            pipe.close()

    def run(self, tasks: Iterable[Task]) -> Iterator[Any]:
        """Results of the tasks, in the order of the tasks; no task starts that nobody asked for.

        Parameters
        ----------
        tasks : Iterable[Task]
            Pairs of an importable function and its arguments; may be endless.
        """
        numbered = enumerate(tasks)
        running: dict[Connection, int] = {}
        done: dict[int, Any] = {}
        following = 0
        idle = list(self._processes)
        while True:
            while idle and (task := next(numbered, None)) is not None:
                pipe = idle.pop()
                running[pipe] = task[0]
                pipe.send(task[1])
            while following in done:
                yield done.pop(following)
                following += 1
            if not running:
                return
            for ready in multiprocessing.connection.wait(list(running)):
                pipe = cast(Connection, ready)
                done[running.pop(pipe)] = self._receive(pipe)
                idle.append(pipe)

    def _receive(self, pipe: Connection) -> Any:
        try:
            succeeded, answer = pipe.recv()
        except (EOFError, ConnectionResetError):
            process = self._processes[pipe]
            process.join()
            raise RuntimeError(
                f"a worker ended with exit code {process.exitcode}, perhaps for lack of memory: "
                "run the same command again with fewer --workers, and it goes on from where it was"
            ) from None
        if not succeeded:
            raise RuntimeError(f"a worker failed:\n{answer}")
        return answer
