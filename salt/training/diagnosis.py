"""What was not finite in a step: which task, which jets, and where it came from.

Shapes: B jets of a batch, T constituents of a batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from salt.ragged import Ragged
from salt.training.module import SaltModule
from salt.types import Batch

MOST_JETS = 10
"""So many jets are looked for, and named."""


class Place(NamedTuple):
    """A batch, and when it came."""

    batch: Batch
    number: int
    epoch: int
    stage: str

    def __str__(self) -> str:
        return f"batch {self.number} of the {self.stage} of epoch {self.epoch} (both count from 0)"


class Diagnosis(NamedTuple):
    """What was not finite at a place.

    Parameters
    ----------
    place
        The batch.
    tasks
        Task -> sum of its losses, where that is not finite.
    jets
        Positions in the batch of jets whose own loss, without dropout, is not finite; at most `MOST_JETS`.
    inputs
        `stream.variable` of inputs that are not finite.
    weights
        Parameters that are not finite.
    gradients
        Parameters whose gradients are not finite.
    is_late
        The optimiser has stepped since, so that weights and gradients are those of later.
    """

    place: Place
    tasks: dict[str, float]
    jets: list[int]
    inputs: list[str]
    weights: list[str]
    gradients: list[str]
    is_late: bool

    def lines(self, file: str) -> Iterator[str]:
        """What there is to say, to whoever reads; `file` is what the batch's rows are rows of."""
        where = ", ".join(f"{task} ({value})" for task, value in self.tasks.items())
        if self.tasks:
            yield f"the loss is not finite: {where} in {self.place}"
        else:
            yield f"gradients are not finite, though all losses are, in {self.place}"
        if self.jets:
            rows = self.place.batch.index[self.jets].tolist()
            yield f"  jets: {_listed(self.jets)} of the batch, which are the rows {_listed(rows)} of {file}"
        elif self.tasks and self.weights:
            yield "  jets: cannot be told from weights that are not finite"
        elif self.tasks:
            yield "  jets: each jet alone, without dropout, has a finite loss"
        kinds = {"inputs": self.inputs}
        if not self.is_late:
            kinds |= {"weights": self.weights, "gradients": self.gradients}
        for kind, names in kinds.items():
            yield f"  {kind}: {'not finite: ' + _listed(names) if names else 'all finite'}"
        if self.is_late:
            yield "  weights, gradients: not known; the step was taken before it was looked at"

    def mend(self) -> str:
        """What to do about it."""
        if self.inputs:
            return "correct the file, or leave these variables out"
        if self.weights and not self.is_late:
            return "begin again from an earlier checkpoint, with a lower model.lrs_config.max"
        if self.jets:
            return "look at these jets; a label or an input may be beyond all measure"
        return "lower model.lrs_config.max, set trainer.gradient_clip_val, or train with trainer.precision=32-true"


def diagnose(module: SaltModule, place: Place, losses: Mapping[str, Tensor], is_late: bool = False) -> Diagnosis:
    """Look at everything that a step reads and makes; it may take as long as many steps."""
    tasks = {task: float(total) for task, total in losses.items() if not bool(total.isfinite().all())}
    parameters = dict(module.named_parameters())
    weights = [name for name, p in parameters.items() if not bool(p.isfinite().all())]
    gradients = [name for name, p in parameters.items() if p.grad is not None and not bool(p.grad.isfinite().all())]
    jets: list[int] = []
    if tasks and not weights:
        module.eval()
        with torch.no_grad():
            jets = list(_bad_jets(module, place.batch, torch.arange(len(place.batch), device=place.batch.index.device)))
    inputs = [
        f"{stream}.{name}"
        for stream, x in place.batch.inputs.items()
        for name, column in zip(module.model.schema.variables[stream], _values(x).T, strict=True)
        if not bool(column.isfinite().all())
    ]
    return Diagnosis(place, tasks, jets[:MOST_JETS], inputs, weights, gradients, is_late)


def _bad_jets(module: SaltModule, batch: Batch, jets: Tensor) -> Iterator[int]:
    """Jets whose own losses are not finite: a part of the batch that is not is halved, until it is one jet."""
    part = subset(batch, jets)
    losses = module.model.losses(module(part.inputs), part)
    if all(bool(total.isfinite().all()) for total, _ in losses.values()):
        return
    if len(jets) == 1:
        yield int(jets)
        return
    found = 0
    for half in jets.tensor_split(2):
        for jet in _bad_jets(module, batch, half):
            yield jet
            found += 1
            if found == MOST_JETS:
                return


def subset(batch: Batch, jets: Tensor) -> Batch:
    """Some jets of a batch, at positions (b,), in rising order."""
    kept = torch.zeros(len(batch), dtype=torch.bool, device=jets.device).index_fill_(0, jets, True)
    inputs: dict[str, Tensor | Ragged] = {}
    labels: dict[str, dict[str, Tensor]] = {}
    for stream in {*batch.inputs, *batch.labels}:
        x = batch.inputs.get(stream)
        rows = kept[x.segments.owner] if isinstance(x, Ragged) else kept
        if isinstance(x, Ragged):
            inputs[stream] = Ragged.from_lengths(x.values[rows], x.segments.lengths[kept])
        elif x is not None:
            inputs[stream] = x[rows]
        labels[stream] = {name: values[rows] for name, values in batch.labels.get(stream, {}).items()}
    return Batch(inputs, labels, batch.index[kept])


def contents(diagnosis: Diagnosis, module: SaltModule) -> dict[str, Any]:
    """What a file for inspection holds: tensors, numbers and texts only, so that `weights_only` loads it."""
    batch = diagnosis.place.batch
    return {
        "stage": diagnosis.place.stage,
        "epoch": diagnosis.place.epoch,
        "batch": diagnosis.place.number,
        "losses": diagnosis.tasks,
        "jets": torch.tensor(diagnosis.jets, dtype=torch.int64),
        "index": batch.index.cpu(),
        "inputs": {stream: _values(x).cpu() for stream, x in batch.inputs.items()},
        "lengths": {s: x.segments.lengths.cpu() for s, x in batch.inputs.items() if isinstance(x, Ragged)},
        "labels": {s: {name: values.cpu() for name, values in of.items()} for s, of in batch.labels.items()},
        "state_dict": {name: values.cpu() for name, values in module.state_dict().items()},
    }


def save(path: Path, diagnosis: Diagnosis, module: SaltModule) -> None:
    """Write the file, under another name until it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    try:
        torch.save(contents(diagnosis, module), temporary)
        temporary.rename(path)
    finally:
        temporary.unlink(missing_ok=True)


def _values(x: Tensor | Ragged) -> Tensor:
    return x.values if isinstance(x, Ragged) else x


def _listed(values: list[Any]) -> str:
    more = len(values) - MOST_JETS
    return ", ".join(map(str, values[:MOST_JETS])) + (f" and {more} more" if more > 0 else "")
