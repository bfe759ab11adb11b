"""Progress in jets: a bar on a terminal, a line for each tenth elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from types import TracebackType

from tqdm import tqdm

log = logging.getLogger(__name__)
TENTHS = 10


class Progress:
    """How many jets are done.

    Parameters
    ----------
    total : int
        Jets in the end.
    """

    def __init__(self, total: int) -> None:
        on_terminal = sys.stderr.isatty()
        self._bar = tqdm(total=total, unit="jet", unit_scale=True, disable=not on_terminal, desc="simulating")
        self._speaks = not on_terminal
        self._total, self._done, self._began = total, 0, time.monotonic()

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()

    def reach(self, done: int) -> None:
        """Say that this many jets are done."""
        self._bar.update(done - self._done)
        if self._speaks and done * TENTHS // self._total > self._done * TENTHS // self._total:
            log.info("%d of %d jets after %.0f s", done, self._total, time.monotonic() - self._began)
        self._done = done
