"""A model that looks at pairs: packed equals padded, one jet at a time equals both; and what it refuses."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from salt.layout import One, Packed
from salt.models import ClassificationTask, EdgeConstructor, GlobalAttentionPooling, SaltModel, Transformer
from salt.nn.edges import EdgeAttention, EmbeddedEdges, UpdatedEdges
from salt.nn.norm import InputNorm
from salt.ragged import Ragged, Segments
from salt.types import Schema
from tests.models.padded import Padded
from tests.models.test_oracle import run

FEATURES = {"tracks": ["dR", "z", "kt", "subjetIndex", "isSelfLoop"], "flows": ["mass", "dR"]}
VARIABLES = {
    "jets": ["pt", "eta"],
    "tracks": ["d0", "pt", "phi", "eta", "subjetIndex"],
    "flows": ["pt", "eta", "phi", "energy"],
}


@pytest.fixture
def schema() -> Schema:
    return Schema(VARIABLES, edges=FEATURES)


@pytest.fixture
def make_edge_model(schema):
    def make(streams=("tracks",), edges=("tracks",), features=None, width=6, merge_dict=None, **encoder) -> SaltModel:
        torch.manual_seed(5)
        attention = {"num_heads": 2, **encoder.pop("attn_kwargs", {})}
        dense = {"hidden_layers": [7], "activation": "SiLU"}
        model = SaltModel(
            Schema(schema.variables, edges=FEATURES if features is None else features),
            [{"input_name": stream, "dense_config": {"output_size": 8, "hidden_layers": [5]}} for stream in streams],
            nn.ModuleList(
                [
                    ClassificationTask(
                        "jets_classification", "jets", "flavour", {"input_size": 6, "output_size": 3, **dense}
                    ),
                    ClassificationTask(
                        "track_origin",
                        "tracks",
                        "ftagTruthOriginLabel",
                        {"input_size": 6, "output_size": 8, "context_size": 6, **dense},
                    ),
                ]
            ),
            edge_init_nets=[
                {"input_name": stream, "dense_config": {"output_size": width, "hidden_layers": [4]}} for stream in edges
            ],
            encoder=Transformer(
                3, 8, out_dim=6, **{"edge_embed_dim": 6, "update_edges": True, **encoder}, attn_kwargs=attention
            ),
            pool_net=GlobalAttentionPooling(6),
            merge_dict=merge_dict,
        ).double()
        for parameter in model.parameters():  # no zeros: all of them matter
            nn.init.normal_(parameter, std=0.4)
        return model

    return make


CASES = {
    "edges that stay": {"update_edges": False},
    "edges that are updated": {},
    "four heads": {"attn_kwargs": {"num_heads": 4}},
    "RMSNorm": {"norm": "RMSNorm"},
    "no bias": {"attn_kwargs": {"bias": False}},
    "hybrid": {"norm_type": "hybrid", "norm": "RMSNorm"},
    "post": {"norm_type": "post", "num_dense": 2},
    "LayerScale": {"ls_init": 0.5},
    "registers": {"num_registers": 3},
    "dropped registers": {"num_registers": 2, "drop_registers": True},
    "edges of the first stream": {"streams": ("tracks", "flows")},
    "edges of the second stream": {"streams": ("flows", "tracks")},
    "edges of both streams": {"streams": ("flows", "tracks"), "edges": ("tracks", "flows")},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("lengths", [None, [0], [1], [0, 0], [4, 1, 0, 9, 4]], ids=str)
def test_packed_equals_padded_in_values_and_gradients(make_edge_model, make_batch, case, lengths):
    model = make_edge_model(**CASES[case])
    batch = make_batch() if lengths is None else make_batch(lengths)
    packed, packed_grads = run(model, batch, Packed)
    padded, padded_grads = run(model, batch, Padded)
    torch.testing.assert_close(packed, padded, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(packed_grads, padded_grads, rtol=1e-12, atol=1e-12)
    assert any(name.startswith("edge_init_nets") for name in packed_grads)


@pytest.mark.parametrize("case", CASES)
def test_one_jet_at_a_time_equals_packed(make_edge_model, make_batch, case):
    model = make_edge_model(**CASES[case]).eval()
    batch = make_batch()
    offsets = batch.inputs["tracks"].offsets
    with torch.no_grad():
        packed = model(batch.inputs)
        for jet in range(len(batch)):
            inputs = {"jets": batch.inputs["jets"][jet : jet + 1]}
            for stream in ("tracks", "flows"):
                ragged = batch.inputs[stream]
                values = ragged.values[ragged.offsets[jet] : ragged.offsets[jet + 1]]
                inputs[stream] = Ragged.from_lengths(values, torch.tensor([len(values)]))
            one = model(inputs, One)
            tracks = packed["track_origin"][offsets[jet] : offsets[jet + 1]]
            torch.testing.assert_close(one["jets_classification"], packed["jets_classification"][jet : jet + 1])
            torch.testing.assert_close(one["track_origin"], tracks, rtol=1e-12, atol=1e-12)


class OneJet(nn.Module):
    """What is exported: un-normalised inputs of one jet to its outputs."""

    def __init__(self, model):
        super().__init__()
        self.norm, self.model = InputNorm(model.schema).double(), model

    def forward(self, jets, tracks):
        inputs = self.norm({"jets": jets, "tracks": Ragged(tracks, None)})
        return self.model(inputs, One)


@pytest.mark.parametrize("case", ["edges that stay", "edges that are updated"])
def test_one_jet_is_exported_for_any_number_of_tracks(make_edge_model, make_batch, case):
    model = make_edge_model(**CASES[case]).eval()
    one, example = OneJet(model), (torch.zeros(1, 2).double(), torch.rand(5, 5).double())
    tracks = {0: torch.export.Dim("n", min=0)}
    exported = torch.export.export(one, example, dynamic_shapes={"jets": None, "tracks": tracks}).module()
    for length in (0, 1, 7):
        inputs = make_batch([length]).inputs
        found, wanted = exported(inputs["jets"], inputs["tracks"].values), model(inputs)
        torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)


def test_outputs_follow_the_tracks_when_they_are_permuted(make_edge_model, make_batch):
    model, batch = make_edge_model().eval(), make_batch([5])
    order, tracks = torch.tensor([3, 0, 4, 1, 2]), batch.inputs["tracks"]
    with torch.no_grad():
        before = model(batch.inputs)
        after = model({**batch.inputs, "tracks": tracks.with_values(tracks.values[order])})
    torch.testing.assert_close(after["jets_classification"], before["jets_classification"])
    torch.testing.assert_close(after["track_origin"], before["track_origin"][order])


def test_edges_follow_their_tokens_into_a_merged_stream(make_edge_model, make_batch):
    apart, batch = make_edge_model(streams=("flows", "tracks")), make_batch([0, 3, 1, 4])
    merged = make_edge_model(streams=("flows", "tracks"), merge_dict={"all": ["flows", "tracks"]})
    torch.testing.assert_close(merged(batch.inputs), apart(batch.inputs))
    one = make_batch([4], [2]).inputs
    torch.testing.assert_close(merged(one, One), apart(one, One))


def test_features_are_made_of_what_was_measured_and_not_of_what_is_normalised(make_edge_model, make_batch):
    model, batch = make_edge_model().eval(), make_batch([4, 2])
    tracks, made = batch.inputs["tracks"], []
    other = tracks.with_values(tracks.values * torch.linspace(1, 2, 5))
    watch = model.edge_init_nets[0].register_forward_hook(lambda *call: made.append(call[-1]))
    for seen in (tracks, other.normalised(tracks.values), tracks.normalised(other.values)):
        model({**batch.inputs, "tracks": seen})
    watch.remove()
    of_tracks, of_other, of_tracks_again = made
    assert torch.equal(of_tracks, of_tracks_again)
    assert not torch.allclose(of_tracks, of_other)


@pytest.mark.parametrize("norm", ["LayerNorm", "RMSNorm"])
@pytest.mark.parametrize("bias", [True, False])
def test_updated_edges_are_what_they_would_be_if_they_were_built(norm, bias):
    torch.manual_seed(0)
    logits = torch.randn(3, 20_000, dtype=torch.float64, requires_grad=True)
    linear = nn.Linear(3, 5, bias=bias).double()
    layer = nn.LayerNorm(5, elementwise_affine=False) if norm == "LayerNorm" else nn.RMSNorm(5, eps=1e-6).double()
    weight, offset = torch.randn(4, 5, dtype=torch.float64), torch.randn(4, dtype=torch.float64)
    if layer.weight is not None:
        nn.init.normal_(layer.weight)
    updated = linear(logits.t())
    built = nn.functional.linear(updated + layer(updated), weight, offset).t()
    found = UpdatedEdges(logits, linear, layer).project(weight, offset)
    torch.testing.assert_close(found, built, rtol=1e-12, atol=1e-12)
    wanted = [logits, *linear.parameters(), *layer.parameters()]
    pull = torch.randn_like(built)
    torch.testing.assert_close(
        torch.autograd.grad(found, wanted, pull), torch.autograd.grad(built, wanted, pull), rtol=1e-11, atol=1e-11
    )


def test_edges_of_one_number_type_stay_of_it():
    edges = EmbeddedEdges(torch.randn(10, 6))
    attention = EdgeAttention(8, 6, num_heads=2)
    layout = Packed(Segments.from_lengths(torch.tensor([3, 1, 0])))
    x, logits = attention(torch.randn(4, 8), layout, edges)
    assert x.dtype == logits.dtype == torch.float32
    assert logits.shape == (2, 10)


def test_only_the_last_layer_does_not_train_what_updates_edges(make_edge_model):
    layers = make_edge_model().encoder.layers
    assert [layer.attn.fn.linear_e_out.weight.requires_grad for layer in layers] == [True, True, False]


def test_a_feature_without_its_variables_is_told_with_the_keys():
    with pytest.raises(
        ValueError, match=r"'kt' of 'tracks' \(data.edge_constructors\).*variables.tracks has no pt, phi"
    ):
        EdgeConstructor("tracks", ["isSelfLoop", "kt"], {"tracks": ["eta", "d0"]})


def test_edge_nets_need_features(make_edge_model):
    with pytest.raises(
        ValueError, match=r"edge_init_nets has one for 'tracks', but data.edge_constructors makes .*'flows'"
    ):
        make_edge_model(features={"flows": ["dR"]})


def test_edge_nets_need_an_embedded_stream(make_edge_model):
    with pytest.raises(ValueError, match=r"edge_init_nets has one for 'flows', which no init net embeds; .* 'tracks'"):
        make_edge_model(edges=("flows",))


def test_the_encoder_takes_edges_of_the_width_that_there_is(make_edge_model):
    with pytest.raises(ValueError, match=r"of width 5 .* but the encoder takes edge_embed_dim 6"):
        make_edge_model(width=5)


def test_an_encoder_that_looks_at_edges_needs_some(make_edge_model):
    with pytest.raises(ValueError, match=r"looks at edges .* but edge_init_nets makes none"):
        make_edge_model(edges=())


def test_edges_are_not_updated_where_there_are_none():
    with pytest.raises(ValueError, match=r"update_edges .* edge_embed_dim"):
        Transformer(2, 8, update_edges=True)
