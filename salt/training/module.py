"""What a training step is: losses of all ranks together, weighed, logged; and what a test step gives.

Shapes: B jets, T constituents.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import lightning
import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.plugins import MixedPrecision
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from salt.data.dicts import read_norm_dict
from salt.models.tagger import Tagger
from salt.nn.norm import InputNorm, NormOptions
from salt.training.ema import Averaged, WeightAverage, take_average
from salt.training.init_from import InitFrom
from salt.training.losses import Losses, LossSums, geometric_mean, global_mean, over_ranks, valued
from salt.training.optim import chosen
from salt.training.rates import LRSConfig
from salt.training.resume import Resume
from salt.training.schedule import scheduled
from salt.training.start import Start
from salt.training.weights import check_fit, weights_in
from salt.types import Batch, Inputs, Preds

info = rank_zero_only(logging.getLogger(__name__).info)


class SaltModule(lightning.LightningModule):
    """A model under training: normalisation, losses, optimiser and schedule.

    Parameters
    ----------
    model : Tagger
        The model.
    lrs_config : LRSConfig | None
        The schedule of the learning rate; None: the default one.
    norm_dict : Path | None
        Mean and width of each input variable. The CLI takes it from `data.norm_dict`; None: a checkpoint brings them.
    name : str
        Name of the model, in front of its outputs. The CLI takes it from `name`.
    loss_mode : Literal["wsum", "GLS"]
        Sum of the weighted losses, or their geometric mean (Chennupati et al., MultiNet++, arXiv:1904.08492), without
        those that have nothing to learn from in a batch.
    ema_decay : float | None
        Decay of a moving average of the weights, like 0.999: how much of it each step keeps. Validation, test and
        export take the average; a checkpoint has it as its `state_dict`. None: no average.
    optimizer : str | dict[str, Any]
        AdamW, lion, HybridMuonAdamW, the name of another optimiser of torch, or a class with arguments, like
        `{class_path: torch.optim.NAdam, init_args: {momentum_decay: 0.01}}`. `lrs_config` says its learning rate and
        weight decay.
    norm : NormOptions | None
        How inputs are normalised; None: by mean and width, without clipping.
    mup_config : dict[str, Any] | None
        Learning rates that may stay where the model becomes wider (see `salt.training.mup`): `shape_path`, the folder
        of a file that `setup_mup` writes, and what says the width, like
        `embed_dim: {apply_to: [encoder], parameter_name: [embed_dim], parameter_base: 256, parameter_delta: 8}`.
    init_from : InitFrom | None
        Weights to begin with, of another training; None: random ones. A run that is resumed has its own.
    """

    def __init__(
        self,
        model: Tagger,
        lrs_config: LRSConfig | None = None,
        norm_dict: Path | None = None,
        name: str = "salt",
        loss_mode: Literal["wsum", "GLS"] = "wsum",
        ema_decay: float | None = None,
        optimizer: str | dict[str, Any] = "AdamW",
        norm: NormOptions | None = None,
        mup_config: dict[str, Any] | None = None,
        init_from: InitFrom | None = None,
    ) -> None:
        super().__init__()
        if ema_decay is not None and not 0 <= ema_decay < 1:
            raise ValueError(f"model.ema_decay is {ema_decay}; it must be at least 0 and below 1, like 0.999")
        if loss_mode == "GLS":
            _check_positive(model)
        self.model = model
        self.lrs_config = lrs_config or LRSConfig()
        self._optimizer = chosen(optimizer)
        self.name = name
        self.loss_mode = loss_mode
        self.norm = InputNorm(model.schema, read_norm_dict(norm_dict) if norm_dict is not None else None, norm)
        self.ema_decay = ema_decay
        self.newest_losses: dict[str, Tensor] = {}  # task -> sum of its losses in the newest batch, for who watches it
        self._epoch_losses = {stage: LossSums() for stage in ("train", "val")}
        self._resume = Resume(self, self._epoch_losses["train"])
        self._start = Start(self, self._optimizer.kind, mup_config, init_from)
        self._average: WeightAverage | None = None
        self._averaged_before: Averaged | None = None

    def required_labels(self) -> dict[str, list[str]]:
        """Stream -> labels that the loader must bring."""
        return self.model.required_labels()

    def required_columns(self) -> dict[str, list[str]]:
        """Stream -> columns of the file that physical values need, beside the inputs."""
        return self.model.required_columns()

    def forward(self, inputs: Inputs) -> Preds:
        """Un-normalised inputs to the raw output of each task."""
        return self.model(self.norm(inputs))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of a batch."""
        means = self._means(self._losses(self(batch.inputs), batch, "train"))
        figures = over_ranks(means)
        self._log("train", self._total(figures), figures if self._is_logged() else {}, prog_bar=True)
        return self._total(valued(means, figures) if self.loss_mode == "GLS" else means)

    def validation_step(self, batch: Batch, batch_idx: int) -> Preds:
        """Add a batch to the losses of this validation; the raw outputs are for whoever measures more."""
        preds = self(batch.inputs)
        self._losses(preds, batch, "val")
        return preds

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, dict[str, Tensor]]:
        """Physical values of each task: task -> name -> (B,) or (T,)."""
        return self.model.outputs(self(batch.inputs), batch.inputs, batch.columns)

    def on_train_epoch_start(self) -> None:
        """Begin to add up the losses of an epoch."""
        self._epoch_losses["train"].clear()

    def on_train_epoch_end(self) -> None:
        """Log the losses of the whole epoch, as train/..._epoch."""
        means = self._means(self._epoch_losses["train"].sums())
        self._log("train", self._total(means), means, suffix="_epoch")

    def on_validation_epoch_end(self) -> None:
        """Log the losses of the whole validation: exact means, whatever the sizes of its batches."""
        means = self._means(self._epoch_losses["val"].sums())
        self._epoch_losses["val"].clear()
        self._log("val", self._total(means), means, prog_bar=True)
        self._resume.validated()

    def on_validation_start(self) -> None:
        """Validate with the average of the weights."""
        self._epoch_losses["val"].clear()
        if self._average is not None:
            self._average.put_in()

    def on_validation_end(self) -> None:
        """Train with the weights themselves."""
        if self._average is not None:
            self._average.take_out()

    def begin(self) -> None:
        """Take the weights that a new training begins with; it does so by itself, but after much else."""
        self._start.load()

    def setup(self, stage: str) -> None:
        """Freeze what is not to learn."""
        if stage == TrainerFn.FITTING:
            self._start.prepare()

    def on_fit_start(self) -> None:
        """Begin the average of the weights, which are in their place then; tell the trainer where it goes on."""
        self._start.load()
        self._average = None if self.ema_decay is None else WeightAverage(self, self.ema_decay)
        if self._average is not None and self._averaged_before is not None:
            self._average.load(*self._averaged_before)
        self._resume.place()

    def on_train_start(self) -> None:
        """Go on exactly where a run was."""
        self._resume.start()

    def on_fit_end(self) -> None:
        """Leave the average in place of the weights: what was validated is what a test takes."""
        if self._average is not None:
            self._average.put_in()

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: torch.optim.Optimizer | LightningOptimizer,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        """A step of the optimiser, and of the average of the weights."""
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        if self._average is not None:
            self._average.update()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what resuming needs."""
        self._start.save(checkpoint)
        self._resume.save(checkpoint)
        if self._average is not None:
            self._average.save(checkpoint)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take what resuming needs; whoever does not train takes the weights that were validated."""
        path = self._trainer.ckpt_path if self._trainer is not None else "the checkpoint"
        checkpoint["state_dict"] = self.norm.taken(weights_in(checkpoint, path), "norm.")
        check_fit(checkpoint["state_dict"], self.state_dict(), path)
        if self._trainer is None or self._trainer.state.fn != TrainerFn.FITTING:
            return
        self._resume.load(checkpoint)
        self._start.go_on(checkpoint)
        self._averaged_before = take_average(checkpoint)
        if (self._averaged_before is None) != (self.ema_decay is None):
            now, before = (self.ema_decay, "no average") if self._averaged_before is None else ("none", "an average")
            info(
                "model.ema_decay is %s, and the checkpoint has %s of the weights: going on with the weights",
                now,
                before,
            )

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimiser, and the schedule of its learning rate."""
        config, steps = self.lrs_config, self.trainer.estimated_stepping_batches
        groups = self._start.groups(config.max, config.weight_decay)
        optimizer = self._optimizer.build(groups, fused=not self._clips_in_mixed_precision())
        schedule = scheduled(optimizer, config, None if math.isinf(steps) else int(steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _clips_in_mixed_precision(self) -> bool:
        """Whether Lightning clips gradients that it unscales: it refuses optimisers which may unscale by themselves."""
        trainer = self.trainer
        return bool(trainer.gradient_clip_val) and isinstance(trainer.precision_plugin, MixedPrecision)

    def _is_logged(self) -> bool:
        """Whether loggers write the figures of this step, or a callback may look at them: each costs a millisecond."""
        trainer, every = self.trainer, self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        steps = trainer.fit_loop.epoch_loop._batches_that_stepped  # what Lightning counts by
        return trainer.is_last_batch or (every > 0 and (steps + 1) % every == 0)

    def _losses(self, preds: Preds, batch: Batch, stage: str) -> Losses:
        losses = self.model.losses(preds, batch)
        self.newest_losses = {task: total.detach() for task, (total, _) in losses.items()}
        self._epoch_losses[stage].add(losses)
        return losses

    def _means(self, losses: Losses) -> dict[str, Tensor]:
        return {task: global_mean(total, count) for task, (total, count) in losses.items()}

    def _total(self, means: dict[str, Tensor]) -> Tensor:
        weighted = [weight * means[name] for name, weight in self.model.loss_weights().items()]
        if self.loss_mode == "GLS":
            return geometric_mean(torch.stack(weighted))
        return torch.stack(weighted).sum()

    def _log(
        self, stage: str, loss: Tensor, means: dict[str, Tensor], suffix: str = "", prog_bar: bool = False
    ) -> None:
        self.log(f"{stage}/loss{suffix}", loss.detach(), prog_bar=prog_bar)
        if means:
            self.log_dict({f"{stage}/{task}_loss{suffix}": mean.detach() for task, mean in means.items()})


def _check_positive(model: Tagger) -> None:
    """Raise where a loss may be negative: there is no geometric mean with it."""
    wrong = [task.name for task in model.heads() if not task.is_positive]
    if wrong:
        raise ValueError(
            f"model.loss_mode: GLS multiplies the losses, but that of {', '.join(map(repr, wrong))} may be negative: a "
            "likelihood is not bounded; set model.loss_mode: wsum"
        )
