"""RunState: how a run goes, and how it ended: state.yaml in its directory."""

from __future__ import annotations

import math
import os
import signal
from datetime import datetime
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from salt.callbacks.processes import Process
from salt.callbacks.run_text import read_yaml, write_yaml
from salt.callbacks.secrets import hidden, secrets_of_environment
from salt.training.company import COMPANY
from salt.training.run_files import joined

NAME = "state.yaml"

LONGEST = 500
"""Characters of a reason that are kept."""


def now() -> str:
    """The time, as records have it."""
    return datetime.now().astimezone().isoformat(timespec="seconds")


def begin(run: str | Path, epoch: int = 0, epochs: int | None = None) -> None:
    """Write that a run is running, by this process.

    Parameters
    ----------
    run : str | Path
        Its directory, which may be on a server.
    epoch : int
        Epochs that are done.
    epochs : int | None
        Epochs that are wanted; None where only steps or hours are.
    """
    before = read_yaml(joined(run, NAME))
    process = Process.this()
    content = {
        "state": "running",
        "host": process.host,
        "pid": process.pid,
        "started": before.get("started") or now(),
        "ended": None,
        "reason": None,
        "epoch": epoch,
        "epochs": epochs,
        "slurm_job_id": os.environ.get("SLURM_JOB_ID"),
        "boot_id": process.boot_id,
        "pid_namespace": process.pid_namespace,
        "process_started": process.process_started,
    }
    resumed = {"resumed": now(), "best": before.get("best"), "metrics": before.get("metrics")} if before else {}
    write_yaml(joined(run, NAME), {**content, **resumed})


def update(run: str | Path, **changes: Any) -> None:
    """Change a state that this process has begun; another's, or none, stays as it is."""
    content = read_yaml(joined(run, NAME))
    if content and Process.of(content) == Process.this():
        write_yaml(joined(run, NAME), {**content, **changes})


class RunState(Callback):
    """Keep the state of a run: running, finished, interrupted or failed, and why; its epochs and its metrics.

    Only the first rank writes, and only into the directory of a run that has been begun.
    """

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write what the newest validation gave."""
        if trainer.is_global_zero:
            metrics = {name: float(value) for name, value in trainer.callback_metrics.items() if value.numel() == 1}
            validated = {name: value for name, value in sorted(metrics.items()) if name.startswith("val/")}
            epoch = trainer.current_epoch + 1
            run = trainer.default_root_dir
            best = _best(trainer, metrics, epoch - 1, read_yaml(joined(run, NAME)).get("best"))
            update(run, epoch=epoch, best=best, metrics=validated)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write that all went well."""
        if trainer.is_global_zero:
            update(trainer.default_root_dir, state="finished", ended=now())

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Write what ended the run."""
        if trainer.is_global_zero:
            loss = COMPANY.loss_behind(exception)
            state, reason = ended_by(exception) if loss is None else ("failed", str(loss))
            reason = hidden(reason, secrets_of_environment())
            update(trainer.default_root_dir, state=state, ended=now(), reason=reason)


def ended_by(exception: BaseException) -> tuple[str, str]:
    """What an exception made of a run, interrupted or failed, and why in one line."""
    said = " ".join(str(exception).split())
    if isinstance(exception, KeyboardInterrupt):
        return "interrupted", "SIGINT"
    if isinstance(exception, SystemExit):
        code = exception.code if isinstance(exception.code, int) else 0
        known = {number.value for number in signal.Signals}
        name = signal.Signals(code - 128).name if code - 128 in known else said or "told to end"
        return "interrupted", f"{name} (exit code {code})" if code else name
    return "failed", f"{type(exception).__name__}: {said}"[:LONGEST]


def _best(trainer: Trainer, metrics: dict[str, float], epoch: int, before: Any) -> dict[str, Any] | None:
    """The best value so far of what the first checkpoint callback looks at, and its epoch."""
    monitored = [each for each in trainer.checkpoint_callbacks if isinstance(each, ModelCheckpoint) and each.monitor]
    if not monitored:
        return before if isinstance(before, dict) else None
    name, mode = str(monitored[0].monitor), monitored[0].mode
    value = metrics.get(name, math.nan)
    known = before if isinstance(before, dict) and before.get("name") == name else None
    if math.isnan(value):
        return known
    is_better = known is None or (value < known["value"] if mode == "min" else value > known["value"])
    return {"name": name, "value": value, "mode": mode, "epoch": epoch} if is_better else known
