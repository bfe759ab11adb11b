"""Models with parameters, global variables, merged streams and the like give upstream's numbers. Nothing is timed."""

import copy

import pytest
import torch
import yaml
from torch import nn

from salt.layout import Packed
from salt.models import (
    ClassificationTask,
    GlobalAttentionPooling,
    InputNorm,
    NodeQueryGAP,
    PositionalEncoder,
    R21Xbb,
    SaltModel,
    Transformer,
)
from salt.nn.encoder import Tokens
from salt.ragged import Ragged
from salt.types import Schema

pytestmark = pytest.mark.peers

LENGTHS = {"tracks": [0, 1, 2, 5, 5, 7], "flows": [0, 3, 0, 2, 4, 1]}
VARIABLES = {"jets": ["pt", "eta"], "tracks": ["d0", "z0", "phi"], "flows": ["e"]}
EXTRA = {"parameters": ["mass", "width"], "global": ["soft", "lepton"]}
DENSE = {"output_size": 8, "hidden_layers": [5], "activation": "SiLU"}
ENCODER = {"num_layers": 2, "embed_dim": 8, "num_registers": 2, "attn_kwargs": {"num_heads": 2}}


def net(stream, **more):
    return {"input_name": stream, "dense_config": dict(DENSE), **more}


def film(layer, size, **more):
    dense = {"output_size": size, "hidden_layers": [4]}
    return {"layer": layer, "dense_config_scale": dense, "dense_config_bias": {**dense, "activation": "Tanh"}, **more}


BOTH = [net("tracks"), net("flows")]
MODELS = {
    "parameters in front": {"extra": "parameters"},
    "film of inputs": {"extra": "parameters", "featurewise_nets": [film("input", 5)]},
    "film of inputs, normalised": {"extra": "parameters", "featurewise_nets": [film("input", 5, apply_norm=True)]},
    "film of layers": {"extra": "parameters", "featurewise_nets": [film("encoder", 8, apply_norm=True)]},
    "film after the encoder": {"extra": "parameters", "nets": BOTH, "featurewise_nets": [film("global", 8)]},
    "all of param_featurewise": {
        "extra": "parameters",
        "featurewise_nets": [film("input", 5), film("encoder", 8), {**film("global", 8), "dense_config_bias": None}],
    },
    "film without an encoder": {"extra": "parameters", "encoder": None, "featurewise_nets": [film("global", 8)]},
    "global after pooling": {"extra": "global", "nets": BOTH},
    "global without an encoder": {"extra": "global", "encoder": None},
    "merged": {"nets": BOTH, "merge_dict": {"all": ["flows", "tracks"]}, "tasks": ("jet",)},
    "merged without an encoder": {
        "nets": BOTH, "merge_dict": {"all": ["flows", "tracks"]}, "tasks": ("jet",), "encoder": None,
    },
    "positions": {"nets": [net("tracks", pos_enc={"variables": ["phi", "d0"], "dim": 8, "alpha": 30})]},
    "no jets": {"nets": [net("tracks", attach_global=False)]},
    "default widths": {"nets": [{"input_name": "tracks", "dense_config": {"output_size": 8}}]},
    "DL1": {"nets": [net("jets", attach_global=False)], "encoder": None, "pool": False, "tasks": ("jet",)},
    "DL1, jets twice": {"nets": [net("jets")], "encoder": None, "pool": False, "tasks": ("jet",)},
    "DL1 with global variables": {
        "nets": [net("jets")], "encoder": None, "pool": False, "tasks": ("jet",), "extra": "global",
    },
}  # fmt: skip
NORMS = {
    "jets": {name: {"mean": 0.5 * i, "std": 1.5 + i} for i, name in enumerate(["pt", "eta", "soft", "lepton"])},
    "tracks": {name: {"mean": -i, "std": 0.3 + i} for i, name in enumerate(VARIABLES["tracks"])},
    "flows": {"e": {"mean": 3, "std": 7}},
}
WAVES = [(1, 2), (1, 4), (2, 9), (3, 18), (1, 16)]


