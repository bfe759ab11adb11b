"""Links: from logits to probabilities of classes, and to the loss of each row.

Shapes: n jets or constituents, K classes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch.nn.functional as F
from torch import Tensor, nn

IGNORE = -1
"""The label of what has no class: padding, and constituents without truth."""


class Link(ABC):
    """How logits are read."""

    is_of_one_class: bool
    """Whether there is one logit, for one class against all else."""

    @abstractmethod
    def target(self, values: Tensor) -> Tensor:
        """Numbers of classes (...), IGNORE for none, as the loss wants them."""

    @abstractmethod
    def num_values(self, num_classes: int) -> int:
        """How many values a label may have, from 0 on."""

    @abstractmethod
    def losses(self, function: nn.Module, raw: Tensor, target: Tensor) -> Tensor:
        """Logits (n, K) and targets (n,) to the loss (n,) of each row: 0 for what has no class."""

    @abstractmethod
    def total(self, function: nn.Module, raw: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Their sum, and what to divide it by."""

    @abstractmethod
    def probabilities(self, raw: Tensor) -> Tensor:
        """Logits (..., K) to probabilities (..., K)."""


class Softmax(Link):
    """Several classes, of which one is right: cross-entropy."""

    is_of_one_class = False

    def target(self, values: Tensor) -> Tensor:
        """Whole numbers."""
        return values.long()

    def num_values(self, num_classes: int) -> int:
        """One for each class."""
        return num_classes

    def losses(self, function: nn.Module, raw: Tensor, target: Tensor) -> Tensor:
        """Weighted cross-entropies."""
        return self._entropy(function, raw, target, "none")

    def total(self, function: nn.Module, raw: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """The sum of weighted cross-entropies, and of the weights."""
        weight = function.weight
        total = self._entropy(function, raw, target, "sum")
        known = target != IGNORE
        return total, known.sum() if weight is None else (weight[target.clamp(min=0)] * known).sum()  # type: ignore[index]

    @staticmethod
    def _entropy(function: nn.Module, raw: Tensor, target: Tensor, reduction: str) -> Tensor:
        assert isinstance(function, nn.CrossEntropyLoss)
        smoothing = function.label_smoothing
        return F.cross_entropy(
            raw, target, function.weight, ignore_index=IGNORE, reduction=reduction, label_smoothing=smoothing
        )

    def probabilities(self, raw: Tensor) -> Tensor:
        """They add up to 1."""
        return raw.softmax(-1)


class Sigmoid(Link):
    """One class against all else: the target is its probability."""

    is_of_one_class = True

    def target(self, values: Tensor) -> Tensor:
        """As they are: probabilities, too."""
        return values

    def num_values(self, num_classes: int) -> int:
        """Yes and no."""
        return 2

    def losses(self, function: nn.Module, raw: Tensor, target: Tensor) -> Tensor:
        """Binary cross-entropies."""
        assert isinstance(function, nn.BCEWithLogitsLoss)
        known = target >= 0
        losses = F.binary_cross_entropy_with_logits(
            raw.squeeze(-1),
            target.where(known, 0).to(raw.dtype),
            function.weight,
            pos_weight=function.pos_weight,
            reduction="none",
        )
        return losses.where(known, 0)

    def total(self, function: nn.Module, raw: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """The sum of the losses, and the number of what is known."""
        return self.losses(function, raw, target).sum(), (target >= 0).sum()

    def probabilities(self, raw: Tensor) -> Tensor:
        """That of the one class."""
        return raw.sigmoid()


def make_link(loss: nn.Module, task: str, num_classes: int) -> Link:
    """The link that belongs to a loss."""
    if isinstance(loss, nn.CrossEntropyLoss):
        return Softmax()
    if not isinstance(loss, nn.BCEWithLogitsLoss):
        raise ValueError(
            f"task {task!r}: loss {type(loss).__name__} is not known for classification; there is "
            "torch.nn.CrossEntropyLoss, and torch.nn.BCEWithLogitsLoss for one class against all else"
        )
    if num_classes != 1:
        raise ValueError(
            f"task {task!r}: BCEWithLogitsLoss is for one class against all else, but there are {num_classes} "
            "(dense_config.output_size): set it to 1, or take torch.nn.CrossEntropyLoss"
        )
    return Sigmoid()
