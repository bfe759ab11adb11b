"""Models whose inputs are more than the tracks of jets: packed equals padded, and one jet at a time equals both."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from salt.layout import One, Packed
from salt.models import ClassificationTask, GlobalAttentionPooling, PositionalEncoder, SaltModel, Transformer
from salt.ragged import Ragged
from salt.types import Batch, Schema
from tests.models.padded import Padded

LENGTHS = [0, 0, 1, 1, 2, 3, 3, 9, 12, 40]
DENSE = {"output_size": 8, "hidden_layers": [5]}
FILM = {"dense_config_scale": {"hidden_layers": [3]}, "dense_config_bias": {"hidden_layers": [3]}}


def net(stream, **more):
    return {"input_name": stream, "dense_config": DENSE, **more}


def film(layer, **more):
    return {"layer": layer, **FILM, **more}


TWO = [net("tracks"), net("flows")]
CASES = {
    "parameters in front": {"extra": "parameters"},
    "parameters without jets": {"extra": "parameters", "nets": [net("tracks", attach_global=False)]},
    "film of inputs": {"extra": "parameters", "nets": TWO, "featurewise_nets": [film("input")]},
    "film of layers": {"extra": "parameters", "featurewise_nets": [film("encoder", apply_norm=True)]},
    "film after the encoder": {"extra": "parameters", "nets": TWO, "featurewise_nets": [film("global")]},
    "film everywhere": {
        "extra": "parameters",
        "featurewise_nets": [film("input", apply_norm=True), film("encoder"), film("global")],
    },
    "film, no encoder": {"extra": "parameters", "encoder": False, "featurewise_nets": [film("input"), film("global")]},
    "global after pooling": {"extra": "global"},
    "merged": {"nets": TWO, "merge_dict": {"all": ["flows", "tracks"]}},
    "merged, no encoder": {"nets": TWO, "merge_dict": {"all": ["flows", "tracks"]}, "encoder": False},
    "positions": {"nets": [net("tracks", pos_enc={"variables": ["z0", "d0"], "dim": 8, "alpha": 20})]},
    "jets alone": {"nets": [net("jets")], "encoder": False, "pool": False, "tasks": ("jet",)},
    "jets alone, parameters": {
        "nets": [net("jets", attach_global=False)], "extra": "parameters", "encoder": False, "pool": False,
        "tasks": ("jet",), "featurewise_nets": [film("input")],
    },
}  # fmt: skip


def build(schema: Schema, nets=None, extra=None, encoder=True, pool=True, tasks=("jet", "origin"), **kwargs):
    """A small model, and its schema with two more variables of the stream `extra`."""
    torch.manual_seed(5)
    more = {extra: ["m", "q"]} if extra else {}
    schema = Schema({**schema.variables, **more})
    width = 8 + 2 * (extra == "global")
    heads = {
        "jet": {"input_name": "jets", "label": "flavour", "dense_config": {"input_size": width, "output_size": 3}},
        "origin": {
            "input_name": "tracks",
            "label": "origin",
            "dense_config": {"input_size": 8, "output_size": 4, "context_size": width},
        },
    }
    return SaltModel(
        schema,
        nets or [net("tracks")],
        nn.ModuleList(ClassificationTask(name=task, **heads[task]) for task in tasks),
        encoder=Transformer(2, 8, attn_kwargs={"num_heads": 2}) if encoder else None,
        pool_net=GlobalAttentionPooling(8) if pool else None,
        **copy.deepcopy(kwargs),
    ).double()


def inputs_of(batch: Batch, extra: str | None) -> dict[str, torch.Tensor | Ragged]:
    more = {extra: torch.linspace(-2, 3, 2 * len(batch)).view(-1, 2).double()} if extra else {}
    return {**batch.inputs, **more}


def flat(inputs, house, raw):
    """Outputs of all tasks, over real tracks only."""
    if house is Packed or "origin" not in raw:
        return raw
    return {**raw, "origin": raw["origin"][Padded.of(inputs["tracks"])[1].valid]}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("lengths", [LENGTHS, [0], [5], [0, 0]], ids=str)
def test_packed_equals_padded_in_values_and_gradients(schema, make_batch, case, lengths):
    model = build(schema, **CASES[case])
    inputs = inputs_of(make_batch(lengths), CASES[case].get("extra"))
    found = []
    for house in (Packed, Padded):
        model.zero_grad()
        out = flat(inputs, house, model(inputs, house))
        sum(x.square().sum() for x in out.values()).backward()
        found.append(out | {name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    assert found[0].keys() == found[1].keys()
    for name, value in found[1].items():
        torch.testing.assert_close(found[0][name], value, rtol=1e-12, atol=1e-11, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("case", CASES)
def test_one_jet_at_a_time_equals_packed(schema, make_batch, case):
    model = build(schema, **CASES[case]).eval()
    inputs = inputs_of(make_batch(LENGTHS), CASES[case].get("extra"))
    offsets = inputs["tracks"].offsets
    with torch.no_grad():
        packed = model(inputs)
        for jet in range(len(LENGTHS)):
            own = {}
            for stream, x in inputs.items():
                if isinstance(x, Ragged):
                    values = x.values[x.offsets[jet] : x.offsets[jet + 1]]
                    own[stream] = Ragged.from_lengths(values, torch.tensor([len(values)]))
                else:
                    own[stream] = x[jet : jet + 1]
            for task, raw in model(own, One).items():
                rows = slice(jet, jet + 1) if task == "jet" else slice(offsets[jet], offsets[jet + 1])
                torch.testing.assert_close(raw, packed[task][rows], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("case", [case for case in CASES if "extra" in CASES[case]])
def test_every_task_feels_the_parameters_and_the_global_variables(schema, make_batch, case):
    model = build(schema, **CASES[case]).eval()
    inputs = inputs_of(make_batch([3, 4]), CASES[case]["extra"])
    extra = CASES[case]["extra"]
    before, after = model(inputs), model({**inputs, extra: inputs[extra] + 1})
    for task, raw in before.items():
        assert not torch.allclose(after[task], raw)


def test_merged_streams_change_nothing_where_all_tokens_look_at_each_other(schema, make_batch):
    inputs = make_batch(LENGTHS).inputs
    alone, merged = (build(schema, nets=TWO, merge_dict=names)(inputs) for names in (None, {"a": ["tracks", "flows"]}))
    for task, raw in alone.items():
        torch.testing.assert_close(merged[task], raw, rtol=1e-12, atol=1e-12)


def test_a_default_hidden_layer_is_as_wide_as_all_inputs_twice(schema):
    """Upstream's default counts the jet's variables, too."""
    model = build(schema, nets=[{"input_name": "tracks", "dense_config": {"output_size": 8}}])
    assert model.init_nets[0].net.net[0].weight.shape == (10, 5)


def test_what_a_saved_config_of_upstream_repeats_is_understood(schema):
    build(schema, nets=[net("tracks", variables=schema.variables, global_object="jets")])
    with pytest.raises(ValueError, match="global_object of init net of 'tracks' is 'muons'"):
        build(schema, nets=[net("tracks", global_object="muons")])
    with pytest.raises(ValueError, match="variables of init net of 'tracks'"):
        build(schema, nets=[net("tracks", variables={"tracks": ["d0"]})])


REFUSALS = {
    "data.variables has no such stream|unknown stream 'trakcs'": {"nets": [net("trakcs")]},
    "input_name 'tracks' twice": {"nets": [net("tracks"), net("tracks")]},
    "init_nets is empty": {"nets": ()},
    "pos_enc encodes 'd1'.*there are d0, z0, phi": {"nets": [net("tracks", pos_enc={"variables": ["d1"], "dim": 8})]},
    "pos_enc.dim is 6.*width 8": {"nets": [net("tracks", pos_enc={"variables": ["d0"], "dim": 6})]},
    "dim 3 is too small for 2 variables": {"nets": [net("tracks", pos_enc={"variables": ["d0", "z0"], "dim": 3})]},
    "class_path is x.Other": {"nets": [net("tracks", pos_enc={"class_path": "x.Other"})]},
    "unknown layer 'globl'": {"extra": "parameters", "featurewise_nets": [film("globl")]},
    "layer input twice": {"extra": "parameters", "featurewise_nets": [film("input"), film("input")]},
    "need parameters": {"featurewise_nets": [film("input")]},
    "give dense_config_scale, dense_config_bias": {"extra": "parameters", "featurewise_nets": [{"layer": "global"}]},
    "dense_config_scale.output_size is 9, but there are 5 features": {
        "extra": "parameters",
        "featurewise_nets": [{"layer": "input", "dense_config_scale": {"output_size": 9}}],
    },
    "there is no encoder": {"extra": "parameters", "encoder": False, "featurewise_nets": [film("encoder")]},
    "input_size is 9, but data.variables gives 3 of 'tracks' and 2 of 'jets', 2 of 'parameters'": {
        "extra": "parameters",
        "nets": [net("tracks") | {"dense_config": {**DENSE, "input_size": 9}}],
    },
    "unknown stream 'flow' in init_nets, for merge_dict": {"merge_dict": {"all": ["tracks", "flow"]}},
    "the stream 'tracks' twice": {"merge_dict": {"all": ["tracks"], "more": ["tracks"]}},
    "an init net of the global object 'jets'.*there is an init net of 'tracks'": {"nets": [net("jets"), net("tracks")]},
    "there is an encoder": {"nets": [net("jets")]},
    "task 'jet' reads the global object 'jets', but there is no pool_net": {"pool": False},
}


@pytest.mark.parametrize("message", REFUSALS)
def test_what_does_not_fit_is_refused(schema, message):
    case = REFUSALS[message]
    with pytest.raises(ValueError, match=message):
        build(schema, **case) if case.get("nets") != () else SaltModel(schema, [], nn.ModuleList())


def test_a_task_may_not_read_a_merged_stream(schema):
    task = ClassificationTask("origin", "all", "origin", {"input_size": 8, "output_size": 4})
    with pytest.raises(ValueError, match="which merge_dict makes of tracks, flows"):
        SaltModel(schema, TWO, nn.ModuleList([task]), merge_dict={"all": ["tracks", "flows"]})


def test_an_angle_is_encoded_like_that_of_the_next_turn():
    encoder, angle = PositionalEncoder(["eta", "phi"], 12), torch.tensor([[0.3, -1.0], [0.3, 2 * torch.pi - 1.0]])
    before, after = encoder(angle.double())
    torch.testing.assert_close(after, before, rtol=0, atol=1e-4)
    assert not torch.allclose(encoder(angle.flip(1))[1], encoder(angle.flip(1))[0])
