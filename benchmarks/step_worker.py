"""Our side of the training-step benchmark: packed jets, fused AdamW. Started by step.py."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from models import SCALES, built, variables
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula
from worker import Arrays, Stepper, serve

import salt
from salt.cli.class_paths import rewritten
from salt.models import SaltModel
from salt.ragged import Ragged
from salt.training.memory import keep_freed_memory
from salt.types import Batch, ObjectSchema, Schema


def make_model(spec: dict[str, Any]) -> SaltModel:
    """The model with the parameters that upstream's has."""
    config, objects = rewritten(spec["model"]), None
    if "objects" in spec:
        objects = ObjectSchema("tracks", spec["objects"]["classes"])
        config["init_args"]["mask_decoder"]["init_args"]["loss_config"]["mask_slots"] = spec["streams"]["tracks"][
            "slots"
        ]
    schema = Schema(variables=variables(spec), global_object="jets", objects=objects)
    return built(config, schema=schema)


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
        self.weights = self.model.loss_weights()
        if "objects" in spec:  # as upstream weighs: see step.py
            shares, slots = spec["objects"]["shares"], spec["objects"]["slots"]
            self.weights["regression"] *= sum(number * share for number, share in enumerate(shares)) / slots

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
        labels = {
            "jets": {"flavour_label": torch.from_numpy(arrays["flavour"][order])},
            "tracks": {"ftagTruthOriginLabel": origin, "ftagTruthVertexIndex": vertex},
        }
        if "object_class" in arrays:
            of_jets = {name: torch.from_numpy(arrays[f"object_{name}"][order]) for name in SCALES}
            classes = torch.from_numpy(arrays["object_class"][order])
            masks = torch.from_numpy(arrays["object_masks"][rows["tracks"]])
            labels["objects"] = {"object_class": classes, "masks": masks, **of_jets}
        inputs = {"jets": torch.from_numpy(arrays["jets"][order]), **inputs}
        return Batch(inputs, labels, index=torch.from_numpy(order))

    def losses(self, batch: Batch) -> Mapping[str, Tensor]:
        preds = self.model(batch.inputs)
        parts = self.model.losses(preds, batch)
        return {name: self.weights[name] * total / count for name, (total, count) in parts.items()}

    def load(self, path: Path) -> None:
        """Take the parameters of upstream, under our names."""
        saved = torch.load(path, weights_only=True)
        self.take({name.replace("inital_q", "queries"): weight for name, weight in saved.items()})


def _rows(lengths: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Rows of the constituents of jets in this order."""
    starts = np.cumsum(lengths) - lengths
    return np.concatenate([np.arange(starts[jet], starts[jet] + lengths[jet]) for jet in order])


def build(spec: dict[str, Any], batches: list[Path], variant: dict[str, Any]) -> Packed:
    return Packed(spec, batches, fused=variant["fused"], device=variant.get("device", "cpu"))


if __name__ == "__main__":
    keep_freed_memory()  # as `salt fit` does
    serve(build, {"salt": str(Path(salt.__file__).parent)})
