"""Upstream's side of the training-step benchmark: padded jets, its own classes with its own defaults.

Started by step.py with the interpreter of the peer's environment, from outside the repository.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from models import SCALES, built, variables
from torch import Tensor
from worker import Arrays, Stepper, facts_of_peer, serve

import salt
from salt.models import SaltModel


def make_model(spec: dict[str, Any], **encoder: Any) -> SaltModel:
    """The tagger, with what upstream's program adds to a config and to tasks; more arguments are the encoder's."""
    config = deepcopy(spec["model"])
    config["init_args"]["encoder"]["init_args"] |= encoder
    for net in config["init_args"]["init_nets"]:
        net |= {"variables": variables(spec), "global_object": "jets"}
    model = built(config)
    for task in model.tasks:
        task.global_object = "jets"
    return model


class Padded(Stepper):
    """Upstream's.

    Parameters
    ----------
    spec : dict[str, Any]
        The line of the table of models.
    trim : bool
        Whether batches end at their longest jet: what upstream's loader does not do.
    encoder : Any
        Arguments of the encoder, beside those of the table.
    """

    def __init__(
        self, spec: dict[str, Any], batches: list[Path], fused: bool, trim: bool, device: str = "cpu", **encoder: Any
    ) -> None:
        super().__init__(make_model(spec, **encoder).train(), batches, fused, device)
        self.slots = {stream: facts["slots"] for stream, facts in spec["streams"].items()}
        self.trim = trim

    def prepare(self, arrays: Arrays) -> tuple[dict, dict, dict]:
        """Inputs, pad masks (True = padding) and labels, as upstream's loader gives them."""
        valid = {stream: self._valid(stream, arrays[f"lengths_{stream}"]) for stream in self.slots}
        inputs = {stream: _padded(arrays[stream], valid[stream], 0) for stream in valid}
        labels = {
            "jets": {"flavour_label": torch.from_numpy(arrays["flavour"])},
            "tracks": {
                "ftagTruthOriginLabel": _padded(arrays["origin"], valid["tracks"], -1),
                "ftagTruthVertexIndex": _padded(arrays["vertex"], valid["tracks"], -1),
            },
        }
        if "object_class" in arrays:
            of_jets = {name: torch.from_numpy(arrays[f"object_{name}"]) for name in SCALES}
            masks_of = _padded(arrays["object_masks"], valid["tracks"], False).transpose(1, 2).contiguous()
            labels["objects"] = {"object_class": torch.from_numpy(arrays["object_class"]), "masks": masks_of, **of_jets}
        masks = {stream: torch.from_numpy(~of) for stream, of in valid.items()}
        return {"jets": torch.from_numpy(arrays["jets"]), **inputs}, masks, labels

    def _valid(self, stream: str, lengths: np.ndarray) -> np.ndarray:
        """(B, slots), whether a slot holds a constituent."""
        slots = max(1, int(lengths.max())) if self.trim else self.slots[stream]
        return np.arange(slots) < lengths[:, None]

    def losses(self, batch: tuple[dict, dict, dict]) -> Mapping[str, Tensor]:
        return self.model(*batch)[1]


def _padded(values: np.ndarray, valid: np.ndarray, filling: int) -> Tensor:
    """Packed rows in their slots."""
    padded = np.full((*valid.shape, *values.shape[1:]), filling, values.dtype)
    padded[valid] = values
    return torch.from_numpy(padded)


def build(spec: dict[str, Any], batches: list[Path], variant: dict[str, Any]) -> Padded:
    return Padded(spec, batches, **variant)


if __name__ == "__main__":
    serve(build, facts_of_peer(salt))
