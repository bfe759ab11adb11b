"""Monitors of classification: accuracy, areas under ROC curves, rejections, calibration, confusion.

Shapes: n jets or constituents, K classes, D discriminants, P bins in transverse momentum and one for what is outside,
N bins of a score.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from salt.layout import Layout
from salt.metrics.monitor import MIN_JETS, UNIT, Monitor, tally
from salt.metrics.options import Discriminant, MetricOptions
from salt.metrics.roc import NUM_BINS, area, rejections, score_bins

Truth = Callable[[Mapping[str, Tensor]], Tensor]
"""Labels of a stream -> classes (n,), negative where there is none."""

NUM_CALIBRATION_BINS = 15
"""Of confidence, as in Guo et al., arXiv:1706.04599."""

MIN_JETS_IN_BIN = 100
"""Bins in transverse momentum with fewer jets of a class are left out, as in `salt report`."""


class Answers(NamedTuple):
    """What a task says of n jets or constituents.

    Parameters
    ----------
    logs
        (K, n) logarithms of the probabilities, in doubles.
    called
        (n,) the likeliest class.
    truth
        (n,) the true class; 0 where it is not known.
    known
        (n,) 1 where it is known, else 0.
    """

    logs: Tensor
    called: Tensor
    truth: Tensor
    known: Tensor


class Classification(Monitor):
    """The confusion matrix of the likeliest classes, and how often they are right.

    Parameters
    ----------
    truth : Truth
        The classes of a stream's labels.
    class_names : Sequence[str]
        Names of the classes.
    """

    def __init__(self, truth: Truth, class_names: Sequence[str], **shapes: Sequence[int]) -> None:
        self.class_names = list(class_names)
        super().__init__({"confusion": (len(class_names),) * 2, **shapes})
        self._truth = truth

    def add(self, raw: Tensor, labels: Mapping[str, Tensor], layout: Layout | None, bins: Tensor | None) -> None:
        """Count logits (n, K)."""
        truth = self._truth(labels).flatten()
        known = (truth >= 0).long()
        raw = raw.detach().flatten(0, -2)
        called = raw.argmax(-1)
        # classes first: sums over a short last dimension are slow
        logs = torch.log_softmax(raw.T.double().contiguous(), 0)
        self._count(Answers(logs, called, truth.clamp(min=0), known), bins)

    def _count(self, answers: Answers, bins: Tensor | None) -> None:
        """Count answers, with the number of each one's bin in transverse momentum."""
        tally(self.counts["confusion"], answers.truth * len(self.class_names) + answers.called, answers.known)

    def figures(self) -> dict[str, float | None]:
        """Accuracy."""
        confusion = self.counts["confusion"]
        total = int(confusion.sum())
        return {"accuracy": int(confusion.trace()) / total if total >= MIN_JETS else None}


class Origins(Classification):
    """Each class against all others: for constituents, and for jets of no known kind of tagging.

    Parameters
    ----------
    truth, class_names
        As of every `Classification`.
    """

    def __init__(self, truth: Truth, class_names: Sequence[str], **shapes: Sequence[int]) -> None:
        super().__init__(truth, class_names, scores=(2, len(class_names), NUM_BINS), **shapes)

    def _count(self, answers: Answers, bins: Tensor | None) -> None:
        super()._count(answers, bins)
        logs = answers.logs.float()
        scores = score_bins(logs - torch.log(-torch.expm1(logs.clamp(max=-1e-7))))  # (K, n) of log(p / (1 - p))
        everything, own = self.counts["scores"]
        rows = torch.arange(len(scores), device=scores.device)[:, None] * NUM_BINS
        tally(everything, (rows + scores).flatten(), answers.known.expand_as(scores).flatten())
        of_truth = scores.gather(0, answers.truth[None])[0]
        tally(own, answers.truth * NUM_BINS + of_truth, answers.known)

    def figures(self) -> dict[str, float | None]:
        """Accuracy, and the mean over the classes of the area under the ROC curve against all others."""
        everything, own = self.counts["scores"].cpu().numpy()
        others = everything - own
        enough = np.minimum(own.sum(-1), others.sum(-1)) >= MIN_JETS
        areas = [area(one, rest) for one, rest in zip(own[enough], others[enough], strict=True)]
        return super().figures() | {"auc": float(np.mean(areas)) if areas else None}


class Calibrated(Origins):
    """The same, and whether probabilities are what they say.

    Parameters
    ----------
    truth, class_names
        As of every `Classification`.
    weight : Tensor | None
        (K,) weights of the classes in the loss: the calibration is judged on what the loss asks for; None: equal ones.
    """

    def __init__(self, truth: Truth, class_names: Sequence[str], weight: Tensor | None) -> None:
        super().__init__(truth, class_names, calibration=calibration_shape())
        self._weight = weight

    def _count(self, answers: Answers, bins: Tensor | None) -> None:
        super()._count(answers, bins)
        count_calibration(self.counts["calibration"], answers, self._weight)

    def figures(self) -> dict[str, float | None]:
        """Accuracy, area, calibration error."""
        return super().figures() | {"calibration_error": calibration_error(self.counts["calibration"])}


