"""Staging: copies of files in a fast place, shared by the processes of a machine, and removed after the last of them.

A process lets go of its copies with `release`, at the end of the program at the latest, and those that nobody holds are
removed. After a SIGKILL, or a SIGTERM that nobody handles (see salt.data.death), whoever stages next does that.
"""

from __future__ import annotations

import logging
import sys
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from salt.data.copies import Copy
from salt.data.death import ended_by_signals
from salt.data.leases import Share
from salt.data.ledger import Ledger
from salt.data.space import in_words, require_space

info = logging.getLogger(__name__).info


class Staging:
    """Copies of files and folders; to be kept for as long as they are used.

    Parameters
    ----------
    folder : str | Path
        Where copies go; made, and in the end removed, where it is not there.
    key : str
        YAML key that asks for it, for messages.
    """

    def __init__(self, folder: str | Path, key: str = "data.move_files_temp") -> None:
        self.folder = Path(folder).expanduser().resolve()
        self.key = key
        self._ledger = Ledger(self.folder)
        self._shares: list[Share] = []
        weakref.finalize(self, _release, self._ledger, self._shares)

    def stage(self, paths: Sequence[Path]) -> dict[Path, Path]:
        """Copy files, or folders whole, unless another process of this machine has; all or none.

        Parameters
        ----------
        paths : Sequence[Path]
            What is to be copied.

        Returns
        -------
        dict[Path, Path]
            Each path -> its copy, of the same name, which is not to be written to.
        """
        copies = {path: Copy.of(path, self.key) for path in paths}
        for path, copy in copies.items():
            if self.folder.is_relative_to(copy.source):
                where = f"{self.folder} lies in {path}, which is to be copied"
                raise ValueError(f"{self.key}: {where}; choose another folder")
        with self._explained(), ended_by_signals(), self._ledger.opened():
            try:
                self._hold({copy.folder: copy for copy in copies.values()}.values())
            except BaseException:  # before the ledger is closed, which removes what nobody holds
                _let_go(self._shares)
                raise
        return {path: self.folder / copy.folder / copy.name for path, copy in copies.items()}

    def release(self) -> None:
        """Let go of all copies, and remove those that nobody uses, leftovers of killed processes included."""
        _release(self._ledger, self._shares)

    def _hold(self, copies: Iterable[Copy]) -> None:
        """Hold these copies, after making those that are not there."""
        missing = []
        for copy in copies:
            if self._ledger.has(copy):
                self._shares.append(self._ledger.share(copy))
            else:
                missing.append(copy)
        self._ledger.sweep()
        if not missing:
            return
        size = sum(copy.num_bytes for copy in missing)
        what = ", ".join(copy.source for copy in missing)
        require_space(self.folder, size, f"a copy of {what}", self.key)
        with _progress(size, f"copying {what}, {in_words(size)}, to {self.folder}") as copied:
            for copy in missing:
                self._ledger.begin(copy)
                self._shares.append(self._ledger.share(copy))
                copy.write(self.folder / copy.folder, self.key, copied)
                self._ledger.complete(copy)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Say which key asks for what the system refuses."""
        try:
            yield
        except OSError as error:
            if self.key in str(error):
                raise
            where = f" ({error.filename})" if error.filename else ""
            reason = f"{error.strerror or error}{where}"
            raise OSError(f"{self.key}: cannot copy to {self.folder}: {reason}; choose another folder") from error


def _let_go(shares: list[Share]) -> None:
    while shares:
        shares.pop().release()


def _release(ledger: Ledger, shares: list[Share]) -> None:
    """Let go and tidy up, where there is something to let go; what a forked child has here, its parent still holds."""
    if shares:
        _let_go(shares)
        ledger.close()


@contextmanager
def _progress(size: int, what: str) -> Iterator[Callable[[int], object]]:
    """A bar on a terminal, a line elsewhere; takes numbers of bytes."""
    on_terminal = sys.stderr.isatty()
    if not on_terminal:
        info(what)
    with tqdm(total=size, unit="B", unit_scale=True, desc="copying", disable=not on_terminal) as bar:
        yield bar.update
