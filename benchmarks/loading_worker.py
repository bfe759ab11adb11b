"""Our side of the loading benchmark: packed batches, or padded ones like upstream's. Started by loading.py.

Shapes: B jets of a batch, T their tracks, L slots.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from loading_side import Opened, Padded, Side, serve
from torch import Tensor
from training_files import MAX_TRACKS, NO_LABEL

import salt
from salt.data.datamodule import SaltDataModule
from salt.ragged import Ragged, Segments
from salt.training.memory import keep_freed_memory
from salt.types import Batch

PADDING = np.arange(MAX_TRACKS) >= np.arange(MAX_TRACKS + 1)[:, None]
"""(L + 1, L): the masks of all lengths."""


class Ours(Side):
    """Ours."""

    def prepare(self) -> None:
        """Nothing: our data module works without a trainer."""

    def module(self, setting: dict[str, Any]) -> SaltDataModule:
        """Our data module, set up."""
        module = SaltDataModule(
            train_file=setting["file"],
            batch_size=setting["batch_size"],
            num_workers=setting["num_workers"],
            variables=setting["variables"],
            labels=setting["labels"],
            store_dir=setting["store_dir"],
            shuffle=setting["shuffle"],
            window_jets=setting.get("window_jets"),
            seed=0,
        )
        module.setup("fit")
        return module

    def open(self, setting: dict[str, Any]) -> Opened:
        return Opened(self.module(setting).train_dataloader(), CONSUME[setting["batches"]])

    def padded(self, setting: dict[str, Any]) -> Iterator[tuple[np.ndarray, Padded]]:
        """Of a shuffled epoch of the training loader."""
        for batch in self.module(setting).train_dataloader():
            yield batch.index.numpy(), pad(batch)


def pad(batch: Batch) -> Padded:
    """What upstream's loader gives, of the same jets.

    Jets of equal length are neighbours in our batches: each run of them is one copy.
    """
    inputs, masks, labels = {}, {}, {}
    for stream, x in batch.inputs.items():
        of_stream = batch.labels.get(stream, {})
        if isinstance(x, Ragged):
            inputs[stream] = spread(x.values, x.segments, 0)
            masks[stream] = padding(x.segments)
            labels[stream] = {name: spread(values, x.segments, NO_LABEL) for name, values in of_stream.items()}
        else:
            inputs[stream], labels[stream] = x, dict(of_stream)
    return Padded(inputs, masks, labels)


def spread(values: Tensor, segments: Segments, filling: int) -> Tensor:
    """(B, L, ...) of values (T, ...)."""
    width = values[:1].numel() or 1  # numbers of a slot
    padded = torch.empty(segments.num_jets, MAX_TRACKS, *values.shape[1:], dtype=values.dtype)
    source, target = values.numpy(), padded.numpy().reshape(segments.num_jets, -1)
    jet, row = 0, 0
    for jets, length in segments.runs:
        rows, place = jets * length, length * width
        target[jet : jet + jets, :place] = source[row : row + rows].reshape(jets, place)
        target[jet : jet + jets, place:] = filling
        jet, row = jet + jets, row + rows
    return padded


def padding(segments: Segments) -> Tensor:
    """(B, L) bool, True where there is no constituent."""
    return torch.from_numpy(PADDING.take(segments.lengths.numpy(), axis=0))


def consume_packed(batch: Batch) -> tuple[int, Iterable[Tensor]]:
    tensors = [values for of in batch.labels.values() for values in of.values()]
    for x in batch.inputs.values():
        tensors += [x.values, x.offsets] if isinstance(x, Ragged) else [x]
    return len(batch), tensors


def consume_padded(batch: Batch) -> tuple[int, Iterable[Tensor]]:
    return len(batch), pad(batch).tensors().values()


CONSUME = {"packed": consume_packed, "padded": consume_padded}


if __name__ == "__main__":
    keep_freed_memory()  # as `salt fit` does
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    serve(Ours(), {"salt": str(Path(salt.__file__).parent)})
