"""Regression with a width: a Gaussian for each physical quantity.

Shapes: "..." the tokens of a layout, the jets or (jets, objects); R targets.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from salt.layout import Layout
from salt.metrics.monitor import Monitor
from salt.metrics.options import MetricOptions
from salt.metrics.regression import Regression, Residuals
from salt.tasks.losses import in_full
from salt.tasks.regression import RegressionTaskBase

DEVIATION = "_stddev"
"""End of the name of a Gaussian's width."""

LOG_TWO_PI = math.log(2 * math.pi)


class GaussianRegressionTask(RegressionTaskBase):
    """A Gaussian for each target: mean and variance. Nix and Weigend, 1994, doi:10.1109/ICNN.1994.374138.

    Raw numbers are all means, then all variances before a softplus.

    Parameters
    ----------
    name, input_name, targets, dense_config, weight, sample_weight
        As of every `RegressionTaskBase`.
    target_denominators, norm_params, custom_output_names
        As of every `RegressionTaskBase`.
    loss : nn.Module | str | None
        A `torch.nn.GaussianNLLLoss`, or its name; None: one of the default options.
    scaler : None
        A Gaussian does not stay one under a function: refused.
    """

    is_positive = False
    width = 2
    default_loss = "GaussianNLLLoss"
    unscaled_because = "a Gaussian does not stay one under a scaler: take norm_params or target_denominators"

    def _fitting(self, loss: nn.Module) -> nn.Module:
        if not isinstance(loss, nn.GaussianNLLLoss):
            raise ValueError(
                f"task {self.name!r}: loss {type(loss).__name__} is not known for Gaussian regression; there is "
                "torch.nn.GaussianNLLLoss"
            )
        return loss

    def losses(self, raw: Tensor, target: Tensor) -> Tensor:
        """Negative logarithms of the Gaussians. torch's own function waits for the GPU to look for negative widths."""
        function = self.loss_function
        assert isinstance(function, nn.GaussianNLLLoss)
        mean, variance = self._gaussians(raw)
        variance = variance + (variance.clamp(min=function.eps) - variance).detach()
        losses = 0.5 * (variance.log() + (mean - target) ** 2 / variance)
        return losses + 0.5 * LOG_TWO_PI if function.full else losses

    def _gaussians(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Means (..., R) and variances (..., R) of what is learnt."""
        mean, variance = raw.split(len(self.targets), -1)
        return mean, nn.functional.softplus(variance)

    def _widths(self, variance: Tensor, columns: Mapping[str, Tensor]) -> list[Tensor]:
        """Physical standard deviations (...) of each target."""
        deviation = variance.sqrt()
        return [scale.width(deviation[..., i], columns) for i, scale in enumerate(self.scales)]

    def monitor(self, options: MetricOptions, is_global: bool) -> Monitor:
        """Resolution and bias of each target, in its own unit; and of the pulls, whose width should be 1."""
        names = [Residuals.of(target) for target in self.targets]
        return Regression(self._compared, False, names + [Residuals.of_pull(target) for target in self.targets])

    def _compared(self, raw: Tensor, labels: Mapping[str, Tensor], layout: Layout | None) -> tuple[Tensor, Tensor]:
        mean, variance = self._gaussians(in_full(raw))
        means, widths, truth = self.physical(mean, labels), self._widths(variance, labels), self._truth(labels)
        pulls = [(m - t) / w for m, w, t in zip(means, widths, truth, strict=True)]
        return torch.stack([*means, *pulls], -1), torch.stack([*truth, *[0 * t for t in truth]], -1)

    def outputs(self, raw: Tensor, columns: Mapping[str, Tensor], layout: Layout | None) -> dict[str, Tensor]:
        """Mean (...) and standard deviation (...) of each target: pt, pt_stddev; of ratios as for `RegressionTask`."""
        mean, variance = self._gaussians(in_full(raw))
        means = dict(zip(self.output_names, self.physical(mean, columns), strict=True))
        names = [f"{name}{DEVIATION}" for name in self.output_names]
        return means | dict(zip(names, self._widths(variance, columns), strict=True))

    def upstream_name(self, output: str, model: str) -> str:
        """The task's name in front, not the model's, and the target's, whatever the output is called."""
        return f"{self.name}_{self._targets_of_outputs()[output]}"

    def _targets_of_outputs(self) -> dict[str, str]:
        plain = dict(zip(self.output_names, self.targets, strict=True))
        return plain | {f"{name}{DEVIATION}": f"{target}{DEVIATION}" for name, target in plain.items()}
