"""A tagger with all tasks and a batch with awkward jets, for tests of the model."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from salt.models import ClassificationTask, GlobalAttentionPooling, SaltModel, Transformer, VertexingTask
from salt.ragged import Ragged
from salt.types import Batch, Schema

LENGTHS = [0, 0, 1, 1, 2, 3, 3, 3, 5, 9, 12, 12, 40]
"""Tracks of each jet: none, one, several of the same number, as many as a file holds."""


@pytest.fixture
def schema() -> Schema:
    return Schema({"jets": ["pt", "eta"], "tracks": ["d0", "z0", "phi"], "flows": ["pt", "eta", "phi", "energy"]})


@pytest.fixture
def make_model(schema: Schema) -> Callable[..., SaltModel]:
    def make(streams=("tracks",), encoder=True, tasks=("jet", "origin", "vertex"), dtype=torch.float64, **kwargs):
        torch.manual_seed(3)

        def dense(inputs: int, outputs: int, **more) -> dict:
            return {"input_size": inputs, "output_size": outputs, "hidden_layers": [7], "activation": "SiLU", **more}

        heads = {
            "jet": ClassificationTask("jets_classification", "jets", "flavour", dense(6, 3)),
            "origin": ClassificationTask(
                "track_origin",
                "tracks",
                "ftagTruthOriginLabel",
                dense(6, 8, context_size=6, activation="ReLU"),
                loss=nn.CrossEntropyLoss(weight=torch.linspace(1, 2, 8, dtype=dtype)),
            ),
            "vertex": VertexingTask(
                "track_vertexing", "tracks", "ftagTruthVertexIndex", dense(12, 1, context_size=6, activation="ReLU")
            ),
        }
        model = SaltModel(
            schema,
            [
                {"input_name": s, "dense_config": {"output_size": 8 if encoder else 6, "hidden_layers": [5]}}
                for s in streams
            ],
            nn.ModuleList(heads[task] for task in tasks),
            encoder=Transformer(2, 8, **{"out_dim": 6, "attn_kwargs": {"num_heads": 2}, **kwargs})
            if encoder is True
            else encoder or None,
            pool_net=GlobalAttentionPooling(6),
        )
        return model.to(dtype)

    return make


@pytest.fixture
def make_batch(schema: Schema) -> Callable[..., Batch]:
    def make(lengths=LENGTHS, flows=None, dtype=torch.float64, seed=0) -> Batch:
        rng = np.random.default_rng(seed)
        flows = [(3 * n) % 7 for n in lengths] if flows is None else flows

        def stream(name: str, counts: list[int]) -> Ragged:
            values = rng.normal(size=(sum(counts), len(schema.variables[name])))
            return Ragged.from_lengths(torch.tensor(values, dtype=dtype), torch.tensor(counts))

        tracks = sum(lengths)
        return Batch(
            inputs={
                "jets": torch.tensor(rng.normal(size=(len(lengths), 2)), dtype=dtype),
                "tracks": stream("tracks", lengths),
                "flows": stream("flows", flows),
            },
            labels={
                "jets": {"flavour": torch.tensor(rng.integers(0, 3, len(lengths)))},
                "tracks": {
                    "ftagTruthOriginLabel": torch.tensor(rng.integers(-1, 8, tracks)),
                    "ftagTruthVertexIndex": torch.tensor(rng.integers(-2, 3, tracks)),
                },
            },
            index=torch.arange(len(lengths)),
        )

    return make
