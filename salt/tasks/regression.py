"""Regression of physical quantities of jets, of their constituents, or of objects among these.

Shapes: "..." the tokens of a layout, the jets or (jets, objects); R targets.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from salt.layout import Layout
from salt.metrics.monitor import Monitor
from salt.metrics.options import MetricOptions
from salt.metrics.regression import Regression, Residuals
from salt.tasks.base import Task
from salt.tasks.losses import elementwise, in_full, known_sum, make_loss
from salt.tasks.scaling import RegressionTargetScaler, listed, make_scales


class RegressionTaskBase(Task):
    """Values of one or several targets. Targets that are not finite, or not once scaled, are ignored.

    At most one of target_denominators, norm_params and scaler may be given.

    Parameters
    ----------
    name, input_name, dense_config, weight
        As of every `Task`; dense_config.output_size may be left out.
    targets : list[str] | str
        Names of the targets in the file.
    loss : nn.Module | str | None
        A loss of torch.nn, or its name; None: `default_loss`.
    target_denominators : list[str] | str | None
        A column for each target: their ratio is learnt. None: no ratio.
    norm_params : dict[str, Any] | None
        mean and std of the target, or a list of each; None: 0 and 1.
    scaler : RegressionTargetScaler | None
        A function for each target; None: no function.
    custom_output_names : list[str] | str | None
        What the outputs are called; None: as the targets.
    sample_weight : str | None
        A label that weighs the loss of each row; None: all alike.
    """

    padding = float("nan")

    width: int = 1
    """Raw numbers for each target."""

    default_loss: str
    """Name of the loss where none is given."""

    unscaled_because: str = ""
    """Why a scaler is refused; empty: it is not."""

    def __init__(
        self,
        name: str,
        input_name: str,
        targets: list[str] | str,
        dense_config: dict[str, Any],
        loss: nn.Module | str | None = None,
        target_denominators: list[str] | str | None = None,
        norm_params: dict[str, Any] | None = None,
        custom_output_names: list[str] | str | None = None,
        weight: float = 1.0,
        scaler: RegressionTargetScaler | None = None,
        sample_weight: str | None = None,
    ) -> None:
        if scaler is not None and self.unscaled_because:
            raise ValueError(f"task {name!r}: {self.unscaled_because}")
        names = listed(targets)
        outputs = names if custom_output_names is None else listed(custom_output_names)
        size = self.width * len(names)
        super().__init__(name, input_name, {"output_size": size, **dense_config}, weight)
        self.targets: list[str] = names
        self.output_names: list[str] = outputs
        self.sample_weight = sample_weight
        if self.net.output_size != size:
            raise ValueError(
                f"task {name!r}: dense_config.output_size is {self.net.output_size}, but {_said(names)} "
                f"{size}: set it to {size}, or leave it out"
            )
        if len(outputs) != len(names):
            raise ValueError(f"task {name!r}: {len(outputs)} custom_output_names for {_said(names)} as many")
        try:
            self.scales = make_scales(names, target_denominators, norm_params, scaler)
        except ValueError as error:
            raise ValueError(f"task {name!r}: {error}") from error
        self.loss_function = self._fitting(make_loss(self.default_loss if loss is None else loss, name))

    @abstractmethod
    def _fitting(self, loss: nn.Module) -> nn.Module:
        """The loss as `losses` needs it; raises where it is none for this task."""

    def required_labels(self) -> list[str]:
        """Targets, denominators, weights."""
        return [*self.targets, *self.required_columns(), *([self.sample_weight] if self.sample_weight else [])]

    def required_columns(self) -> list[str]:
        """The denominators."""
        return list(dict.fromkeys(scale.column for scale in self.scales if scale.column is not None))

    def loss(self, raw: Tensor, labels: dict[str, Tensor], layout: Layout | None) -> tuple[Tensor, Tensor]:
        """Sum of the weighted losses over all targets that are finite, and their number."""
        raw = in_full(raw)
        target = self._scaled(labels, raw.dtype)
        finite = target.isfinite()
        # what has no target gets one that nothing can be learnt from: NaN, and overflow, would reach the gradient
        target = target.where(finite, raw[..., : len(self.targets)].detach())
        return known_sum(self.losses(raw, target), finite, labels, self.sample_weight), finite.sum()

    def distance(self, raw: Tensor, labels: Mapping[str, Tensor]) -> Tensor:
        """(B, Q, M) mean over the targets of how far answers (B, Q, R) and truths (B, M) lie apart, once scaled."""
        raw = in_full(raw)
        apart = (raw[:, :, None, : len(self.targets)] - self._scaled(labels, raw.dtype)[:, None]).abs()
        return apart.where(apart.isfinite(), 0).mean(-1)

    def _scaled(self, labels: Mapping[str, Tensor], dtype: torch.dtype) -> Tensor:
        """What is learnt (..., R) of the targets."""
        learnt = [
            scale.learnt(labels[target].to(dtype), labels)
            for target, scale in zip(self.targets, self.scales, strict=True)
        ]
        return torch.stack(learnt, -1)

    @abstractmethod
    def losses(self, raw: Tensor, target: Tensor) -> Tensor:
        """Raw numbers (..., width R) and scaled targets (..., R) to the loss (..., R) of each."""

    def physical(self, learnt: Tensor, columns: Mapping[str, Tensor]) -> list[Tensor]:
        """What is learnt (..., R) to physical values (...) of each target."""
        return [scale.physical(learnt[..., i], columns) for i, scale in enumerate(self.scales)]

    def _truth(self, labels: Mapping[str, Tensor]) -> list[Tensor]:
        """True values (...) of each target."""
        return [labels[target] for target in self.targets]


def _said(targets: Sequence[str]) -> str:
    return f"{len(targets)} targets ({', '.join(targets)}) need"


class RegressionTask(RegressionTaskBase):
    """One value for each target.

    Parameters
    ----------
    name, input_name, targets, dense_config, weight, sample_weight
        As of every `RegressionTaskBase`.
    target_denominators, norm_params, scaler, custom_output_names
        As of every `RegressionTaskBase`.
    loss : nn.Module | str | None
        A loss of torch.nn that gives one for each value, or its name: L1Loss, MSELoss, HuberLoss, SmoothL1Loss; None:
        MSELoss. Its mean is taken, whatever its reduction says.
    """

    default_loss = "MSELoss"

    def _fitting(self, loss: nn.Module) -> nn.Module:
        return elementwise(loss, self.name)

    def losses(self, raw: Tensor, target: Tensor) -> Tensor:
        """As `torch.nn` has them."""
        return self.loss_function(raw, target)

    def monitor(self, options: MetricOptions, is_global: bool) -> Monitor:
        """Resolution and bias of each target, in its own unit."""
        return Regression(self._compared, False, [Residuals.of(target) for target in self.targets])

    def _compared(self, raw: Tensor, labels: Mapping[str, Tensor], layout: Layout | None) -> tuple[Tensor, Tensor]:
        return torch.stack(self.physical(in_full(raw), labels), -1), torch.stack(self._truth(labels), -1)

    def outputs(self, raw: Tensor, columns: Mapping[str, Tensor], layout: Layout | None) -> dict[str, Tensor]:
        """A physical value (...) for each target; a ratio where its denominator is not among the columns."""
        return dict(zip(self.output_names, self.physical(in_full(raw), columns), strict=True))
