"""The lock of a run: one process at a time writes into it. It goes with its process, and leaves no file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lightning.pytorch.utilities.rank_zero import rank_zero_only

from salt.callbacks.processes import hold
from salt.training.run_files import is_url


@contextmanager
def held(run: str) -> Iterator[None]:
    """Hold a run alone, by its folder, which is made; a ValueError where another process does.

    Only the first of several ranks holds it, and a run on a server, or on a file system without locks, nobody.

    Parameters
    ----------
    run : str
        The directory of the run.
    """
    if is_url(run) or getattr(rank_zero_only, "rank", 0) != 0:
        yield
        return
    Path(run).mkdir(parents=True, exist_ok=True)
    try:
        let_go = hold(Path(run))
    except BlockingIOError:
        raise ValueError(
            f"another process is training in {run}\n"
            "  mend: wait for it, or end it; a run of its own begins with salt fit --config"
        ) from None
    try:
        yield
    finally:
        if let_go is not None:
            let_go()
