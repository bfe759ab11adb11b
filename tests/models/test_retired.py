"""Encoders of older versions: numbers that salt-ml 0.8 gave, and packed equals padded."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import pytest
import torch
from torch import nn

from salt.layout import Layout, One, Packed
from salt.models import ScaledDotProductAttention, TransformerCrossAttentionEncoder, TransformerEncoder
from salt.nn.encoder import Encoder, Tokens
from salt.nn.retired import MHAConfig
from salt.ragged import Ragged
from tests.models.padded import Padded
from tests.models.test_encoder import equal, only, shaken
from tests.models.test_oracle import run

STREAMS = ["tracks", "flows"]
RELU, NARROW = {"activation": "ReLU"}, {"activation": "ReLU", "hidden_layers": [3]}


def heads(dropout: float = 0.0) -> MHAConfig:
    return MHAConfig(2, ScaledDotProductAttention(dropout))


def first_and_last(embed_dim: int, out_dim: int, num_layers: int = 3) -> TransformerCrossAttentionEncoder:
    return TransformerCrossAttentionEncoder(
        STREAMS, embed_dim, num_layers, heads(), RELU, {"activation": "SiLU"}, out_dim
    )


def every_layer(embed_dim: int, out_dim: int) -> TransformerCrossAttentionEncoder:
    return TransformerCrossAttentionEncoder(STREAMS, embed_dim, 2, heads(), RELU, NARROW, out_dim, ca_every_layer=True)


MAKERS = {
    "encoder": lambda embed_dim, out_dim: TransformerEncoder(embed_dim, 2, heads(), RELU, out_dim),
    "first and last": first_and_last,
    "every layer": every_layer,
}

# --- the numbers of salt-ml 0.8 ------------------------------------------------------------------------------------

LENGTHS = {"tracks": [3, 0, 2, 1], "flows": [2, 1, 0, 3]}
ANSWERS = {
    "encoder": {
        "tracks": "5.34121056 -3.73433038 4.68114567 -3.16092744 5.38640115 -3.80136597 4.88179972 -3.3494984 "
        "4.74537693 -3.16562572 5.43347015 -3.81790547",
        "flows": "4.97411446 -3.40599659 4.743429 -3.22849008 4.65609145 -3.12508289 5.09609311 -3.5151397 "
        "4.76976846 -3.25912906 5.43219564 -3.81659399",
    },
    "bare": {
        "tracks": "-0.01131671 -1.7851325 0.63863167 0.09262068 1.09884716 0.39205509 -0.97801427 0.10439936 "
        "0.56681661 -1.88818775 0.47897834 0.08968684 1.14521949 0.37517993 -1.13830529 0.1412613 "
        "-1.63705362 0.62389187 0.20125335 0.04742098 -0.09913045 -1.7074606 0.65143211 0.08796543",
        "flows": "-0.20592446 -0.85337052 0.4911552 0.02851745 1.32333184 0.21696214 -1.0712094 0.12807385 "
        "1.0743521 0.41876435 -1.00084605 0.10890359 -0.15158192 -0.99365412 0.51681647 0.03494113 "
        "1.30909291 0.22991225 -1.06908672 0.12726222 -0.10198738 -1.70414836 0.65171409 0.08774682",
    },
    "first and last": {
        "tracks": "0.56760255 0.71144111 0.16788714 1.15242252 0.54976392 0.72587695 0.17491966 1.14212997 "
        "0.66563188 0.61912314 0.41216772 0.86028717",
        "flows": "-0.13336107 1.38486709 -0.1458864 1.39833743 -0.1755866 1.42540645 -0.11326023 1.36384964 "
        "-0.16342175 1.41565625 -0.09734732 1.33511319",
    },
    "every layer": {
        "tracks": "1.19162719 0.27293124 0.71831119 0.98342322 1.12757315 0.32651911 0.76902779 0.77817261 "
        "1.31180068 0.12043901 1.19364993 0.26609053",
        "flows": "1.9394481 -0.14057066 1.08623207 0.57968336 0.99006074 0.70956587 1.91212676 -0.12847007 "
        "1.10590757 0.57651456 2.02289285 -0.2417548",
    },
}
"""Its outputs with `numbers` for all weights and inputs, norms' weights moved by 1."""


def numbers(name: str, shape: Sequence[int]) -> torch.Tensor:
    """Values that a name gives, the same everywhere."""
    places = torch.arange(torch.Size(shape).numel(), dtype=torch.float64)
    return torch.sin(places * 0.7 + zlib.crc32(name.encode()) % 1000).reshape(shape)