def padded(stream):
    """(B, L, F), and which slots are padding."""
    lengths = stream.segments.lengths
    slots = torch.arange(int(lengths.max()) + 1) < lengths[:, None]
    values = stream.values.new_full((*slots.shape, stream.values.shape[1]), 33.0)
    values[slots] = stream.values
    return values, ~slots


def make_inputs(extra):
    """The same jets for every case."""
    torch.manual_seed(0)
    jets = len(LENGTHS["tracks"])
    inputs = {"jets": torch.randn(jets, 2).double()}
    for stream, lengths in LENGTHS.items():
        values = torch.randn(sum(lengths), len(VARIABLES[stream])).double()
        inputs[stream] = Ragged.from_lengths(values, torch.tensor(lengths))
    return inputs | ({extra: torch.randn(jets, 2).double()} if extra else {})


def make_case(extra=None, nets=None, encoder=ENCODER, pool=True, tasks=("jet", "origin"), **model):
    """What both sides build: our model, and what upstream's is made of."""
    variables = VARIABLES | ({extra: EXTRA[extra]} if extra else {})
    width = 8 + 2 * (extra == "global")
    heads = {
        "jet": {"input_name": "jets", "dense_config": {"input_size": width, "output_size": 3}},
        "origin": {
            "input_name": "tracks",
            "dense_config": {"input_size": 8, "output_size": 4, "context_size": width, "hidden_layers": [6]},
        },
    }
    heads = [{"name": name, "label": "label", **heads[name]} for name in tasks]
    model = {"init_nets": nets or [net("tracks")], **model}
    return {"kind": "models", "variables": variables, "tasks": heads, "encoder": encoder, "pool": pool, "model": model}


def build(case):
    torch.manual_seed(7)
    model = SaltModel(
        schema=Schema(case["variables"]),
        tasks=nn.ModuleList(ClassificationTask(**task) for task in copy.deepcopy(case["tasks"])),
        encoder=Transformer(**case["encoder"]) if case["encoder"] else None,
        pool_net=GlobalAttentionPooling(8) if case["pool"] else None,
        **copy.deepcopy(case["model"]),
    )
    return model.double().eval()


CASES = {name: make_case(**copy.deepcopy(case)) for name, case in MODELS.items()}


def make_subjets():
    dense = {"input_size": 15, "output_size": 4, "hidden_layers": [9]}
    task = {"name": "jet", "input_name": "jets", "label": "label", "dense_config": dense}
    torch.manual_seed(8)
    schema = Schema({name: VARIABLES[name] for name in ("jets", "tracks")})
    return R21Xbb(schema, nn.ModuleList([ClassificationTask(**task)])).double(), task


def make_queries():
    torch.manual_seed(9)
    return NodeQueryGAP(4).double(), torch.randn(len(LENGTHS["tracks"]), 3, 4).double(), torch.randn(20, 4).double()


