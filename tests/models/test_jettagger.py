"""The tagger and the attention of the first versions."""

import pytest
import torch
from torch import nn

from salt.layout import One, Packed
from salt.models import (
    Dense,
    GATv2Attention,
    GlobalAttentionPooling,
    GraphTransformer,
    JetTagger,
    MultiheadAttention,
    ScaledDotProductAttention,
    Task,
)
from salt.ragged import Ragged
from salt.types import Schema
from tests.models.padded import Padded

LENGTHS = [0, 0, 1, 2, 2, 5, 12]
ATTENTIONS = {"GATv2": lambda: GATv2Attention(2, 4), "scaled products": ScaledDotProductAttention, "none": None}


def build(attention="GATv2", schema=None, **more):
    torch.manual_seed(4)
    schema = schema or Schema({"jets": ["pt", "eta"], "tracks": ["d0", "z0", "phi"]})
    make = ATTENTIONS[attention]
    projection = Dense(8, 6, [], norm_layer="LayerNorm", norm_final_layer=True)
    gnn = make and GraphTransformer(8, 2, 2, make(), norm_layer="LayerNorm", out_proj=projection)
    width = 6 if gnn else 8
    arguments = {
        "init_net": Dense(5, 8, [7], norm_layer="LayerNorm"),
        "gnn": gnn,
        "pool_net": GlobalAttentionPooling(width),
        "jet_net": Task("jet", "jets/flavour", Dense(width, 3, [5])),
        "track_net": [
            Task("origin", "tracks/origin", Dense(2 * width, 4, [5])),
            Task("alone", "tracks/origin", Dense(width, 4, [5])),
        ],
    }
    return JetTagger(schema, **{**arguments, **more}).double()


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("lengths", [LENGTHS, [0], [0, 0], [5]], ids=str)
def test_packed_equals_padded_in_values_and_gradients(make_batch, attention, lengths):
    model, inputs, found = build(attention), make_batch(lengths).inputs, []
    real = Padded.of(inputs["tracks"])[1].valid
    for house in (Packed, Padded):
        model.zero_grad()
        raw = {name: x[real] if house is Padded and x.dim() == 3 else x for name, x in model(inputs, house).items()}
        sum(x.square().sum() for x in raw.values()).backward()
        found.append(raw | {name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    assert found[0].keys() == found[1].keys()
    for name, value in found[1].items():
        torch.testing.assert_close(found[0][name], value, rtol=1e-12, atol=1e-11, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_one_jet_at_a_time_equals_packed(make_batch, attention):
    model, inputs = build(attention), make_batch(LENGTHS).inputs
    jets, tracks, packed = inputs["jets"], inputs["tracks"], model(inputs)
    for jet, length in enumerate(LENGTHS):
        values = tracks.values[tracks.offsets[jet] :][:length]
        own = {"jets": jets[jet : jet + 1], "tracks": Ragged.from_lengths(values, torch.tensor([length]))}
        one = model(own, One)
        torch.testing.assert_close(one["jet"][0], packed["jet"][jet], rtol=1e-12, atol=1e-12)
        rows = packed["origin"][tracks.offsets[jet] :][:length]
        torch.testing.assert_close(one["origin"], rows, rtol=1e-12, atol=1e-12)


def test_weights_follow_the_paper():
    """softmax_j(a . LeakyReLU(q_i + k_j)), by hand for two tokens and one head of width 1."""
    attention = GATv2Attention(1, 1)
    nn.init.constant_(attention.score.weight, 2.0)
    q, k, v = torch.tensor([1.0, -3.0]), torch.tensor([0.5, 2.0]), torch.tensor([10.0, 20.0])
    qkv = torch.stack([q, k, v], 1)[..., None, None]
    out = attention(qkv, 1.0, One()).flatten()
    logits = torch.tensor([[2 * 1.5, 2 * 3.0], [2 * -0.025, 2 * -0.01]])  # slope 0.01 below 0
    torch.testing.assert_close(out, logits.softmax(1) @ v)


def test_each_layer_has_an_attention_of_its_own():
    first, second = (layer.mha.attention.score.weight for layer in build().gnn.layers)
    assert first is not second
    assert not torch.equal(first, second)


def test_losses_and_labels_are_those_of_the_tasks(make_batch):
    model, batch = build(), make_batch(LENGTHS)
    assert model.required_labels() == {"jets": ["flavour"], "tracks": ["origin"]}
    batch.labels["tracks"]["origin"] = batch.labels["tracks"]["ftagTruthOriginLabel"].clamp(max=3)
    losses = model.losses(model(batch.inputs), batch)
    assert set(losses) == {"jet", "origin", "alone"}
    assert all(torch.isfinite(total) for total, _ in losses.values())


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"init_net.input_size is 4, but data.variables gives 3 of 'tracks' and 2 of"):
        build(init_net=Dense(4, 8))
    with pytest.raises(ValueError, match="num_heads 2 and head_dim 4, but the encoder's num_heads and embd_dim give"):
        MultiheadAttention(8, 4, GATv2Attention(2, 4))
    with pytest.raises(ValueError, match="label is 'labels'; write the stream in front of it, like jets/labels"):
        Task("jet", "labels", Dense(2, 2))
    with pytest.raises(ValueError, match="track_net has a task 'jet' of 'jets'"):
        build(track_net=[Task("jet", "jets/flavour", Dense(6, 3))])
    with pytest.raises(ValueError, match=r"JetTagger reads one stream of constituents, but data.variables has none"):
        build(schema=Schema({"jets": ["pt"]}))
