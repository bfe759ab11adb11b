"""CSVLogger: metrics.csv, which a resumed run goes on with."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from typing import Any

from lightning.pytorch import loggers
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from lightning.pytorch.loggers.logger import rank_zero_experiment


class CSVLogger(loggers.CSVLogger):
    """Lightning's CSVLogger, but for a file that is there already: it is continued from the first step that is logged.

    Steps that are done again, because the checkpoint was older than the last line, take the place of their old lines.
    Lightning would remove the file.

    Parameters
    ----------
    save_dir : str
        Folder of the file.
    name : str | None
        A folder in it; empty: none.
    version : int | str | None
        A folder in that; empty: none. None: version_N, with the next N.
    prefix : str
        What to put in front of the metrics' names.
    flush_logs_every_n_steps : int
        How often the file is written.
    """

    def __init__(
        self,
        save_dir: str,
        name: str | None = "",
        version: int | str | None = "",
        prefix: str = "",
        flush_logs_every_n_steps: int = 100,
    ) -> None:
        super().__init__(save_dir, name, version, prefix, flush_logs_every_n_steps)

    @property
    @rank_zero_experiment
    def experiment(self) -> ExperimentWriter:
        """What writes the file."""
        if self._experiment is None:
            self._experiment = _Continued(self.log_dir)
        return self._experiment  # type: ignore[return-value]


class _Continued(ExperimentWriter):
    """A writer that goes on with the lines that are there."""

    def __init__(self, log_dir: str) -> None:
        super().__init__(log_dir)
        self._is_first = True

    def _check_log_dir_exists(self) -> None:
        """Leave what is there: Lightning removes it."""

    def log_metrics(self, metrics_dict: Mapping[str, Any], step: int | None = None) -> None:
        """Record; the first time, forget lines of this step and later ones."""
        if self._is_first and step is not None:
            self._forget_from(step)
        self._is_first = False
        super().log_metrics(dict(metrics_dict), step)

    def _forget_from(self, step: int) -> None:
        if not self._fs.isfile(self.metrics_file_path):
            return
        with self._fs.open(self.metrics_file_path, "r", newline="") as file:
            reader = csv.DictReader(file)
            lines = [line for line in reader if (line.get("step") or "").isdigit() and int(line["step"]) < step]
            self.metrics_keys = list(reader.fieldnames or [])
        temporary = f"{self.metrics_file_path}.part"
        with self._fs.open(temporary, "w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=self.metrics_keys, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(lines)
        self._fs.mv(temporary, self.metrics_file_path)
