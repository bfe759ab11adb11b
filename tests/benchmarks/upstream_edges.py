"""Upstream's models that look at pairs, for test_edges_parity.py, run by upstream's Python: ... IN OUT."""

import sys
import warnings
from copy import deepcopy
from pathlib import Path

import torch
from torch import nn

from salt.models import ClassificationTask, EdgeConstructor, GlobalAttentionPooling, SaltModel, Transformer

warnings.simplefilter("ignore")


def model(variables, streams, features, encoder):
    """A tagger with a task on jets and one on tracks, whose parameters are all random."""
    variables = {**variables, "_edge_features_tracks": features}
    common = {"variables": variables, "global_object": "jets"}
    made = SaltModel(
        init_nets=[
            {"input_name": stream, "dense_config": {"output_size": 8, "hidden_layers": [5]}, **common}
            for stream in streams
        ],
        edge_init_nets=[
            {
                "input_name": "_edge_features_tracks",
                "attach_global": False,
                "dense_config": {"output_size": 6, "hidden_layers": [4]},
                **common,
            }
        ],
        encoder=Transformer(num_layers=3, embed_dim=8, out_dim=6, edge_embed_dim=6, **encoder),
        pool_net=GlobalAttentionPooling(6),
        tasks=nn.ModuleList(
            [
                ClassificationTask(
                    name="jets_classification",
                    input_name="jets",
                    label="flavour",
                    class_names=["b", "c", "u"],
                    loss=nn.CrossEntropyLoss(),
                    dense_config={"input_size": 6, "output_size": 3},
                ),
                ClassificationTask(
                    name="track_origin",
                    input_name="tracks",
                    label="ftagTruthOriginLabel",
                    loss=nn.CrossEntropyLoss(),
                    dense_config={"input_size": 6, "output_size": 8, "context_size": 6},
                ),
            ]
        ),
    )
    for task in made.tasks:  # upstream's LightningModule does this
        task.global_object = "jets"
    return made.double().eval()


def answer(case):
    """Parameters, outputs and gradients of the sum of squares of all outputs."""
    torch.manual_seed(1)
    # a copy: upstream writes to what it is given
    tagger = model(case["variables"], case["streams"], case["features"], deepcopy(case["encoder"]))
    for parameter in tagger.parameters():
        nn.init.normal_(parameter, std=0.4)
    inputs, pads = dict(case["inputs"]), case["pads"]
    if case["edges"] is None:
        inputs = EdgeConstructor("tracks", case["features"], case["variables"])(inputs)
    else:
        inputs["_edge_features_tracks"] = case["edges"]
    preds = tagger(inputs, {stream: pads[stream] for stream in case["streams"]})[0]
    jets, tracks = preds["jets"]["jets_classification"], preds["tracks"]["track_origin"]
    (jets.square().sum() + tracks[~pads["tracks"]].square().sum()).backward()
    return {
        "state": {name: parameter.detach() for name, parameter in tagger.named_parameters()},
        "gradients": {name: p.grad for name, p in tagger.named_parameters() if p.grad is not None},
        "jets": jets.detach(),
        "tracks": tracks[~pads["tracks"]].detach(),
    }


def main():
    cases = torch.load(sys.argv[1], weights_only=True)
    torch.save({name: answer(case) for name, case in cases.items()}, Path(sys.argv[2]))


if __name__ == "__main__":
    main()