def weights(model: nn.Module) -> dict[str, torch.Tensor]:
    """Numbers for every parameter, by the name that it had in salt-ml 0.8."""

    def of(name: str, shape: Sequence[int]) -> torch.Tensor:
        name = name.replace("flows", "neutral")  # what the stream was called when the answers were recorded
        if ".in_proj_" in name:
            third = [shape[0] // 3, *shape[1:]]
            return torch.cat([numbers(name.replace("in_proj_", f"linear_{part}."), third) for part in "qkv"])
        shift = "norm" in name and name.endswith("weight")
        return numbers(name.replace("mha.out_proj", "mha.linear_out"), shape) + float(shift)

    return {name: of(name, value.shape) for name, value in model.state_dict().items()}


@pytest.mark.parametrize("name", ANSWERS)
def test_the_numbers_are_those_of_the_version_that_had_them(name):
    makers = {**MAKERS, "bare": lambda embed_dim, _: TransformerEncoder(embed_dim, 1, heads())}
    model = makers[name](4, 2).double()
    model.load_state_dict(weights(model))
    tokens = []
    for stream, lengths in LENGTHS.items():
        padded = numbers(stream.replace("flows", "neutral"), (4, 3, 4))
        values = padded[torch.arange(3) < torch.tensor(lengths)[:, None]]
        tokens.append(Tokens(stream, *Packed.of(Ragged.from_lengths(values, torch.tensor(lengths)))))
    for stream in model(tokens).streams:
        expected = torch.tensor([float(value) for value in ANSWERS[name][stream.name].split()], dtype=torch.float64)
        torch.testing.assert_close(stream.x.detach().flatten(), expected, rtol=0, atol=1e-8)


# --- the oracle ----------------------------------------------------------------------------------------------------


def tagger(make_model, name: str, **options):
    """A tagger of both streams with this encoder."""
    torch.manual_seed(0)
    return shaken(make_model(streams=STREAMS, encoder=MAKERS[name](8, 6), **options))


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("lengths", [None, [0], [4, 1, 0, 9, 4]], ids=str)
def test_packed_equals_padded_in_values_and_gradients(make_model, make_batch, name, lengths):
    model = tagger(make_model, name)
    batch = make_batch() if lengths is None else make_batch(lengths, flows=[2, 0, 3, 30, 1][: len(lengths)])
    for ours, others in zip(run(model, batch, Packed), run(model, batch, Padded), strict=True):
        equal(ours, others)


@pytest.mark.parametrize("name", MAKERS)
def test_one_jet_at_a_time_equals_packed(make_model, make_batch, name):
    model = tagger(make_model, name, tasks=("jet", "origin")).eval()
    batch = make_batch([0, 1, 5, 3], flows=[0, 3, 2, 0])
    packed, offsets = model(batch.inputs), batch.inputs["tracks"].offsets
    for jet in range(len(batch)):
        one = model(only(batch.inputs, jet), One)
        torch.testing.assert_close(one["jets_classification"], packed["jets_classification"][jet : jet + 1])
        torch.testing.assert_close(one["track_origin"], packed["track_origin"][offsets[jet] : offsets[jet + 1]])


@pytest.mark.parametrize("name", MAKERS)
def test_every_parameter_has_a_gradient_where_a_stream_is_empty(make_model, make_batch, name):
    model = tagger(make_model, name)
    batch = make_batch([2, 3], flows=[0, 0])
    sum(total for total, _ in model.losses(model(batch.inputs), batch).values()).backward()
    assert not [name for name, parameter in model.named_parameters() if parameter.grad is None]


def encoded(model: Encoder, house: type[Layout] = Packed, names: Sequence[str] = ("tracks", "flows")) -> torch.Tensor:
    ragged = Ragged.from_lengths(torch.ones(5, 8), torch.tensor([2, 3]))
    return model([Tokens(name, *house.of(ragged)) for name in names]).together.x


def test_a_single_layer_is_both_the_first_and_the_last():
    model = first_and_last(8, 0, num_layers=1)
    assert len(model.cross_layers["tracks_flows"]) == 1
    assert encoded(model).shape == (10, 8)


def test_dropout_is_that_of_the_attention_which_was_named():
    model = TransformerEncoder(8, 1, heads(dropout=0.5), RELU)
    assert model.layers[0].mha.dropout == 0.5


def test_streams_that_the_encoder_does_not_know_are_named():
    with pytest.raises(ValueError, match="input_names tracks, flows, but init_nets embed tracks, neutral"):
        encoded(first_and_last(8, 6), names=("tracks", "neutral"))
