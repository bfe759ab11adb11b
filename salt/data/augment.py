"""Augmentation: what is done to the jets of a batch, new in each epoch, the same whoever gathers them.

Shapes: B jets of a batch, T constituents, F input variables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from salt.data.objects import OBJECTS, MaskformerConfig, with_objects
from salt.data.parameters import Parameters
from salt.data.transforms import Transform
from salt.ragged import Ragged
from salt.types import PARAMETERS, Batch


class Augmentation:
    """Changes the inputs of batches that were just gathered, and that nobody else has seen yet.

    What a test reads besides its inputs becomes the batch's columns.

    Parameters
    ----------
    variables : Mapping[str, Sequence[str]]
        Stream -> its input variables, in column order.
    transforms : Sequence[Transform]
        Applied one after the other; none outside training.
    parameters : Parameters | None
        Values of the stream `parameters`; None where there is no such stream.
    stage : str
        fit, validate or test.
    seed : int
        What is random depends on it, the epoch and the jet alone.
    objects : MaskformerConfig | None
        Objects whose classes and masks are added to the labels; None for none.
    """

    def __init__(
        self,
        variables: Mapping[str, Sequence[str]],
        transforms: Sequence[Transform] = (),
        parameters: Parameters | None = None,
        stage: str = "fit",
        seed: int = 0,
        objects: MaskformerConfig | None = None,
    ) -> None:
        self.variables = {stream: list(names) for stream, names in variables.items()}
        self.transforms = list(transforms)
        self.parameters = parameters
        self.stage = stage
        self.seed = seed
        self.objects = objects

    def __call__(self, batch: Batch, epoch: int) -> Batch:
        """The batch, changed."""
        if self.objects is not None and OBJECTS in batch.labels:
            batch = with_objects(batch, self.objects)
        if self.stage == "test":  # where no label is read: what is read besides the inputs is for physical values
            batch = batch.changed(labels={}, columns=batch.labels)
        if not self.transforms and self.parameters is None:
            return batch
        words = [self.seed % 2**64, epoch if self.stage == "fit" else 0]  # epochs are to be validated alike
        key = int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0])
        jets = batch.index.numpy()
        inputs = {stream: self._changed(stream, values, jets, key) for stream, values in batch.inputs.items()}
        if self.parameters is not None:
            own = inputs.get(PARAMETERS)  # a test needs none
            drawn = self.parameters.values(self.stage, _array(own, len(jets), self.variables), jets, key)
            inputs[PARAMETERS] = torch.from_numpy(drawn)
        return batch.changed(inputs=inputs)

    def _changed(self, stream: str, values: Tensor | Ragged, jets: NDArray, key: int) -> Tensor | Ragged:
        """Inputs of a stream, transformed."""
        if not isinstance(values, Ragged):
            return self._transformed(stream, values, jets, np.zeros(len(jets), np.int64), key)
        segments = values.segments
        owner = np.repeat(np.arange(len(jets)), segments.lengths.numpy())
        places = np.arange(len(owner)) - segments.offsets.numpy()[owner]
        return values.with_values(self._transformed(stream, values.values, jets[owner], places, key))

    def _transformed(self, stream: str, values: Tensor, jets: NDArray, places: NDArray, key: int) -> Tensor:
        array = values.numpy()
        for number, transform in enumerate(self.transforms):
            array = transform.apply(stream, array, self.variables[stream], jets, places, key + number)
        return torch.from_numpy(array)


def _array(values: Tensor | Ragged | None, num_jets: int, variables: Mapping[str, Sequence[str]]) -> NDArray:
    """(B, P) values that the file has of the parameters; zeros where it has none."""
    if isinstance(values, Tensor):
        return values.numpy()
    return np.zeros((num_jets, len(variables.get(PARAMETERS, ()))), np.float32)
