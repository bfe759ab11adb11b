"""Our side of the training-step benchmark: packed jets, fused AdamW. Started by step.py."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from worker import Arrays, Stepper, serve

import salt
from salt.models import ClassificationTask, GlobalAttentionPooling, SaltModel, Transformer, VertexingTask
from salt.ragged import Ragged
from salt.training.memory import keep_freed_memory
from salt.types import Batch, Schema


def make_model(sizes: dict[str, Any]) -> SaltModel:
    """The tagger with the parameters that upstream's has."""
    width, out, hidden = sizes["embed_dim"], sizes["out_dim"], sizes["task_hidden"]

    def head(inputs: int, outputs: int, context: int = 0) -> dict[str, Any]:
        return {
            "input_size": inputs,
            "output_size": outputs,
            "hidden_layers": hidden,
            "activation": "ReLU",
            "context_size": context,
        }

    return SaltModel(
        schema=Schema(variables=sizes["variables"], global_object="jets"),
        init_nets=[
            {
                "input_name": "tracks",
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


class Packed(Stepper):
    """Ours."""

    def prepare(self, arrays: Arrays) -> Batch:
        """Jets sorted by their number of tracks, as the loader hands them over."""
        lengths = arrays["lengths"]
        order = np.argsort(lengths, kind="stable")
        starts = np.cumsum(lengths) - lengths
        rows = np.concatenate([np.arange(starts[jet], starts[jet] + lengths[jet]) for jet in order])
        take = {name: torch.from_numpy(arrays[name][rows]) for name in ("tracks", "origin", "vertex")}
        return Batch(
            inputs={
                "jets": torch.from_numpy(arrays["jets"][order]),
                "tracks": Ragged.from_lengths(take["tracks"], torch.from_numpy(lengths[order])),
            },
            labels={
                "jets": {"flavour_label": torch.from_numpy(arrays["flavour"][order])},
                "tracks": {"ftagTruthOriginLabel": take["origin"], "ftagTruthVertexIndex": take["vertex"]},
            },
            index=torch.from_numpy(order),
        )

    def losses(self, batch: Batch) -> Mapping[str, Tensor]:
        preds = self.model(batch.inputs)
        parts = self.model.losses(preds, batch)
        return {task.name: task.weight * parts[task.name][0] / parts[task.name][1] for task in self.model.tasks}


def build(sizes: dict[str, Any], batches: list[Path], variant: dict[str, bool]) -> Packed:
    return Packed(make_model(sizes).train(), batches, fused=variant["fused"])


if __name__ == "__main__":
    keep_freed_memory()  # as `salt fit` does
    serve(build, {"salt": str(Path(salt.__file__).parent)})
