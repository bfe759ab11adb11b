"""Plugins of the trainer: those of the config, and ours where it names none of their kind."""

from __future__ import annotations

from typing import Any

from lightning.fabric.plugins import CheckpointIO
from lightning.fabric.plugins.environments import ClusterEnvironment, SLURMEnvironment, TorchElasticEnvironment

from salt.training.checkpoint_io import WholeCheckpointIO


def completed(plugins: Any) -> list[Any]:
    """All of them: checkpoints are written whole, and signals of Slurm are answered by us.

    Lightning's own answer to SIGUSR1 saves inside the signal handler, where ranks wait for each other for ever, and
    leaves an hpc_ckpt_1.ckpt that any later job resumes.

    Parameters
    ----------
    plugins : Any
        What the config says: one, several or None.
    """
    chosen = list(plugins) if isinstance(plugins, list) else [plugins] if plugins else []
    if not any(isinstance(plugin, CheckpointIO) for plugin in chosen):
        chosen.append(WholeCheckpointIO())
    if not any(isinstance(plugin, ClusterEnvironment) for plugin in chosen) and _is_slurm():
        chosen.append(SLURMEnvironment(auto_requeue=False))
    return chosen


def _is_slurm() -> bool:
    """Whether Lightning would say so: torchrun counts more."""
    return SLURMEnvironment.detect() and not TorchElasticEnvironment.detect()
