"""ObjectTables: what a test says of the objects of each jet, beside the truth where the test file has it.

Shapes: n jets of a batch, t constituents of it, L slots for constituents, Q objects that are found in each jet, M slots
for objects in the file.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from torch import Tensor

from salt.data.evaluation import Column, EvaluationFile, file_order
from salt.data.objects import NULL_ID, OBJECTS, MaskformerConfig
from salt.models.maskformer import OBJECT_CLASS, OBJECT_MASKS
from salt.models.object_finder import MASK_INDEX, MASK_LOGITS
from salt.ragged import Segments
from salt.tasks.base import Task

warn = rank_zero_only(logging.getLogger(__name__).warning)

Outputs = Mapping[str, Mapping[str, Tensor]]
"""Task, or part of the decoder -> name -> values."""

NO_CONSTITUENT = -1
"""MaskIndex of a slot without a constituent."""


class ObjectTables:
    """Writes the dataset of objects (n, Q), and that of their masks, `object_masks` (n, Q, L).

    Parameters
    ----------
    config : MaskformerConfig
        The objects.
    output : EvaluationFile
        Where to.
    tasks : Sequence[Task]
        The tasks on objects.
    extra_vars : Mapping[str, Sequence[str]] | None
        Stream -> fields of the test file to copy; None copies all.
    half_precision : bool
        Write predictions as float16.
    """

    def __init__(
        self,
        config: MaskformerConfig,
        output: EvaluationFile,
        tasks: Sequence[Task],
        extra_vars: Mapping[str, Sequence[str]] | None,
        half_precision: bool = False,
    ) -> None:
        self.constituents = config.constituent.name
        self._config = config
        self._output = output
        self._tasks = list(tasks)
        self._half_precision = half_precision
        sample, name = output.reader.sample, config.object.name
        self._table = sample.table(name, "data.mf_config.object.name") if name in sample.names() else None
        there = [] if self._table is None else list(self._table.dtype.names or ())
        self._fields = there if extra_vars is None else [f for f in extra_vars.get(OBJECTS, ()) if f in there]
        self._has_classes = {config.object.id_label, config.object.class_label} <= set(there)
        of_constituents = output.reader.streams[self.constituents].table.dtype.names or ()
        self._has_masks = self._has_classes and config.constituent.id_label in of_constituents

    def columns(self, outputs: Outputs, model: str) -> dict[str, Column]:
        """The column of constituents that says which object each is of."""
        index = as_array(outputs[OBJECT_MASKS][MASK_INDEX], self._half_precision)
        return {f"{model}_{MASK_INDEX}": Column(index, NO_CONSTITUENT)}

    def write(self, outputs: Outputs, model: str, index: np.ndarray, segments: Segments) -> None:
        """Append the jets of a batch, whose constituents lie in these segments."""
        predictions: dict[str, np.ndarray] = {}
        for name in [*(task.name for task in self._tasks), OBJECT_CLASS]:
            for column, values in outputs[name].items():
                predictions[f"{model}_{column}"] = as_array(values, self._half_precision)
        logits = as_array(outputs[OBJECT_MASKS][MASK_LOGITS], self._half_precision)  # (t, Q)
        records = self._records(index, logits.shape[1])
        classes = self._classes(records) if records is not None and self._has_classes else None
        self._write_objects(predictions, records, classes, index)
        self._write_masks(logits, records, classes, index, segments)

    def _records(self, index: np.ndarray, num_queries: int) -> np.ndarray | None:
        """(n, Q) records of the file's own objects; None where it has none, or another number of them."""
        if self._table is not None and self._table.shape[1:] != (num_queries,):
            warn(
                "%s has %s slots for objects, and the mask decoder %d queries (num_objects): the truth is not copied",
                self._table.where,
                " x ".join(map(str, self._table.shape[1:])),
                num_queries,
            )
            self._table = None
        return None if self._table is None else self._output.records(self._table, index)

    def _classes(self, records: np.ndarray) -> np.ndarray:
        """(n, M) class of each object, as the model numbers them."""
        raw = records[self._config.object.class_label].astype(np.int64)
        return self._config.object.mapped(torch.from_numpy(raw)).numpy()

    def _write_objects(
        self,
        predictions: Mapping[str, np.ndarray],
        records: np.ndarray | None,
        classes: np.ndarray | None,
        index: np.ndarray,
    ) -> None:
        fields = [field for field in self._fields if field not in predictions] if records is not None else []
        dtype: list[Any] = [(field, records.dtype[field]) for field in fields] if records is not None else []
        dtype += [(column, values.dtype) for column, values in predictions.items()]
        dtype += [("class_label", np.int64)] if classes is not None else []
        rows = np.empty(next(iter(predictions.values())).shape, dtype)
        if records is not None:
            for field in fields:
                rows[field] = records[field]
        if classes is not None:
            rows["class_label"] = classes
        order = file_order(index)
        for column, values in predictions.items():
            rows[column][order] = values
        attrs = {} if self._table is None else self._table.attrs
        self._output.append(self._config.object.name, attrs, rows, list(predictions), index)

    def _write_masks(
        self,
        logits: np.ndarray,
        records: np.ndarray | None,
        classes: np.ndarray | None,
        index: np.ndarray,
        segments: Segments,
    ) -> None:
        lowest = float(np.finfo(logits.dtype).min)
        padded = self._output.padded(self.constituents, logits, lowest, index, segments).transpose(0, 2, 1)  # (n, Q, L)
        has_truth = records is not None and classes is not None and self._has_masks
        dtype: list[Any] = [("truth_mask", np.int64)] if has_truth else []
        rows = np.empty(padded.shape, [*dtype, (MASK_LOGITS, padded.dtype)])
        rows[MASK_LOGITS] = padded
        if records is not None and classes is not None and self._has_masks:
            rows["truth_mask"] = self._true_masks(records[self._config.object.id_label], classes, index)
        self._output.append("object_masks", {}, rows, [MASK_LOGITS], index)

    def _true_masks(self, ids: np.ndarray, classes: np.ndarray, index: np.ndarray) -> np.ndarray:
        """(n, M, L) whether the constituent in the slot is of the object."""
        table = self._output.reader.streams[self.constituents].table
        of = self._output.records(table, index)[self._config.constituent.id_label]  # (n, L)
        real = (ids != NULL_ID) & (classes != self._config.object.null_class)
        kept = np.zeros(of.shape, bool)
        read = self._output.kept(self.constituents, index)
        kept[:, : read.shape[1]] = read
        return (of[:, None] == ids[..., None]) & real[..., None] & kept[:, None]


def as_array(values: Tensor, half_precision: bool) -> np.ndarray:
    """Predictions in the type that the file has."""
    if values.is_floating_point():
        return values.detach().to("cpu", torch.float16 if half_precision else torch.float32).numpy()
    return values.detach().to("cpu", torch.int64).numpy()
