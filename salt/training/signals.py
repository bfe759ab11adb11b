"""Signals, one door: a signal sets a flag, ranks agree at a batch boundary, then the run saves and stops.

Before there is something to save, and after it, a signal ends the run at once, as an error would, so that it tidies up.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import torch
import torch.distributed as dist

from salt.data.death import EXIT_CODES, insisting

info = logging.getLogger(__name__).info
warn = logging.getLogger(__name__).warning

DEFAULTS = {signal.SIG_DFL, signal.default_int_handler}


class Stop(SystemExit):
    """Ends a run that was told to end.

    Parameters
    ----------
    number : int
        The signal.
    """

    def __init__(self, number: int) -> None:
        self.number = signal.Signals(number)
        super().__init__(EXIT_CODES[self.number])

    def __str__(self) -> str:
        return f"stopped by {self.number.name}"


class Door:
    """Where signals come in, for a whole process.

    `received` is the first signal that came, 0 for none. While somebody looks for it, a signal only sets it; else it
    raises `Stop` where it finds the program. Further signals mean nothing: batch systems send several. But a second
    SIGINT is a person who insists, and raises at once.
    """

    def __init__(self) -> None:
        self.received = 0
        self._looked_at = False
        self._installed: list[signal.Signals] = []

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Answer signals, those which nobody answers yet; not in the main thread, there is nothing to do."""
        self.received, self._looked_at = 0, False
        before = {}
        if threading.current_thread() is threading.main_thread():
            before = {number: signal.getsignal(number) for number in EXIT_CODES}
            self._installed = [number for number, handler in before.items() if handler in DEFAULTS]
        self._install()
        try:
            with insisting(self._signal_of):
                yield
        except Stop:
            raise
        except Exception as error:
            if self.received:  # of something that was told to end, too, most likely
                warn("told to end (%s), and then: %s", signal.Signals(self.received).name, error)
                raise Stop(self.received) from error
            raise
        finally:
            for number in self._installed:
                signal.signal(number, before[number])
            self._installed = []

    def look(self) -> None:
        """From now on somebody looks for what was received."""
        self._looked_at = True
        self.take_back()

    def take_back(self) -> None:
        """Replace whatever handlers came since."""
        self._install()

    def look_away(self) -> None:
        """From now on nobody looks."""
        self._looked_at = False

    def _install(self) -> None:
        for number in self._installed:
            signal.signal(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        is_first = self.received == 0
        insists = number == self.received == signal.SIGINT
        self.received = self.received or number
        if insists or (is_first and not self._looked_at):
            raise Stop(number)

    def _signal_of(self, kind: type[BaseException]) -> signal.Signals | None:
        """The signal that raised a `Stop` which was lost; it is as if it had not come yet."""
        if kind is not Stop:
            return None
        number, self.received = signal.Signals(self.received), 0
        return number


DOOR = Door()
"""A process has one set of signal handlers, and so one door."""


class Agreement:
    """The highest of the numbers that the ranks bring to a batch boundary, known to all of them at the next.

    One boundary late, so that no rank waits for another: the exchange runs beside the next step, in a group of its own
    on the CPU, which the collectives of that step do not meet. A single process knows at once.
    """

    def __init__(self) -> None:
        self._group: dist.ProcessGroup | None = None
        self._work: dist.Work | None = None
        self._number = torch.zeros(1, dtype=torch.int64)

    def highest(self, number: int) -> int:
        """The highest number of the boundary before, in goes that of this one; all ranks have to come."""
        if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
            return number
        if self._group is None:
            self._group = dist.new_group(backend="gloo")
        before = self.end()
        if before == 0:
            self._number.fill_(number)
            self._work = dist.all_reduce(self._number, dist.ReduceOp.MAX, group=self._group, async_op=True)
        return before

    def end(self) -> int:
        """Wait for the exchange that is under way; its highest number, 0 where there is none."""
        if self._work is None:
            return 0
        self._work.wait()
        self._work = None
        return int(self._number)