class OneClass(Calibrated):
    """A class against everything else, of which one logit is known.

    Parameters
    ----------
    truth : Truth
        1 for what is of the class, 0 for what is not.
    class_name : str
        Its name.
    """

    def __init__(self, truth: Truth, class_name: str) -> None:
        super().__init__(truth, [f"not {class_name}", class_name], None)

    def add(self, raw: Tensor, labels: Mapping[str, Tensor], layout: Layout | None, bins: Tensor | None) -> None:
        """Count logits (n, 1)."""
        super().add(torch.cat([torch.zeros_like(raw), raw], -1), labels, layout, bins)


class Flavours(Classification):
    """A flavour tagger: its discriminants, in bins of transverse momentum where asked.

    Parameters
    ----------
    truth, class_names
        As of every `Classification`.
    weight : Tensor | None
        As of `Calibrated`.
    discriminants : Sequence[Discriminant]
        What is looked for, against what.
    options : MetricOptions
        Working points and bins.
    """

    def __init__(
        self,
        truth: Truth,
        class_names: Sequence[str],
        weight: Tensor | None,
        discriminants: Sequence[Discriminant],
        options: MetricOptions,
    ) -> None:
        self.discriminants = list(discriminants)
        self.options = options
        self._weight = weight
        self._places = {name: place for place, name in enumerate(class_names)}
        num_bins = len(options.pt_bins) + 1 if options.pt_bins else 1
        scores = (num_bins, len(discriminants), len(class_names), NUM_BINS)
        super().__init__(truth, class_names, calibration=calibration_shape(), scores=scores)

    def _count(self, answers: Answers, bins: Tensor | None) -> None:
        super()._count(answers, bins)
        count_calibration(self.counts["calibration"], answers, self._weight)
        row = torch.zeros_like(answers.truth) if bins is None else bins
        for number, discriminant in enumerate(self.discriminants):
            key = (row * len(self.discriminants) + number) * len(self.class_names) + answers.truth
            scores = score_bins(self._scores(discriminant, answers.logs))
            tally(self.counts["scores"], key * NUM_BINS + scores, answers.known)

    def _scores(self, discriminant: Discriminant, logs: Tensor) -> Tensor:
        """The discriminant (n,) of log probabilities (K, n)."""
        backgrounds = [logs[self._places[k]] + math.log(f) for k, f in discriminant.fractions.items() if f > 0]
        return logs[self._places[discriminant.signal]] - torch.stack(backgrounds).logsumexp(0)

    def figures(self) -> dict[str, float | None]:
        """Accuracy, calibration error, areas and rejections."""
        scores = self.counts["scores"].cpu().numpy()
        found = super().figures() | {"calibration_error": calibration_error(self.counts["calibration"])}
        found |= self._separation(scores.sum(0), "", MIN_JETS)
        for number, (low, high) in enumerate(pairwise(self.options.pt_bins)):
            found |= self._separation(scores[number], f"_pt_{low:g}_{high:g}", MIN_JETS_IN_BIN)
        return found

    def _separation(self, scores: NDArray, suffix: str, least: int) -> dict[str, float | None]:
        """Areas and rejections of counts (D, K, N)."""
        found: dict[str, float | None] = {}
        for number, (discriminant, signal, background) in self._pairs():
            of = scores[number]
            one, other = of[self._places[signal]], of[self._places[background]]
            enough = min(one.sum(), other.sum()) >= least
            found[f"auc_{signal}_vs_{background}{suffix}"] = area(one, other) if enough else None
            if discriminant.rejects:
                points = self.options.working_points
                values = rejections(one, other, points).tolist() if enough else [None] * len(points)
                of_signal = "" if number == 0 else f"_for_{signal}"
                for point, value in zip(points, values, strict=True):
                    found[f"rejection_{background}_at_{100 * point:g}{of_signal}{suffix}"] = value
        return found

    def _pairs(self) -> Iterator[tuple[int, tuple[Discriminant, str, str]]]:
        """Each discriminant with each of its backgrounds; areas alone are given for pairs not seen before."""
        seen: set[frozenset[str]] = set()
        for number, discriminant in enumerate(self.discriminants):
            for background in discriminant.fractions:
                pair = frozenset((discriminant.signal, background))
                if discriminant.rejects or pair not in seen:
                    yield number, (discriminant, discriminant.signal, background)
                seen.add(pair)


def calibration_shape() -> tuple[int, int]:
    """Per bin of confidence: sums of weights, of weighted confidences, of weights of what is right."""
    return (NUM_CALIBRATION_BINS, 3)


def count_calibration(table: Tensor, answers: Answers, weight: Tensor | None) -> None:
    """Count how sure answers are, and how right; sums are in units of 1 / UNIT."""
    logs, called, truth, known = answers
    confidence = logs.gather(0, called[None])[0].exp()
    amount = known.double() if weight is None else known * weight.to(logs.device).double()[truth]
    of_bin = (confidence * NUM_CALIBRATION_BINS).ceil().long().clamp(1, NUM_CALIBRATION_BINS) - 1
    sums = torch.stack([amount, amount * confidence, amount * (called == truth)], -1) * UNIT
    table.index_add_(0, of_bin, sums.round().long())


def calibration_error(table: Tensor) -> float | None:
    """Mean distance of confidence and accuracy, over the bins (15, 3) as they are filled."""
    weights, confidences, right = table.double().cpu().unbind(-1)
    if weights.sum() < UNIT:
        return None
    return float((right - confidences).abs().sum() / weights.sum())
