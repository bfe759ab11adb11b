"""What a command line of `fit` comes to, without a training: `python -m salt.cli.probe OBJECTIVE ARGUMENTS`, as JSON.

`salt sweep` asks so before its first trial: it has no torch, and what is wrong is found here, by the checks of `fit`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from salt.cli.lightning import SaltCLI, main
from salt.cli.main import guard, speak
from salt.training.metrics import direction

DEFAULT = "val/loss"
"""The objective of a run that monitors nothing."""


class Probe(SaltCLI):
    """Completes and checks its config, and builds nothing.

    Parameters
    ----------
    objective : str
        The metric that is to be looked at; empty: the one that is monitored.
    others
        As `SaltCLI` has them.
    """

    def __init__(self, objective: str, *others: Any) -> None:
        self._objective = objective
        super().__init__(*others)

    def instantiate_classes(self) -> None:
        """Write what was found, to stdout."""
        config = self.config[self._verb]
        objective = self._objective or monitored(config)
        found = {
            "name": config.name,
            "logs": str(Path(config.trainer.default_root_dir).parent),
            "objective": objective,
            "direction": direction(objective),
            "fold": config.data.fold,
            "num_nodes": config.trainer.num_nodes,
        }
        sys.stdout.write(json.dumps(found) + "\n")

    def _run_subcommand(self, subcommand: str) -> None:
        """There is nothing to run."""


def monitored(config: Namespace) -> str:
    """The metric by which a run tells its best checkpoint."""
    for callback in config.trainer.callbacks or []:
        arguments = callback.get("init_args") or Namespace()
        if callback.class_path.endswith("Checkpoint"):
            return str(arguments.get("monitor_loss") or arguments.get("monitor") or DEFAULT)
    return DEFAULT


def probe(arguments: Sequence[str]) -> int:
    """Look for an objective (empty: the monitored metric), and what else `salt sweep` wants to know."""
    return main(["fit", *arguments[1:]], partial(Probe, arguments[0]))


if __name__ == "__main__":
    speak()
    sys.exit(guard(lambda: probe(sys.argv[1:])))
