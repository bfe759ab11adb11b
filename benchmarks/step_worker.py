"""Our side of the training-step benchmark: packed jets, fused AdamW. Started by step.py."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from models import built, variables
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula
from worker import Arrays, Stepper, serve

import salt
from salt.models import SaltModel
from salt.ragged import Ragged
from salt.training.memory import keep_freed_memory
from salt.types import Batch, Schema


def make_model(spec: dict[str, Any]) -> SaltModel:
    """The tagger with the parameters that upstream's has."""
    return built(spec["model"], schema=Schema(variables=variables(spec), global_object="jets"))


@register_flop_formula(torch.ops.salt.attend_runs, get_raw=True)
def _attention(qkv: Tensor, offsets: Tensor, *_: Any, **__: Any) -> int:
    """Two products of each pair of tokens of a jet."""
    _, _, heads, width = qkv.shape
    return 4 * heads * width * int(offsets.diff().square().sum())


@register_flop_formula(torch.ops.salt.attend_runs_backward, get_raw=True)
def _attention_backward(grad: Tensor, *tensors: Any, **_: Any) -> int:
    """Four products."""
    _, heads, width = grad.shape
    offsets = tensors[4]
    return 8 * heads * width * int(offsets.diff().square().sum())


class Packed(Stepper):
    """Ours.

    Parameters
    ----------
    spec : dict[str, Any]
        The line of the table of models.
    """

    def __init__(self, spec: dict[str, Any], batches: list[Path], fused: bool, device: str = "cpu") -> None:
        super().__init__(make_model(spec).train(), batches, fused, device)
        self.streams = list(spec["streams"])

    def prepare(self, arrays: Arrays) -> Batch:
        """Jets sorted by their number of tracks, as the loader hands them over."""
        order = np.argsort(arrays["lengths_tracks"], kind="stable")
        rows = {stream: _rows(arrays[f"lengths_{stream}"], order) for stream in self.streams}
        inputs = {
            stream: Ragged.from_lengths(
                torch.from_numpy(arrays[stream][rows[stream]]), torch.from_numpy(arrays[f"lengths_{stream}"][order])
            )
            for stream in self.streams
        }
        origin, vertex = (torch.from_numpy(arrays[name][rows["tracks"]]) for name in ("origin", "vertex"))
        return Batch(
            inputs={"jets": torch.from_numpy(arrays["jets"][order]), **inputs},
            labels={
                "jets": {"flavour_label": torch.from_numpy(arrays["flavour"][order])},
                "tracks": {"ftagTruthOriginLabel": origin, "ftagTruthVertexIndex": vertex},
            },
            index=torch.from_numpy(order),
        )

    def losses(self, batch: Batch) -> Mapping[str, Tensor]:
        preds = self.model(batch.inputs)
        parts = self.model.losses(preds, batch)
        return {task.name: task.weight * parts[task.name][0] / parts[task.name][1] for task in self.model.tasks}


def _rows(lengths: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Rows of the constituents of jets in this order."""
    starts = np.cumsum(lengths) - lengths
    return np.concatenate([np.arange(starts[jet], starts[jet] + lengths[jet]) for jet in order])


def build(spec: dict[str, Any], batches: list[Path], variant: dict[str, Any]) -> Packed:
    return Packed(spec, batches, fused=variant["fused"], device=variant.get("device", "cpu"))


if __name__ == "__main__":
    keep_freed_memory()  # as `salt fit` does
    serve(build, {"salt": str(Path(salt.__file__).parent)})
