"""ObjectFinder: what a model with a mask decoder does besides one without.

Shapes: B jets, "..." the constituents of a layout, Q objects that are looked for and M true ones of each jet, C classes
of objects, D width.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from salt.data.names import unknown
from salt.data.objects import OBJECTS
from salt.layout import Layout
from salt.models.maskformer import OBJECT_CLASS, OBJECT_MASKS, Found, MaskDecoder
from salt.models.matching import Matched
from salt.models.object_losses import Truth
from salt.nn.encoder import Tokens
from salt.tasks.base import Task
from salt.types import Batch, Inputs, ObjectSchema, Preds, ragged

MASK_INDEX, MASK_LOGITS = "MaskIndex", "mask_logits"
"""Names of the outputs for constituents: of which object each is, and the logits of its being of each."""

NO_OBJECT = -2
"""Index of a constituent that is of no object."""

MAX_NULL = 0.5
"""An object of more than this probability of being none is none."""


class ObjectFinder:
    """A mask decoder, the tasks on what it finds, and the constituents in which it looks.

    Parameters
    ----------
    decoder : MaskDecoder
        The decoder.
    objects : ObjectSchema | None
        What it is to find, as the data says.
    tasks : Sequence[Task]
        All tasks of the model.
    streams : Sequence[str]
        The streams that the model embeds.
    """

    def __init__(
        self, decoder: MaskDecoder, objects: ObjectSchema | None, tasks: Sequence[Task], streams: Sequence[str]
    ) -> None:
        if objects is None:
            raise ValueError("mask_decoder finds objects, but data.mf_config, which says what they are, is not set")
        if objects.constituents not in streams:
            raise ValueError(unknown("stream", objects.constituents, streams, "init_nets (data.mf_config.constituent)"))
        given, names = decoder.mask_loss.num_classes, objects.class_names
        if given != len(names):
            raise ValueError(
                f"mask_decoder.loss_config.num_classes is {given}, but data.mf_config.object.object_classes has "
                f"{len(names)} besides null: {', '.join(names)}"
            )
        for task in tasks:
            if task.name in {OBJECT_CLASS, OBJECT_MASKS}:
                raise ValueError(f"task {task.name!r}: the mask decoder's own answers have this name: choose another")
        self.decoder = decoder
        self.class_names = list(names)
        self.constituents = objects.constituents
        self.tasks = [task for task in tasks if task.input_name == OBJECTS]

    def find(self, streams: Iterable[Tokens]) -> Found:
        """Objects among the encoded constituents."""
        return self.decoder(next(tokens for tokens in streams if tokens.name == self.constituents))

    def layout(self, inputs: Inputs, house: type[Layout]) -> Layout:
        """Where the constituents are."""
        return house.of(ragged(inputs, self.constituents))[1]

    def match(self, preds: Preds, labels: Mapping[str, Tensor], layout: Layout) -> Matched:
        """Which answer is to be compared with which true object.

        Parameters
        ----------
        preds : Preds
            The decoder's answers, and those (B, Q, ...) of the tasks.
        labels : Mapping[str, Tensor]
            Classes (B, M) and masks (..., M) of the true objects, as `salt.data.objects` has them; labels (B, M) of
            the tasks.
        layout : Layout
            Where the constituents are.
        """
        found = [task.distance(preds[task.name].detach(), labels) for task in self.tasks]
        known = [distance for distance in found if distance is not None]
        truth = Truth(labels["object_class"], labels["masks"])
        return self.decoder.mask_loss.match(preds[OBJECT_CLASS][-1], preds[OBJECT_MASKS][-1], truth, layout, known)

    def losses(self, preds: Preds, batch: Batch, house: type[Layout]) -> dict[str, tuple[Tensor, Tensor]]:
        """Sum and count of each loss of objects: the decoder's own, and those of the tasks."""
        labels, layout, loss = batch.labels[OBJECTS], self.layout(batch.inputs, house), self.decoder.mask_loss
        truth = Truth(labels["object_class"], labels["masks"])
        *earlier, last = zip(preds[OBJECT_CLASS], preds[OBJECT_MASKS], strict=True)
        found: dict[str, tuple[Tensor, Tensor]] = {}
        for number, answers in enumerate(earlier, 1):
            of_layer = loss(*answers, truth, loss.match(*answers, truth, layout), layout)
            found |= {_of_layer(name, number): pair for name, pair in of_layer.items()}
        matched = self.match(preds, labels, layout)
        found |= loss(*last, truth, matched, layout)
        for task in self.tasks:
            found[task.name] = task.loss(*self.paired(task, preds, labels, matched), None)
        return found

    def paired(
        self, task: Task, preds: Preds, labels: Mapping[str, Tensor], matched: Matched
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Rows of a task's answers and of their truth, one for each object that was matched."""
        truth = {name: labels[name][matched.jet, matched.object] for name in task.required_labels()}
        return preds[task.name][matched.jet, matched.query], truth

    def loss_weights(self) -> dict[str, float]:
        """Weights of the decoder's own losses in the total."""
        weights, decoder = self.decoder.mask_loss.weights, self.decoder
        numbers = range(1, len(decoder.layers)) if decoder.aux_loss else ()
        return {_of_layer(name, number): weights[name] for number in numbers for name in weights} | weights

    def outputs(self, preds: Preds, layout: Layout) -> dict[str, dict[str, Tensor]]:
        """Probabilities (B, Q) of the classes, and of each constituent its object (...) and the masks' logits (..., Q).

        A constituent is of that object, among those that are one, whose mask has it with the highest probability, if
        that is above one half.
        """
        probabilities = self.decoder.mask_loss.class_probs(preds[OBJECT_CLASS][-1])
        names = [f"p{name}" for name in [*self.class_names, "null"]]
        logits = preds[OBJECT_MASKS][-1]
        is_null = layout.spread((probabilities[..., -1] > MAX_NULL).to(logits.dtype)) > 0
        best, index = logits.masked_fill(is_null, -torch.inf).max(-1)
        return {
            OBJECT_CLASS: dict(zip(names, probabilities.unbind(-1), strict=True)),
            OBJECT_MASKS: {MASK_INDEX: torch.where(best > 0, index, NO_OBJECT), MASK_LOGITS: logits},
        }


def _of_layer(name: str, number: int) -> str:
    """What a loss of an earlier layer is called."""
    return f"{name}_layer_{number}"
