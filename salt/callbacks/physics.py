"""PhysicsMetrics: what the answers of each validation are worth to physics."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from salt.data.names import unknown
from salt.metrics.options import WORKING_POINTS, MetricOptions
from salt.training.metrics import Figures, direction, known
from salt.training.module import SaltModule
from salt.types import Batch, Preds

warn = rank_zero_only(logging.getLogger(__name__).warning)


class PhysicsMetrics(Callback):
    """Log areas under ROC curves, rejections, accuracies, calibration, vertexing of each validation.

    In a config its arguments are the mapping `metrics`. The figures are `val/<task>_<metric>`, over all jets of the
    validation on all ranks together, whatever the batches were:

    - jets of classes bjets, cjets, ujets: `auc_bjets_vs_ujets`, ..., `rejection_ujets_at_70`, ..., of the same
      discriminants as `salt report`; `accuracy`, and `calibration_error` under the class weights of the loss;
    - jets of other classes: `accuracy`, `calibration_error`, and `auc`, the mean over the classes of each against all
      others; constituents the same without calibration;
    - vertexing: `efficiency` and `purity` of pairs of tracks from displaced vertices.

    What there are too few jets for (10 of a class; 100 in a bin of transverse momentum) is not logged, and said once.
    Any of them can be the monitor of a checkpoint or of an EarlyStopping.

    Parameters
    ----------
    enabled : bool
        Whether anything is measured.
    working_points : list[float]
        Signal efficiencies at which rejections are given.
    discriminants : dict[str, dict[str, float]] | None
        Signal class -> background class -> its fraction f in D = log(p_signal / sum of f p_background); rejections of
        the second one and later end with `_for_<signal>`. None: bjets against 0.05 cjets and 0.95 ujets, and the area
        of cjets against ujets.
    pt_bins : list[float] | None
        Edges [GeV] of bins in transverse momentum, in which areas and rejections are given besides: `..._pt_20_60`.
    pt_variable : str | None
        The input variable of the global object that is the transverse momentum [MeV]; None: pt_btagJes or pt.
    """

    def __init__(
        self,
        enabled: bool = True,
        working_points: list[float] = list(WORKING_POINTS),  # noqa: B006  (shown in config.yaml, never written to)
        discriminants: dict[str, dict[str, float]] | None = None,
        pt_bins: list[float] | None = None,
        pt_variable: str | None = None,
    ) -> None:
        self.enabled = enabled
        self.options = MetricOptions(tuple(working_points), discriminants, tuple(pt_bins or ()))
        self.pt_variable = pt_variable
        self._figures: Figures | None = None
        self._absent: set[str] = set()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """See what can be measured of this model, and that nobody waits for it to get worse."""
        if not self.enabled or stage not in {"fit", "validate"} or not isinstance(pl_module, SaltModule):
            return
        self._figures = Figures(pl_module.model, self.options, self.pt_variable)
        names = self._figures.values()
        for callback in trainer.early_stopping_callbacks:
            if callback.monitor in names and callback.mode != direction(callback.monitor):
                raise ValueError(
                    f"EarlyStopping watches {callback.monitor} with mode {callback.mode!r}, and would stop where it "
                    f"improves: set mode to {direction(callback.monitor)!r}"
                )

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count from zero."""
        if self._figures is not None:
            self._figures.begin(pl_module.device)

    def on_validation_batch_end(  # type: ignore[override]
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Preds,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count the answers to a batch."""
        if self._figures is not None:
            self._figures.add(outputs, batch)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the figures."""
        if self._figures is None:
            return
        self._figures.reduce()
        values = self._figures.values()
        if trainer.sanity_checking:  # of few jets, and never shown: but whoever monitors a name looks for it
            pl_module.log_dict({name: math.nan if value is None else value for name, value in values.items()})
            return
        self._say_absent(values)
        pl_module.log_dict(known(values))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Before the first epoch, see whether what an EarlyStopping waits for is measured at all."""
        if not trainer.sanity_checking:
            return
        for callback in trainer.early_stopping_callbacks:
            if callback.monitor.split("/")[0] == "val" and callback.monitor not in trainer.callback_metrics:
                logged = [name for name in trainer.callback_metrics if name not in {"epoch", "step"}]
                raise ValueError(
                    unknown("metric", callback.monitor, logged, "what is logged (EarlyStopping's monitor)")
                )

    def _say_absent(self, values: Mapping[str, Any]) -> None:
        absent = {name for name, value in values.items() if value is None} - self._absent
        if absent:
            self._absent |= absent
            warn("the validation has too little to tell %s: not logged", ", ".join(sorted(absent)))
