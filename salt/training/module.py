"""What a training step is: losses of all ranks together, weighed, logged; and what a test step gives.

Shapes: B jets, T constituents.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

import lightning
import torch
import torch.distributed as dist
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from salt.data.dicts import read_norm_dict
from salt.models.saltmodel import SaltModel
from salt.nn.embedding import InputNorm
from salt.training.schedule import LRSConfig, one_cycle
from salt.types import Batch, Inputs, Preds

Losses = dict[str, tuple[Tensor, Tensor]]
"""Task -> sum of its losses, and what to divide it by."""


class SaltModule(lightning.LightningModule):
    """A model under training: normalisation, losses, optimiser and schedule.

    Parameters
    ----------
    model : SaltModel
        The model.
    lrs_config : LRSConfig | None
        The schedule of the learning rate; None: the default one.
    norm_dict : Path | None
        Mean and width of each input variable. The CLI takes it from `data.norm_dict`; None: a checkpoint brings them.
    name : str
        Name of the model, in front of its outputs. The CLI takes it from `name`.
    loss_mode : Literal["wsum", "GLS"]
        Sum of the weighted losses, or their geometric mean (Chennupati et al., MultiNet++, arXiv:1904.08492).
    """

    def __init__(
        self,
        model: SaltModel,
        lrs_config: LRSConfig | None = None,
        norm_dict: Path | None = None,
        name: str = "salt",
        loss_mode: Literal["wsum", "GLS"] = "wsum",
    ) -> None:
        super().__init__()
        self.model = model
        self.lrs_config = lrs_config or LRSConfig()
        self.name = name
        self.loss_mode = loss_mode
        self.norm = InputNorm(model.schema, read_norm_dict(norm_dict) if norm_dict is not None else None)
        self._epoch_losses = {stage: LossSums() for stage in ("train", "val")}

    def required_labels(self) -> dict[str, list[str]]:
        """Stream -> labels that the loader must bring."""
        return self.model.required_labels()

    def forward(self, inputs: Inputs) -> Preds:
        """Un-normalised inputs to the raw output of each task."""
        return self.model(self.norm(inputs))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of a batch."""
        means = self._means(self._losses(batch, "train"))
        loss = self._total(means)
        self._log("train", loss, means, prog_bar=True)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add a batch to the losses of this validation."""
        self._losses(batch, "val")

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, dict[str, Tensor]]:
        """Physical values of each task: task -> name -> (B,) or (T,)."""
        return self.model.outputs(self(batch.inputs), batch.inputs)

    def on_train_epoch_end(self) -> None:
        """Log the losses of the whole epoch, as train/..._epoch."""
        means = self._means(self._epoch_losses["train"].pop())
        self._log("train", self._total(means), means, suffix="_epoch")

    def on_validation_epoch_end(self) -> None:
        """Log the losses of the whole validation: exact means, whatever the sizes of its batches."""
        means = self._means(self._epoch_losses["val"].pop())
        self._log("val", self._total(means), means, prog_bar=True)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW and one cycle of the learning rate."""
        config = self.lrs_config
        optimizer = torch.optim.AdamW(self.parameters(), lr=config.max, weight_decay=config.weight_decay, fused=True)
        steps = self.trainer.estimated_stepping_batches
        if math.isinf(steps):
            raise ValueError(
                "trainer.max_epochs or trainer.max_steps must be given: one cycle needs to know its length"
            )
        schedule = one_cycle(optimizer, config, int(steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _losses(self, batch: Batch, stage: str) -> Losses:
        losses = self.model.losses(self(batch.inputs), batch)
        self._epoch_losses[stage].add(losses)
        return losses

    def _means(self, losses: Losses) -> dict[str, Tensor]:
        return {task: global_mean(total, count) for task, (total, count) in losses.items()}

    def _total(self, means: dict[str, Tensor]) -> Tensor:
        weighted = [task.weight * means[task.name] for task in self.model.heads()]
        if self.loss_mode == "GLS":
            return torch.stack(weighted).prod() ** (1 / len(weighted))
        return torch.stack(weighted).sum()

    def _log(
        self, stage: str, loss: Tensor, means: dict[str, Tensor], suffix: str = "", prog_bar: bool = False
    ) -> None:
        self.log(f"{stage}/loss{suffix}", loss.detach(), prog_bar=prog_bar)
        self.log_dict({f"{stage}/{task}_loss{suffix}": mean.detach() for task, mean in means.items()})


class LossSums:
    """Sums and counts of the losses of an epoch so far."""

    def __init__(self) -> None:
        self._sums: Losses = {}

    def add(self, losses: Losses) -> None:
        """Add those of a batch."""
        for task, (total, count) in losses.items():
            before = self._sums.get(task, (0, 0))
            self._sums[task] = (before[0] + total.detach().double(), before[1] + count.detach().double())

    def pop(self) -> Losses:
        """Give them, and begin again."""
        sums, self._sums = self._sums, {}
        return sums


def global_mean(total: Tensor, count: Tensor) -> Tensor:
    """Sum over count of all ranks together, so that N ranks give the gradient of one; 0 where there is nothing.

    The gradients of the ranks are averaged, so each rank divides its own sum by the mean count.
    """
    count = count.detach().to(total.dtype)
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        count = count.clone()
        dist.all_reduce(count)
        count /= dist.get_world_size()
        if not total.requires_grad:  # a figure, not a loss: every rank shall have the same
            total = total.clone()
            dist.all_reduce(total)
            total /= dist.get_world_size()
    return total * (count > 0) / count.clamp(min=torch.finfo(count.dtype).tiny)