@pytest.fixture(scope="module")
def upstream(ask_upstream, tmp_path_factory):
    """Case -> what upstream makes of it."""
    cases = {}
    for name, case in CASES.items():
        extra = next((stream for stream in EXTRA if stream in case["variables"]), None)
        dense, masks = {}, {}
        for stream, x in make_inputs(extra).items():
            if isinstance(x, Ragged):
                dense[stream], masks[stream] = padded(x)
            else:
                dense[stream] = x
        read = {of["input_name"] for of in case["model"]["init_nets"]}
        masks = {stream: mask for stream, mask in masks.items() if stream in read}
        state = {
            key.replace("featurewise_encoder.", "encoder.featurewise."): x
            for key, x in build(case).state_dict().items()
        }
        cases[name] = case | {"inputs": dense, "pad_masks": masks, "state": state}
    model, task = make_subjets()
    inputs = make_inputs(None)
    tracks = padded(inputs["tracks"])[0][:, :3].where(~padded(inputs["tracks"])[1][:, :3, None], 0)
    rows = torch.cat([inputs["jets"][:, None].expand(-1, 3, -1), tracks], -1)
    cases["subjets"] = {"kind": "subjets", "tasks": [task], "state": model.state_dict(), "inputs": {"track": rows}}
    pool, queries, nodes = make_queries()
    values, mask = padded(inputs["tracks"].with_values(nodes))
    cases["queries"] = {
        "kind": "queries", "state": pool.state_dict(), "tracks": values, "pad_mask": mask, "queries": queries,
    }  # fmt: skip
    norms = tmp_path_factory.mktemp("norms") / "norm.yaml"
    norms.write_text(yaml.safe_dump(NORMS))
    dense = {stream: padded(x)[0] if isinstance(x, Ragged) else x for stream, x in inputs.items()}
    dense |= {stream: make_inputs(stream)[stream] for stream in EXTRA}
    cases["norm"] = {
        "kind": "norm", "norm_dict": str(norms), "variables": VARIABLES | EXTRA, "inputs": dense,
    }  # fmt: skip
    for number, dim in WAVES:
        arguments = {"variables": list("abc")[:number], "dim": dim, "alpha": 40}
        cases[f"waves {number} {dim}"] = {"kind": "positions", "arguments": arguments, "x": waves(number)}
    return ask_upstream("upstream_inputs.py", cases)


def waves(number):
    return torch.linspace(-3, 3, 5 * number).view(5, number).double()


@pytest.mark.parametrize("name", CASES)
def test_a_model_gives_upstreams_numbers(upstream, name):
    case = CASES[name]
    inputs = make_inputs(next((stream for stream in EXTRA if stream in case["variables"]), None))
    real = ~padded(inputs["tracks"])[1]
    for dtype, same in ((torch.float64, 1e-10), (torch.float32, 2e-6)):
        model = build(case).to(dtype)
        own = {
            stream: x.with_values(x.values.to(dtype)) if isinstance(x, Ragged) else x.to(dtype)
            for stream, x in inputs.items()
        }
        for task, raw in model(own).items():
            theirs = upstream[name][str(dtype).removeprefix("torch.")][task]
            theirs = theirs[:, : real.shape[1]][real] if task == "origin" else theirs
            if dtype == torch.float32:
                raw, theirs = raw.softmax(-1), theirs.softmax(-1)
            torch.testing.assert_close(raw, theirs, rtol=0, atol=same)


def test_the_first_subjets_give_upstreams_numbers(upstream):
    raw = make_subjets()[0](make_inputs(None))["jet"]
    torch.testing.assert_close(raw, upstream["subjets"]["jet"], rtol=0, atol=1e-10)


def test_pooled_queries_are_upstreams(upstream):
    pool, queries, nodes = make_queries()
    tracks = make_inputs(None)["tracks"].with_values(nodes)
    torch.testing.assert_close(pool(Tokens("", *Packed.of(tracks)), queries), upstream["queries"], rtol=0, atol=1e-10)


@pytest.mark.parametrize(("number", "dim"), WAVES)
def test_encoded_positions_are_upstreams(upstream, number, dim):
    encoder = PositionalEncoder(list("abc")[:number], dim, alpha=40)
    torch.testing.assert_close(encoder(waves(number)), upstream[f"waves {number} {dim}"], rtol=0, atol=1e-10)


def test_normalised_inputs_are_upstreams_and_parameters_are_left(upstream):
    own = InputNorm(Schema(VARIABLES | EXTRA), NORMS)
    theirs = upstream["norm"]
    assert {key: x.tolist() for key, x in own.state_dict().items()} == {
        k: x.tolist() for k, x in theirs["state"].items()
    }
    inputs = make_inputs(None) | {stream: make_inputs(stream)[stream] for stream in EXTRA}
    for stream, x in own.double()(inputs).items():
        real = padded(x)[0] if isinstance(x, Ragged) else x
        where = ~padded(x)[1] if isinstance(x, Ragged) else slice(None)
        torch.testing.assert_close(real[where], theirs["outputs"][stream][where], rtol=0, atol=1e-10)
