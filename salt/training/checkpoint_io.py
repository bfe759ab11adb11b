"""CheckpointIO: checkpoints are written whole or not at all, and read without executing anything."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import CheckpointIO

from salt.training import checkpoints
from salt.training.run_files import remove, write_whole

FULL = {errno.ENOSPC, errno.EDQUOT}
"""What file systems answer that have no room left."""


class WholeCheckpointIO(CheckpointIO):
    """Lightning's way to checkpoint files: under a temporary name, synced, renamed; on a server, one put."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Write a checkpoint; what was there under its name stays until this one is whole.

        Parameters
        ----------
        checkpoint : dict[str, Any]
            Tensors and plain values.
        path : str | Path
            Path or URL.
        storage_options : Any | None
            Not used.
        """
        try:
            write_whole(path, lambda file: torch.save(checkpoint, file))
        except (OSError, RuntimeError) as error:
            cause = _operating_system(error)
            if cause is None:
                raise
            run = str(Path(path).parent.parent) if "://" not in str(path) else str(path).rsplit("/", 2)[0]
            reason = "the disk is full" if cause.errno in FULL else cause.strerror or str(cause)
            raise OSError(
                f"{path} could not be written: {reason}; the checkpoints before it are as they were\n"
                f"  mend: make room, then go on from the newest of them: salt fit --resume {run}"
            ) from error

    def load_checkpoint(
        self, path: str | Path, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint on the CPU, tensors and plain values only; ValueError where it is damaged."""
        return checkpoints.read(path)

    def remove_checkpoint(self, path: str | Path) -> None:
        """Remove a checkpoint."""
        remove(path)


def _operating_system(error: BaseException | None) -> OSError | None:
    """What the operating system said: torch turns it into errors of its own."""
    while error is not None:
        if isinstance(error, OSError):
            return error
        error = error.__context__
    return None
