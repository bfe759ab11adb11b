"""FiniteCheck: stops a run whose losses or gradients are not finite, and says where that came from."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.plugins.precision import MixedPrecision
from torch import Tensor

from salt.training.diagnosis import Place, diagnose, save
from salt.training.module import SaltModule
from salt.types import Batch

logger = logging.getLogger(__name__)

FILE = "bad_batch.pt"
"""The batch that was not finite, in the run's directory."""


class Seen(NamedTuple):
    """A batch whose flag is on its way: its losses, the flag, and the event after which the flag can be read."""

    place: Place
    losses: dict[str, Tensor]
    good: Tensor
    copied: Any


class NotFiniteError(ValueError):
    """A loss, or the gradients, are not finite."""


class FiniteCheck(Callback):
    """Look at the losses and gradients of each step before the optimiser uses them; stop where they are not finite.

    On a GPU the look comes one step late, as waiting for the newest one would let the GPU idle; but a checkpoint is
    never saved before the step it holds was looked at. All ranks stop together. With a gradient scaler (16-mixed) only
    losses are looked at: the scaler itself skips steps that overflow.

    Parameters
    ----------
    late : bool | None
        Whether to look one step late; None: where the model is not on the CPU.
    """

    def __init__(self, late: bool | None = None) -> None:
        self.late = late
        self._place: Place | None = None
        self._seen: Seen | None = None

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        """Remember the batch."""
        self._place = Place(batch, batch_idx, trainer.current_epoch, "training")

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look, before the optimiser makes all weights useless."""
        if isinstance(pl_module, SaltModule) and self._place is not None:
            plugin = trainer.precision_plugin
            has_scaler = isinstance(plugin, MixedPrecision) and plugin.scaler is not None
            good = _all_finite(pl_module, with_gradients=not has_scaler)
            if trainer.world_size > 1:
                dist.all_reduce(good, op=dist.ReduceOp.MIN)
            self._look(trainer, pl_module, self._place, good)

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Remember the batch."""
        self._place = Place(batch, batch_idx, trainer.current_epoch, "validation")

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Look at the losses; ranks may have different numbers of batches here, and agree at the end."""
        if isinstance(pl_module, SaltModule) and self._place is not None and not self._is_bad(self._seen):
            good = _all_finite(pl_module, with_gradients=False)
            if trainer.world_size > 1:
                self._seen = self._sent(self._place, pl_module, good)
            else:
                self._look(trainer, pl_module, self._place, good)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Agree with the other ranks, before anything is logged or saved."""
        if isinstance(pl_module, SaltModule) and trainer.world_size > 1:
            good = torch.tensor(float(not self._is_bad(self._seen)), device=pl_module.device)
            dist.all_reduce(good, op=dist.ReduceOp.MIN)
            if not bool(good):
                assert self._place is not None
                self._stop(trainer, pl_module, self._seen or Seen(self._place, {}, good, None), is_late=False)
        self._settle(trainer, pl_module)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Look at the newest step: what it made of the weights must not become a checkpoint."""
        self._settle(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at the last step."""
        self._settle(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at the last step, and let the batch go."""
        self._settle(trainer, pl_module)
        self._place = None

    def _look(self, trainer: Trainer, pl_module: SaltModule, place: Place, good: Tensor) -> None:
        """Look at this step, or at the one before."""
        newest = self._sent(place, pl_module, good)
        is_late = self.late if self.late is not None else good.device.type != "cpu"
        if is_late:
            self._settle(trainer, pl_module)
            self._seen = newest
        elif self._is_bad(newest):
            self._stop(trainer, pl_module, newest, is_late=False)

    def _sent(self, place: Place, pl_module: SaltModule, good: Tensor) -> Seen:
        """Send the flag to the CPU, without waiting for it."""
        if good.device.type != "cuda":
            return Seen(place, pl_module.newest_losses, good, None)
        flag = torch.empty((), dtype=good.dtype, pin_memory=True)
        flag.copy_(good, non_blocking=True)
        event = torch.cuda.Event()
        event.record()
        return Seen(place, pl_module.newest_losses, flag, event)

    @staticmethod
    def _is_bad(seen: Seen | None) -> bool:
        if seen is None:
            return False
        if seen.copied is not None:
            seen.copied.synchronize()
        return not bool(seen.good)

    def _settle(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at what was sent."""
        seen, self._seen = self._seen, None
        if seen is not None and self._is_bad(seen) and isinstance(pl_module, SaltModule):
            self._stop(trainer, pl_module, seen, is_late=seen.place.stage == "training")

    def _stop(self, trainer: Trainer, pl_module: SaltModule, seen: Seen, is_late: bool) -> None:
        """Save the batch, and raise."""
        self._seen = self._place = None
        found = diagnose(pl_module, seen.place, seen.losses, is_late)
        if not (found.tasks or found.weights or found.gradients):
            raise NotFiniteError(
                f"stopped in {seen.place}: another rank found a loss that is not finite, and says which"
            )
        data = trainer.datamodule  # type: ignore[attr-defined]
        key = {"training": "train", "validation": "val"}[seen.place.stage]
        file = f"data.{key}_file {data.files[key]}" if data is not None else "the file"
        lines = list(found.lines(file))
        if not trainer.fast_dev_run:  # type: ignore[attr-defined]
            name = FILE if trainer.global_rank == 0 else f"rank{trainer.global_rank}_{FILE}"
            path = Path(trainer.default_root_dir) / name
            try:
                save(path, found, pl_module)
                lines.append(f"  saved: torch.load({str(path)!r}, weights_only=True) gives the batch and the weights")
            except OSError as error:
                lines.append(f"  not saved: {error}")
        lines.append(f"  mend: {found.mend()}")
        raise NotFiniteError("\n".join(lines))


def _all_finite(pl_module: SaltModule, with_gradients: bool) -> Tensor:
    """1 where the newest losses, and the gradients, are finite, else 0; on their device."""
    good = torch.stack([total.float() for total in pl_module.newest_losses.values()]).isfinite().all()
    gradients = [p.grad for p in pl_module.parameters() if p.grad is not None] if with_gradients else []
    if gradients:
        good = good & torch.nn.utils.get_total_norm(gradients).isfinite()
    return good.float()
