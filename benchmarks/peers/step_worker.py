"""Upstream's side of the training-step benchmark: padded jets, its own classes with its own defaults.

Started by step.py with the interpreter of the peer's environment, from outside the repository.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from worker import Arrays, Stepper, facts_of_peer, serve

import salt
from salt.models import ClassificationTask, GlobalAttentionPooling, SaltModel, Transformer, VertexingTask

MAX_TRACKS = 40


def make_model(sizes: dict[str, Any]) -> SaltModel:
    """The tagger, by the argument names that a YAML for upstream gives."""
    width, out, hidden = sizes["embed_dim"], sizes["out_dim"], sizes["task_hidden"]

    def head(inputs: int, outputs: int, context: int = 0) -> dict[str, Any]:
        return {
            "input_size": inputs,
            "output_size": outputs,
            "hidden_layers": hidden,
            "activation": "ReLU",
            "context_size": context,
        }

    model = SaltModel(
        init_nets=[
            {
                "input_name": "tracks",
                "variables": sizes["variables"],
                "global_object": "jets",
                "dense_config": {"output_size": width, "hidden_layers": [width], "activation": "ReLU"},
            }
        ],
        encoder=Transformer(
            num_layers=sizes["num_layers"],
            embed_dim=width,
            out_dim=out,
            norm="LayerNorm",
            attn_kwargs={"num_heads": sizes["num_heads"]},
            dense_kwargs={"activation": "ReLU", "gated": False},
        ),
        pool_net=GlobalAttentionPooling(input_size=out),
        tasks=nn.ModuleList(
            [
                ClassificationTask(
                    name="jets_classification",
                    input_name="jets",
                    label="flavour_label",
                    class_names=sizes["flavours"],
                    loss=nn.CrossEntropyLoss(),
                    dense_config=head(out, 4),
                ),
                ClassificationTask(
                    name="track_origin",
                    input_name="tracks",
                    label="ftagTruthOriginLabel",
                    weight=0.5,
                    loss=nn.CrossEntropyLoss(),
                    dense_config=head(out, 8, out),
                ),
                VertexingTask(
                    name="track_vertexing",
                    input_name="tracks",
                    label="ftagTruthVertexIndex",
                    weight=1.5,
                    loss=nn.BCEWithLogitsLoss(reduction="none"),
                    dense_config=head(2 * out, 1, out),
                ),
            ]
        ),
    )
    for task in model.tasks:  # upstream's LightningModule does this
        task.global_object = "jets"
    return model


class Padded(Stepper):
    """Upstream's.

    Parameters
    ----------
    trim : bool
        Whether batches end at their longest jet: what upstream's loader does not do.
    """

    def __init__(self, model: nn.Module, batches: list[Path], fused: bool, trim: bool) -> None:
        super().__init__(model, batches, fused)
        self.trim = trim

    def prepare(self, arrays: Arrays) -> tuple[dict, dict, dict]:
        """Inputs, pad masks (True = padding) and labels, as upstream's loader gives them."""
        lengths = arrays["lengths"]
        slots = max(1, int(lengths.max())) if self.trim else MAX_TRACKS
        valid = np.arange(slots) < lengths[:, None]  # (B, slots)

        def pad(values: np.ndarray, filling: int) -> Tensor:
            padded = np.full((*valid.shape, *values.shape[1:]), filling, values.dtype)
            padded[valid] = values
            return torch.from_numpy(padded)

        inputs = {"jets": torch.from_numpy(arrays["jets"]), "tracks": pad(arrays["tracks"], 0)}
        labels = {
            "jets": {"flavour_label": torch.from_numpy(arrays["flavour"])},
            "tracks": {
                "ftagTruthOriginLabel": pad(arrays["origin"], -1),
                "ftagTruthVertexIndex": pad(arrays["vertex"], -1),
            },
        }
        return inputs, {"tracks": torch.from_numpy(~valid)}, labels

    def losses(self, batch: tuple[dict, dict, dict]) -> Mapping[str, Tensor]:
        return self.model(*batch)[1]


def build(sizes: dict[str, Any], batches: list[Path], variant: dict[str, bool]) -> Padded:
    return Padded(make_model(sizes).train(), batches, fused=variant["fused"], trim=variant["trim"])


if __name__ == "__main__":
    serve(build, facts_of_peer(salt))
