"""ObjectLosses: what objects that were found cost, against those that are true.

Shapes: B jets, "..." the constituents of a layout, Q queries and M true objects of each jet, C classes of objects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from salt.data.names import unknown
from salt.layout import Layout
from salt.models.matching import Matched, match
from salt.tasks.losses import in_full

CLASS_CE, MASK_CE, MASK_DICE, MASK_FOCAL = "object_class_ce", "mask_ce", "mask_dice", "mask_focal"
REGRESSION = "regression"
KINDS = {"labels": (CLASS_CE,), "masks": (MASK_CE, MASK_DICE, MASK_FOCAL)}
"""Losses by what they are of."""

GAMMA = 2
"""Exponent of the focal loss (Lin et al., arXiv:1708.02002)."""


class Truth(NamedTuple):
    """The objects that there are."""

    object_class: Tensor
    """(B, M) int64; C where a slot has no object."""
    masks: Tensor
    """(..., M) bool: whether the constituent is of the object."""


class ObjectLosses(nn.Module):
    """Classes and masks of objects, each against that of the true object which fits best.

    Carion et al., End-to-end object detection with transformers, arXiv:2005.12872.

    - `object_class_ce`: cross-entropy of the classes, of all queries; the true class of one that has no object is C;
    - `mask_ce`: binary cross-entropy of a constituent being of an object;
    - `mask_dice`: 1 - (2 x.y + 1) / (|x| + |y| + 1) of an object's mask x and the true one y (arXiv:1606.04797);
    - `mask_focal`: the cross-entropy, weighted by the square of how wrong the answer is.

    Parameters
    ----------
    num_classes : int
        C, without the null class, which comes after them.
    loss_weights : Mapping[str, float]
        Weights of these losses in the total; those left out, or 0, are not computed. `regression` weighs in matching
        only: it is the mean distance of the answers of tasks on objects; their losses have weights of their own.
    matcher_weights : Mapping[str, float] | None
        Weights of the same in matching, where the probability of the true class takes the place of its cross-entropy;
        None: `loss_weights`.
    null_class_weight : float
        Weight of the null class in the cross-entropy; that of all others is 1.
    losses : Sequence[str] | None
        What has losses: `labels`, `masks`; None: both.
    mask_slots : int | None
        Number of constituents that the cross-entropies of a jet's masks are divided by, like 40: upstream counts the
        empty slots of its files. None: those that the jet has.
    """

    def __init__(
        self,
        num_classes: int,
        loss_weights: Mapping[str, float],
        matcher_weights: Mapping[str, float] | None = None,
        null_class_weight: float = 0.5,
        losses: Sequence[str] | None = None,
        mask_slots: int | None = None,
    ) -> None:
        super().__init__()
        kinds = list(KINDS) if losses is None else list(losses)
        for kind in kinds:
            if kind not in KINDS:
                raise ValueError(unknown("kind of loss", kind, KINDS, "loss_config.losses"))
        known = [name for of in KINDS.values() for name in of]
        matching = loss_weights if matcher_weights is None else matcher_weights
        for key, weights in (("loss_weights", loss_weights), ("matcher_weights", matching)):
            for name in weights:
                if name not in {*known, REGRESSION}:
                    raise ValueError(unknown("loss", name, [*known, REGRESSION], f"loss_config.{key}"))
        if not any(weight > 0 for weight in matching.values()):
            raise ValueError(f"loss_config.matcher_weights: {dict(matching)} has no positive weight to match by")
        wanted = [name for kind in kinds for name in KINDS[kind]]
        self.num_classes = num_classes
        self.weights = {name: loss_weights[name] for name in wanted if loss_weights.get(name)}
        self.matcher_weights = {name: weight for name, weight in matching.items() if weight}
        self.null_class_weight = null_class_weight
        self.mask_slots = mask_slots

    def class_probs(self, logits: Tensor) -> Tensor:
        """(B, Q, C + 1) probabilities, the null class last, of the logits that the class net gave."""
        if logits.shape[-1] == 1:  # of the null class against the only other
            return torch.cat([(-logits).sigmoid(), logits.sigmoid()], -1)
        return logits.softmax(-1)

    @torch.no_grad()
    def match(
        self, class_logits: Tensor, mask_logits: Tensor, truth: Truth, layout: Layout, distances: Sequence[Tensor] = ()
    ) -> Matched:
        """Which query answers for which object.

        Parameters
        ----------
        class_logits, mask_logits : Tensor
            (B, Q, C + 1) and (..., Q).
        truth : Truth
            The objects.
        layout : Layout
            Where the constituents are.
        distances : Sequence[Tensor]
            (B, Q, M) mean distances of the answers of tasks.
        """
        weights, classes = self.matcher_weights, truth.object_class
        num_queries, num_objects = class_logits.shape[1], classes.shape[1]
        x = in_full(mask_logits)[..., :, None].expand(*mask_logits.shape, num_objects).flatten(-2)  # (..., Q M)
        masks = truth.masks[..., None, :].expand(*mask_logits.shape, num_objects).flatten(-2)
        costs = self._mask_losses(x, masks, layout, weights)
        parts = [weights[name] * total / count.clamp(min=1) for name, (total, count) in costs.items()]
        parts = [part.unflatten(1, (num_queries, num_objects)) for part in parts]
        if CLASS_CE in weights:
            probabilities = self.class_probs(in_full(class_logits))
            of_class = classes[:, None].expand(-1, probabilities.shape[1], -1)
            parts.append(-weights[CLASS_CE] * probabilities.gather(2, of_class))
        if REGRESSION in weights:
            parts += [weights[REGRESSION] * distance for distance in distances]
        if not parts:
            raise ValueError(f"loss_config.matcher_weights: {weights} has nothing to match by")
        return match(torch.stack(parts).sum(0), classes != self.num_classes)

    def forward(
        self, class_logits: Tensor, mask_logits: Tensor, truth: Truth, matched: Matched, layout: Layout
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Sum and count of each loss of objects (B, Q, C + 1), (..., Q) that are matched with the truth."""
        found: dict[str, tuple[Tensor, Tensor]] = {}
        if CLASS_CE in self.weights:
            target = matched.of_queries(truth.object_class, class_logits.shape[1], self.num_classes)
            found[CLASS_CE] = self._class_loss(in_full(class_logits), target)
        # (..., M) the logits of each object's query, at all constituents of its jet
        logits = torch.take_along_dim(in_full(mask_logits), layout.spread(matched.query_of), -1)
        has_query = matched.has_query.to(logits.dtype)
        for name, (total, count) in self._mask_losses(logits, truth.masks, layout, self.weights).items():
            found[name] = (total * has_query).sum(), (count * has_query).sum()
        return found

    def _class_loss(self, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Sum and count of the cross-entropy of (B, Q, C + 1) logits and (B, Q) classes."""
        if logits.shape[-1] == 1:  # of the null class against the only other; a mean of all, as upstream has it
            weight = torch.where(target == self.num_classes, self.null_class_weight, 1.0).to(logits.dtype)
            losses = F.binary_cross_entropy_with_logits(logits[..., 0], target.to(logits.dtype), reduction="none")
            return (weight * losses).sum(), torch.ones_like(weight).sum()
        weights = logits.new_ones(self.num_classes + 1)
        weights[-1] = self.null_class_weight
        total = F.cross_entropy(logits.flatten(0, 1), target.flatten(), weights, reduction="sum")
        return total, weights[target].sum()

    def _mask_losses(
        self, x: Tensor, masks: Tensor, layout: Layout, wanted: Mapping[str, float]
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Sum (B, K) and count (B, 1) of the losses in each jet, of logits (..., K) and the true masks for them."""
        masks = masks.to(x.dtype)
        p, wrong = x.sigmoid(), F.softplus(x) - x * masks
        columns = [wrong, p * masks, p, masks, torch.ones_like(x[..., :1])]
        if MASK_FOCAL in wanted:
            columns.append((p - masks).abs() ** GAMMA * wrong)
        widths = [column.shape[-1] for column in columns]
        entropy, overlap, found, true, slots, *focal = layout.total(torch.cat(columns, -1)).split(widths, 1)
        if self.mask_slots is not None:
            slots = torch.full_like(slots, self.mask_slots)
        of = {MASK_CE: (entropy, slots), MASK_FOCAL: (focal[0] if focal else entropy, slots)}
        of[MASK_DICE] = 1 - (2 * overlap + 1) / (found + true + 1), torch.ones_like(slots)
        return {name: of[name] for name in of if name in wanted}
