"""Models that look at pairs equal upstream's, outputs and gradients, on the same parameters. Nothing is timed."""

from math import pi

import pytest
import torch
from torch import nn

from salt.layout import Packed
from salt.models import ClassificationTask, EdgeConstructor, GlobalAttentionPooling, SaltModel, Transformer
from salt.ragged import Ragged
from salt.types import Schema
from tests.models.padded import Padded

pytestmark = pytest.mark.peers

VARIABLES = {"jets": ["pt", "eta"], "tracks": ["d0", "pt", "phi", "eta", "subjetIndex"], "flows": ["pt", "eta", "phi"]}
FEATURES = ["dR", "z", "kt", "subjetIndex", "isSelfLoop"]
LENGTHS = {"tracks": [0, 1, 1, 2, 5, 9, 5], "flows": [3, 0, 1, 2, 2, 4, 0]}
TWO_HEADS = {"attn_kwargs": {"num_heads": 2}}
CASES = {  # "rounds": upstream's RMSNorm rounds to float32
    "edges that stay": {"encoder": TWO_HEADS},
    "edges that are updated": {"encoder": {**TWO_HEADS, "update_edges": True}},
    "eight heads": {"encoder": {"attn_kwargs": {"num_heads": 8}, "update_edges": True}},
    "no bias": {"encoder": {"attn_kwargs": {"num_heads": 4, "bias": False}, "update_edges": True}},
    "RMSNorm": {"encoder": {**TWO_HEADS, "update_edges": True, "norm": "RMSNorm"}, "rounds": True},
    "post": {"encoder": {**TWO_HEADS, "update_edges": True, "norm_type": "post"}},
    "hybrid": {"encoder": {**TWO_HEADS, "update_edges": True, "norm_type": "hybrid"}, "rounds": True},
    "norms of heads": {
        "encoder": {"attn_kwargs": {"num_heads": 2, "do_qk_norm": True, "do_v_norm": True}},
        "rounds": True,
    },
    "LayerScale": {"encoder": {**TWO_HEADS, "update_edges": True, "ls_init": 0.3, "num_dense": 2}},
    "registers": {"encoder": {**TWO_HEADS, "update_edges": True, "num_registers": 3}},
    "dropped registers": {"encoder": {**TWO_HEADS, "num_registers": 2, "drop_registers": True}},
    "two streams": {"encoder": {**TWO_HEADS, "update_edges": True}, "streams": ["tracks", "flows"]},
    "all around the circle": {"encoder": {**TWO_HEADS, "update_edges": True}, "turn": pi},
}


def inputs(turn):
    """Ragged values of each stream; as long as phi stays on one side of the circle, upstream's dR is right."""
    generator = torch.Generator().manual_seed(7)

    def stream(name):
        values = torch.randn(sum(LENGTHS[name]), len(VARIABLES[name]), generator=generator, dtype=torch.float64)
        phi, pt = VARIABLES[name].index("phi"), VARIABLES[name].index("pt")
        values[:, phi] = (values[:, phi] / 3).clamp(-1, 1) * turn
        values[:, pt] = values[:, pt].abs() * 1e4
        return values

    tracks = stream("tracks")
    tracks[:, VARIABLES["tracks"].index("subjetIndex")] = torch.arange(len(tracks)) % 3 - 1
    jets = torch.randn(len(LENGTHS["tracks"]), 2, generator=generator, dtype=torch.float64)
    values = {"tracks": tracks, "flows": stream("flows")}
    return {"jets": jets} | {s: Ragged.from_lengths(v, torch.tensor(LENGTHS[s])) for s, v in values.items()}


def asked(case):
    """What upstream's side is told: padded inputs; where phi wraps around, its edges are ours, which are symmetric."""
    given = inputs(case.get("turn", 1.5))
    padded = {stream: Padded.of(given[stream]) for stream in ("tracks", "flows")}
    edges = None
    if "turn" in case:
        edges = EdgeConstructor("tracks", FEATURES, VARIABLES)(*padded["tracks"])
    return {
        "variables": VARIABLES,
        "features": FEATURES,
        "streams": case.get("streams", ["tracks"]),
        "encoder": case["encoder"],
        "inputs": {"jets": given["jets"]} | {stream: values for stream, (values, _) in padded.items()},
        "pads": {stream: ~layout.valid for stream, (_, layout) in padded.items()},
        "edges": edges,
    }


@pytest.fixture(scope="module")
def upstream(ask_upstream):
    return ask_upstream("upstream_edges.py", {name: asked(case) for name, case in CASES.items()})


def ours(case):
    dense = {"hidden_layers": [5]}
    tasks = [
        ClassificationTask("jets_classification", "jets", "flavour", {"input_size": 6, "output_size": 3}),
        ClassificationTask(
            "track_origin",
            "tracks",
            "ftagTruthOriginLabel",
            {"input_size": 6, "output_size": 8, "context_size": 6},
        ),
    ]
    return SaltModel(
        Schema(VARIABLES, edges={"tracks": FEATURES}),
        [{"input_name": s, "dense_config": {"output_size": 8, **dense}} for s in case.get("streams", ["tracks"])],
        nn.ModuleList(tasks),
        edge_init_nets=[{"input_name": "tracks", "dense_config": {"output_size": 6, "hidden_layers": [4]}}],
        encoder=Transformer(3, 8, out_dim=6, edge_embed_dim=6, **case["encoder"]),
        pool_net=GlobalAttentionPooling(6),
    ).double()


@pytest.mark.parametrize("name", CASES)
def test_outputs_and_gradients_are_upstreams(upstream, name):
    case, theirs = CASES[name], upstream[name]
    model = ours(case)
    unused = {key for key in theirs["state"] if "edge_prenorm" in key}
    model.load_state_dict({key: value for key, value in theirs["state"].items() if key not in unused})
    preds = model(inputs(case.get("turn", 1.5)), Packed)
    allowed = dict.fromkeys(("rtol", "atol"), 1e-5 if "rounds" in case else 1e-10)
    torch.testing.assert_close(preds["jets_classification"], theirs["jets"], **allowed)
    torch.testing.assert_close(preds["track_origin"], theirs["tracks"], **allowed)
    sum(x.square().sum() for x in preds.values()).backward()
    gradients = {key: p.grad for key, p in model.named_parameters() if p.grad is not None}
    torch.testing.assert_close(gradients, theirs["gradients"], **{key: 10 * value for key, value in allowed.items()})
    assert not unused & theirs["gradients"].keys()
