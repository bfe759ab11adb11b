"""A tested sweep: the evaluation file of its ensemble, and those of its members."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from salt.report.evaluation import open_file
from salt.report.run import InputError, Run, Series, read_run

PLAN = "sweep.yaml"
"""What makes a folder that of a sweep."""

ENSEMBLE, MEMBERS = "ensemble", "members"
"""Attributes of the ensemble's file: how it was made, and of which evaluation files."""

METHODS = {"mean": "mean of their probabilities", "out-of-fold": "each jet by the one that left it out of its training"}


@dataclass(frozen=True, slots=True)
class Sweep:
    """Several trainings of one model, tested together.

    Parameters
    ----------
    run
        The sweep as if it were a run: with the config of the first member, and no losses.
    file
        Evaluation file of the ensemble.
    method
        A key of ``METHODS``.
    members
        Evaluation files of the members.
    losses
        Validation loss of each member that has logged one.
    """

    run: Run
    file: Path
    method: str
    members: list[Path]
    losses: list[Series]

    @property
    def is_paired(self) -> bool:
        """Whether all members have scores of the same jets."""
        return self.method == "mean"

    @property
    def name(self) -> str:
        """What to call the ensemble."""
        return f"{self.run.name} {'ensemble' if self.is_paired else 'out of fold'}"


def is_sweep(directory: Path) -> bool:
    """Whether a directory is that of a sweep."""
    return (directory / PLAN).is_file()


def read_sweep(directory: Path, file: Path | None = None) -> Sweep:
    """Read what ``salt test`` wrote of a sweep; the newest ensemble where no file is named."""
    file = file or _newest(directory)
    with open_file(file) as handle:
        if not {ENSEMBLE, MEMBERS} <= set(handle.attrs) or handle.attrs[ENSEMBLE] not in METHODS:
            raise InputError(
                f"{file} is not the evaluation file of an ensemble: name one that `salt test {directory}` has written"
            )
        method = str(handle.attrs[ENSEMBLE])
        members = [file.parent / str(name) for name in np.atleast_1d(handle.attrs[MEMBERS])]
    for member in members:
        if not member.is_file():
            raise InputError(f"the ensemble has a member whose {member} is gone: run `salt test {directory}` again")
    runs = [read_run(member.parent.parent) for member in members]
    losses = [run.record["val/loss"] for run in runs if "val/loss" in run.record]
    return Sweep(replace(runs[0], directory=directory, record={}), file, method, members, losses)


def _newest(directory: Path) -> Path:
    """Newest evaluation file of an ensemble."""
    files = sorted(directory.glob("ensemble__test_*.h5"), key=lambda file: (file.stat().st_mtime, file.name))
    if not files:
        raise InputError(
            f"no evaluation file matches {directory}/ensemble__test_*.h5: run `salt test {directory}` first, "
            "or report one member by its run directory"
        )
    return files[-1]
