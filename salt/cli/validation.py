"""`salt validate`: what a checkpoint gives on the validation jets, as a table."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from lightning import Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_only


@rank_zero_only
def write_table(trainer: Trainer, results: Sequence[Mapping[str, float]]) -> None:
    """Write which checkpoint was validated, and each metric, to stdout.

    Parameters
    ----------
    trainer : Trainer
        Has validated.
    results : Sequence[Mapping[str, float]]
        What was logged, of each loader.
    """
    metrics = {name: value for each in results for name, value in each.items()}
    width = max((len(name) for name in metrics), default=0)
    lines = [f"{name:<{width}}  {value:.6g}" for name, value in sorted(metrics.items())]
    sys.stdout.write("\n".join([f"checkpoint: {trainer.ckpt_path}", *lines, ""]))
