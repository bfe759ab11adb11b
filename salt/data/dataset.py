"""SaltDataset: jets of a file by their places in it, padded as the file has them, for notebooks and loops of one's own.

Shapes: B jets of a slice, L slots of a stream, F input variables, M slots of objects.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, SupportsIndex

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from salt.data.augment import Augmentation
from salt.data.labeller import LabellerConfig
from salt.data.names import unknown
from salt.data.objects import OBJECTS, MaskformerConfig
from salt.data.parameters import Parameters
from salt.data.reader import Reader
from salt.data.recipes import Options, joined_labels, make_recipe
from salt.data.sources import Pattern, open_sample
from salt.data.splits import FileSplit
from salt.data.transforms import Transform
from salt.ragged import Ragged
from salt.types import PARAMETERS, Schema

STAGES = {"fit": "fit", "train": "fit", "validate": "validate", "val": "validate", "test": "test", "predict": "test"}
"""What a stage may be called -> what it is."""

Item = tuple[dict[str, Tensor], dict[str, Tensor], dict[str, dict[str, Tensor]]]
"""Inputs, pad masks and labels."""


class SaltDataset(Dataset[Item]):
    """Jets of HDF5 files, padded: `inputs, pad_masks, labels = dataset[0:1000]`.

    For a look at a file; training reads packed batches from a store, much faster, see `SaltDataModule`. The file stays
    open, and is read anew for each slice: nothing is written beside it. What a slice gives, by stream:

    - inputs: float32 (B, F), for constituents (B, L, F) with 0 in padded slots; not normalised, that is the model's;
    - pad_masks: bool (B, L) for streams of constituents, True where a slot is padded: not valid, or cut away;
    - labels: by name, int64 or float32, (B,) or (B, L) with -1 or NaN in padded slots. With `mf_config` those
      of `objects` are (B, M), and `object_class` (B, M) and `masks` (B, M, L) are among them.

    L is the number of slots that the file has, or `num_inputs`: constituents stay in their slots. Slices are as those
    of a list, but with a step of 1; `dataset[5]` is `dataset[5:6]`. A torch DataLoader takes it with
    `batch_size=None` and a sampler of slices. Errors name the keys of `data` in a YAML file.

    Parameters
    ----------
    filename : Pattern
        The file: a path, a glob, a URL, or a list of these.
    norm_dict : str | Path | None
        Accepted from code for upstream, and not read.
    variables : Mapping[str, Sequence[str]]
        Stream -> names of its input variables, in column order.
    stage : str
        fit, validate or test: in a test `parameters` have the value to evaluate at.
    num : int
        How many jets, from the first on; -1 for all.
    labeller_config : LabellerConfig | None
        Make the jets' classes from their truth, see `salt.data.labeller`; None takes the file's label.
    labels : Mapping[str, Sequence[str]] | None
        Stream -> its labels; None for no labels.
    mf_config : MaskformerConfig | None
        Objects that are to be found among the constituents; None where there are none.
    input_map : Mapping[str, str] | None
        Stream -> name of its dataset in the file, where the two differ; None where they never do.
    vds_path : str | None
        Accepted from code for upstream, and not read: a glob needs no virtual dataset.
    num_inputs : Mapping[str, int] | None
        Stream -> only the first so many slots; None for all.
    non_finite_to_num : bool
        Replace input values that are NaN or infinite by 0, rather than raise.
    global_object : str
        The stream with one row a jet.
    parameters : Mapping[str, Mapping[str, Any]] | None
        Values of the stream `parameters`, see `salt.data.parameters`; None where the network has no parameters.
    selections : Mapping[str, Sequence[str] | None] | None
        Stream -> cuts that its constituents have to pass, like `d0 < 3.5`; None for no cuts.
    ignore_finite_checks : bool
        Keep input values that are NaN or infinite, rather than raise.
    recover_malformed : bool
        Labels of the truth origin that are malformed become -1.
    transforms : Sequence[Transform] | None
        What is done to the inputs, by the jet: a slice that is read twice gives the same; None for nothing.
    multi_target : Sequence[Mapping[str, Any]] | None
        Targets that come from one field for some jets, from another for others; None for none.
    """

    def __init__(
        self,
        filename: Pattern,
        norm_dict: str | Path | None,
        variables: Mapping[str, Sequence[str]],
        stage: str,
        num: int = -1,
        labeller_config: LabellerConfig | None = None,
        labels: Mapping[str, Sequence[str]] | None = None,
        mf_config: MaskformerConfig | None = None,
        input_map: Mapping[str, str] | None = None,
        vds_path: str | None = None,
        num_inputs: Mapping[str, int] | None = None,
        non_finite_to_num: bool = False,
        global_object: str = "jets",
        parameters: Mapping[str, Mapping[str, Any]] | None = None,
        selections: Mapping[str, Sequence[str] | None] | None = None,
        ignore_finite_checks: bool = False,
        recover_malformed: bool = False,
        transforms: Sequence[Transform] | None = None,
        multi_target: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        if stage not in STAGES:
            raise ValueError(unknown("stage", stage, STAGES, "SaltDataset"))
        for transform in transforms or ():
            if not isinstance(transform, Transform):
                raise TypeError(f"transforms are of salt.data.transforms.Transform, not {type(transform).__name__}")
        self._constituents = mf_config.constituent.name if mf_config else ""  # "": no objects
        if mf_config and self._constituents not in variables:
            raise ValueError(unknown("stream", self._constituents, variables, "variables, asked for by mf_config"))
        self.filename = filename
        self.labels = joined_labels(labels or {}, mf_config.required_labels() if mf_config else {})
        options = Options(
            num_inputs=num_inputs or {},
            selections=selections or {},
            recover_malformed=recover_malformed,
            labeller_config=labeller_config,
            multi_target=multi_target or (),
            mf_config=mf_config,
            non_finite="zero" if non_finite_to_num else "keep" if ignore_finite_checks else "raise",
        )
        named = {stream: list(names) for stream, names in variables.items()}
        schema = Schema(named, global_object, dict(input_map or {}))
        self._recipe = make_recipe(schema, self.labels, options)
        drawn = Parameters(parameters, named.get(PARAMETERS)) if parameters else None
        self._augmentation = Augmentation(named, transforms or (), drawn, STAGES[stage], objects=mf_config)
        self._opened: tuple[int, FileSplit] | None = None
        sample = self._split().reader.sample
        if num < -1 or num == 0 or num > sample.num_jets:
            raise ValueError(f"num is {num}, but {sample.files[0].path} has {sample.num_jets} jets; -1 takes all")
        self._num = sample.num_jets if num == -1 else num

    def __len__(self) -> int:
        return self._num

    def __getitem__(self, index: slice | SupportsIndex) -> Item:
        """Inputs, pad masks and labels of these jets, in the order of the file."""
        first, count = self._range(index)
        split = self._split()
        batch = self._augmentation(split.read([(first, count)]).gather(np.arange(first, first + count)), epoch=0)
        jets = batch.index.numpy() - first  # sorted by their lengths
        order = jets.argsort()
        pads = {stream: pad[jets] for stream, pad in _pads(split.reader, first, count).items()}
        inputs = {
            stream: _padded(x.values if isinstance(x, Ragged) else x, pads.get(stream), order, 0)
            for stream, x in batch.inputs.items()
        }
        found = {stream: dict(of) for stream, of in (batch.labels or batch.columns).items()}  # columns in a test
        masks = found[OBJECTS].pop("masks") if self._constituents else None
        labels = {s: {k: _padded(x, pads.get(s), order, _missing(x)) for k, x in of.items()} for s, of in found.items()}
        if masks is not None:
            labels[OBJECTS]["masks"] = _padded(masks, pads[self._constituents], order, 0).transpose(1, 2)
        return inputs, {s: torch.from_numpy(pad[order]) for s, pad in pads.items() if s in inputs}, labels

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}

    def _split(self) -> FileSplit:
        """The open files, which another process opens for itself: HDF5 does not survive a fork."""
        process = os.getpid()
        if self._opened is None or self._opened[0] != process:
            with ExitStack() as stack:
                sample = stack.enter_context(open_sample(self.filename, "filename"))
                reader = Reader(sample, self._recipe, "filename")
                stack.pop_all()
            self._opened = process, FileSplit(reader, reader.num_jets, self.labels)
        return self._opened[1]

    def _range(self, index: slice | SupportsIndex) -> tuple[int, int]:
        """The first jet that is asked for, and how many."""
        if isinstance(index, slice):
            first, stop, step = index.indices(len(self))
            if step != 1 or stop <= first:
                raise ValueError(f"{index} of {len(self)} jets: ask for one jet or more, with a step of 1")
            return first, stop - first
        if not isinstance(index, SupportsIndex):
            raise TypeError(f"jets are asked for by a slice, dataset[0:1000], or one by its place, not by {index!r}")
        first = range(len(self))[index]  # IndexError beyond the end
        return first, 1


def _pads(reader: Reader, first: int, count: int) -> dict[str, NDArray[np.bool_]]:
    """Stream of constituents -> (B, L) True where a slot is not read."""
    jets = reader.jets.read(first, count)
    streams = {name: of for name, of in reader.streams.items() if of.is_ragged and not of.recipe.keeps_all}
    return {name: ~of.kept(of.table.read(first, count), jets) for name, of in streams.items()}


def _padded(values: Tensor, pad: NDArray[np.bool_] | None, order: NDArray[np.int64], padding: float) -> Tensor:
    """(B, L, ...) values (T, ...) in the slots that are not padded (B, L), or as they are; jets in this order (B,).

    By numpy: threads of torch take ten times as long where others use the cores.
    """
    rows = values.numpy()
    if pad is not None:
        slots = np.full((*pad.shape, *rows.shape[1:]), padding, rows.dtype)
        slots[~pad] = rows
        rows = slots
    return torch.from_numpy(rows[order])


def _missing(values: Tensor) -> float:
    """What a label is where no constituent is."""
    return math.nan if values.is_floating_point() else -1
