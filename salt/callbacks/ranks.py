"""Ranks: has the ranks of a run notice when one of them is no more."""

from __future__ import annotations

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import ParallelStrategy
from lightning.pytorch.strategies.launchers.subprocess_script import _SubprocessScriptLauncher

from salt.training.company import COMPANY


class Ranks(Callback):
    """Bring the ranks together once they can talk to each other, and let go where one of them fails."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Meet the others."""
        strategy = trainer.strategy
        environment = strategy.cluster_environment if isinstance(strategy, ParallelStrategy) else None
        if trainer.world_size == 1 or environment is None:
            return
        launcher = strategy.launcher
        children = launcher.procs if isinstance(launcher, _SubprocessScriptLauncher) else []
        COMPANY.join(trainer.global_rank, trainer.world_size, environment.main_address, strategy.broadcast, children)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """From here on nobody has to tell this rank to end."""
        COMPANY.end()
