"""The curve of a run: what CSVLogger has written to metrics.csv, continued by who resumes, and never lost."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter

from salt.training.run_files import exists, open_run_file, write_whole

Row = dict[str, str]
"""Column -> what stands there."""


class CurveWriter(ExperimentWriter):
    """Writes metrics.csv as CSVLogger's own writer does, but keeps what is there, and never has half of it there.

    Parameters
    ----------
    log_dir : str
        Folder of the file, or URL.
    num_steps : int
        Rows of this step and later ones are cut: they will be written again.
    """

    def __init__(self, log_dir: str, num_steps: int) -> None:
        super().__init__(log_dir)
        header, rows = _read(self.metrics_file_path) if exists(self.metrics_file_path) else ([], [])
        self.metrics_keys = sorted(header)
        kept = [row for row in rows if int(row["step"]) < num_steps]
        if header:
            self._write(self.metrics_keys, kept)

    def _check_log_dir_exists(self) -> None:
        """Lightning's writer would remove the file."""

    def _rewrite_with_new_header(self, fieldnames: list[str]) -> None:
        """Write the file anew, whole, with other columns."""
        self._write(fieldnames, _read(self.metrics_file_path)[1])

    def _write(self, header: Sequence[str], rows: Sequence[Row]) -> None:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, fieldnames=header, restval="")
        writer.writeheader()
        writer.writerows(rows)
        write_whole(self.metrics_file_path, lambda file: file.write(text.getvalue().encode()))


def continue_curve(logger: CSVLogger, num_steps: int) -> None:
    """Have a logger continue the curve that its folder holds, from this step on; 0: begin a new one."""
    logger._experiment = CurveWriter(str(logger.log_dir), num_steps)


def _read(path: str | Path) -> tuple[list[str], list[Row]]:
    """Columns and whole rows of a curve; a last row that a killed run has left unfinished is none."""
    with open_run_file(path, "rb") as file:
        text = file.read().decode(errors="replace")
    lines = text[: text.rfind("\n") + 1]
    reader = csv.DictReader(io.StringIO(lines, newline=""))
    rows = [row for row in reader if (row.get("step") or "").isdigit()]
    return list(reader.fieldnames or ()), rows
