"""Every option of the transformer: packed equals padded, one jet at a time equals packed, and it does what it says."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from salt.layout import One, Packed
from salt.models import Transformer
from salt.nn.attention import ATTENTION_TYPES, Attention
from salt.nn.encoder import Tokens
from salt.nn.layers import GLU, Dense
from salt.nn.residual import DropPath, LayerScale, NormResidual
from salt.nn.transformer import DecoderLayer, EncoderLayer
from salt.ragged import Ragged, Segments
from tests.models.padded import Padded
from tests.models.test_oracle import run

HEADS = {"num_heads": 2}
CASES = {
    "post": {"norm_type": "post"},
    "post, RMSNorm, LayerScale": {"norm_type": "post", "norm": "RMSNorm", "ls_init": 0.3},
    "hybrid": {"norm_type": "hybrid"},
    "hybrid, RMSNorm, gated": {"norm_type": "hybrid", "norm": "RMSNorm", "dense_kwargs": {"gated": True}},
    "no norm": {"norm_type": "none", "do_final_norm": False},
    "LayerScale": {"ls_init": 0.3},
    "several nets": {"num_dense": 3},
    "query and key norm": {"attn_kwargs": {**HEADS, "do_qk_norm": True}},
    "value norm": {"attn_kwargs": {**HEADS, "do_v_norm": True}},
    "no biases": {"attn_kwargs": {**HEADS, "bias": False}, "dense_kwargs": {"bias": False}},
    "muP": {"mup": True, "attn_kwargs": {**HEADS, "mup": True}, "dense_kwargs": {"mup": True}},
    "GELU, wide": {"dense_kwargs": {"activation": "GELU", "hidden_dim": 11}},
    "two streams, hybrid": {"norm_type": "hybrid", "streams": ("tracks", "flows"), "num_registers": 2},
}


def shaken(model: nn.Module) -> nn.Module:
    """The same model with all parameters away from where they begin: ones, zeros and small factors hide mistakes."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
    return model


def equal(ours: dict[str, torch.Tensor], others: dict[str, torch.Tensor], tolerance: float = 1e-12) -> None:
    assert ours.keys() == others.keys()
    for name, value in others.items():
        torch.testing.assert_close(ours[name], value, rtol=tolerance, atol=tolerance, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("lengths", [None, [0], [4, 1, 0, 9, 4]], ids=str)
def test_packed_equals_padded_in_values_and_gradients(make_model, make_batch, case, lengths):
    model = shaken(make_model(**CASES[case]))
    batch = make_batch() if lengths is None else make_batch(lengths)
    for ours, others in zip(run(model, batch, Packed), run(model, batch, Padded), strict=True):
        equal(ours, others)


@pytest.mark.parametrize("case", CASES)
def test_one_jet_at_a_time_equals_packed(make_model, make_batch, case):
    model, batch = shaken(make_model(**CASES[case], tasks=("jet", "origin"))).eval(), make_batch([0, 1, 5])
    packed = model(batch.inputs)
    offsets = batch.inputs["tracks"].offsets
    for jet in range(len(batch)):
        one = model(only(batch.inputs, jet), One)
        torch.testing.assert_close(one["jets_classification"], packed["jets_classification"][jet : jet + 1])
        rows = slice(offsets[jet], offsets[jet + 1])
        torch.testing.assert_close(one["track_origin"], packed["track_origin"][rows])


def only(inputs: dict, jet: int) -> dict:
    """Inputs of one jet of several."""

    def part(x: torch.Tensor | Ragged) -> torch.Tensor | Ragged:
        if isinstance(x, torch.Tensor):
            return x[jet : jet + 1]
        values = x.values[x.offsets[jet] : x.offsets[jet + 1]]
        return Ragged.from_lengths(values, torch.tensor([len(values)]))

    return {stream: part(x) for stream, x in inputs.items()}


# --- paths that are dropped ----------------------------------------------------------------------------------------


def test_a_path_is_dropped_for_all_tokens_of_a_jet_or_for_none():
    torch.manual_seed(0)
    lengths = torch.tensor([3, 0, 5, 2, 7, 1, 4, 4])
    dropped = DropPath(0.5)(torch.ones(26, 2), Packed(Segments.from_lengths(lengths)))
    jets = [set(jet.flatten().tolist()) for jet in dropped.split(lengths.tolist())]
    assert all(values in ({0.0}, {2.0}, set()) for values in jets)
    assert {0.0} in jets
    assert {2.0} in jets


def test_dropped_paths_are_the_same_packed_and_padded(make_model, make_batch):
    model, batch = shaken(make_model(drop_path=0.4, ls_init=0.5)), make_batch()

    def seeded(house):
        torch.manual_seed(5)
        return run(model, batch, house)

    for ours, others in zip(seeded(Packed), seeded(Padded), strict=True):
        equal(ours, others)


def test_the_mean_over_dropped_paths_is_the_whole_step():
    torch.manual_seed(0)
    x, layout = torch.ones(20_000, 1), Packed(Segments.from_lengths(torch.ones(20_000, dtype=torch.int64)))
    assert float(DropPath(0.3)(x, layout).mean()) == pytest.approx(1, abs=0.02)


def test_no_random_number_is_drawn_where_no_path_is_dropped(make_model, make_batch):
    model, batch = make_model(ls_init=0.5), make_batch()
    state = torch.get_rng_state()
    model(batch.inputs)
    assert torch.equal(torch.get_rng_state(), state)


def test_nothing_is_dropped_outside_training(make_model, make_batch):
    model, batch = make_model(drop_path=0.9), make_batch()
    model.eval()
    assert torch.equal(model(batch.inputs)["track_origin"], model(batch.inputs)["track_origin"])


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_a_share_of_dropped_paths_that_is_none_is_refused(share):
    with pytest.raises(ValueError, match=r"drop_path is .*from 0 to below 1"):
        EncoderLayer(8, drop_path=share)


# --- initial values ------------------------------------------------------------------------------------------------


def test_options_that_are_off_draw_no_random_numbers():
    def drawn(**options):
        torch.manual_seed(0)
        Transformer(2, 8, **options)
        return torch.get_rng_state()

    assert torch.equal(drawn(ls_init=0.1, norm_type="hybrid", norm="RMSNorm", drop_path=0.2), drawn())


def test_layer_scale_begins_where_it_is_told_to():
    layers = Transformer(1, 8, ls_init=0.01).layers
    assert layers[0].attn.ls.gamma.tolist() == pytest.approx([0.01] * 8)
    assert LayerScale(3).gamma.tolist() == pytest.approx([1e-3] * 3)


def test_maximal_update_parametrisation_begins_without_attention_and_without_output():
    torch.manual_seed(0)
    transformer = Transformer(1, 256, out_dim=64, mup=True)
    assert not transformer.out_proj.weight.any()
    assert not transformer.out_proj.bias.any()
    attention = Attention(256, 8, mup=True)
    queries, keys, values = (float(part.std()) for part in attention.in_proj_weight.detach().chunk(3))
    assert queries == 0
    assert (keys, values) == pytest.approx((32**-0.5, 32**-0.5), rel=0.02)
    assert attention.scale == 1 / 32
    widths = {"in_proj": 512, "out_proj": 256}
    assert {name: float(getattr(GLU(256, mup=True), name).weight.detach().std()) for name in widths} == pytest.approx(
        {name: width**-0.5 for name, width in widths.items()}, rel=0.02
    )
    dense = Dense(256, 100, [400], mup=True).net
    assert float(dense[0].weight.detach().std()) == pytest.approx(400**-0.5, rel=0.02)
    assert not dense[2].bias.any()


def test_the_last_layer_of_the_parametrisation_is_needed():
    with pytest.raises(ValueError, match="mup is asked for without out_dim"):
        Transformer(1, 8, mup=True)


# --- names ---------------------------------------------------------------------------------------------------------


def test_parameters_have_upstreams_names():
    layer = EncoderLayer(8, "RMSNorm", ls_init=0.1, depth=1, norm_type="hybrid", num_dense=2)
    norms = {"q_norm.weight", "k_norm.weight", "v_norm.weight"}
    linear = {"in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias"}
    glu = {"fn.in_proj.weight", "fn.in_proj.bias", "fn.out_proj.weight", "fn.out_proj.bias", "ls.gamma"}
    expected = {"norm.weight", "attn.ls.gamma", *(f"attn.fn.{name}" for name in norms | linear)}
    assert set(layer.state_dict()) == expected | {f"dense.{i}.{name}" for i in (0, 1) for name in glu}
    first = EncoderLayer(8, "RMSNorm", depth=0, norm_type="hybrid").state_dict()
    assert {name for name in first if name.endswith("norm.weight") and "fn" not in name} == {
        "attn.norm.weight",
        "dense.norm.weight",
    }


@pytest.mark.parametrize("attn_type", ATTENTION_TYPES)
def test_all_names_of_kernels_give_the_same(make_model, make_batch, attn_type):
    assert torch.equal(
        make_model(attn_type=attn_type)(make_batch().inputs)["track_origin"],
        make_model()(make_batch().inputs)["track_origin"],
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attn_type": "flash"}, "unknown attn_type 'flash'; there are torch-math"),
        ({"norm_type": "before"}, "unknown norm_type 'before'; there are pre, post, hybrid"),
        ({"norm": "BatchNorm"}, "unknown norm 'BatchNorm'; there are LayerNorm and RMSNorm"),
        ({"num_dense": 0}, "num_dense is 0"),
        ({"num_registers": 0}, "num_registers is 0"),
        ({"attn_kwargs": {"num_heads": 3}}, "embed_dim 8 is not a multiple of num_heads 3"),
    ],
)
def test_what_cannot_be_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        Transformer(1, 8, **options)


def test_a_step_alone_knows_three_places_of_its_norm():
    with pytest.raises(ValueError, match="unknown norm_type 'hybrid' of a step; there are pre, post, none"):
        NormResidual(GLU(8), nn.LayerNorm(8), "hybrid")


# --- tokens of another stream --------------------------------------------------------------------------------------

STREAMS = [([3, 0, 5, 1, 12, 2], [2, 4, 0, 1, 9, 7]), ([0, 0], [3, 0]), ([4], [0]), ([1, 2, 40], [40, 2, 1])]


def stream(lengths: list[int], house, width: int = 8, seed: int = 0):
    """Tokens of jets of these lengths, leaves for gradients, and where they are."""
    values = torch.randn(sum(lengths), width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    values.requires_grad_()
    x, layout = house.of(Ragged.from_lengths(values, torch.tensor(lengths)))
    return values, x, layout


@pytest.mark.parametrize("lengths", STREAMS, ids=str)
@pytest.mark.parametrize("norm_type", ["pre", "post", "none"])
@pytest.mark.parametrize("normalised", [False, True])
def test_a_decoder_layer_is_the_same_packed_and_padded(lengths, norm_type, normalised):
    kwargs = {**HEADS, "do_qk_norm": normalised, "do_v_norm": normalised}
    layer = shaken(DecoderLayer(8, "RMSNorm", norm_type=norm_type, attn_kwargs=kwargs).double())

    def answers(house):
        layer.zero_grad()
        own, x, layout = stream(lengths[0], house)
        theirs, others, where = stream(lengths[1], house, seed=1)
        out = layer(x, layout, Tokens("others", others, where))
        out = out[layout.valid] if house is Padded else out
        (out * torch.linspace(0, 1, out.numel(), dtype=out.dtype).view_as(out)).sum().backward()
        gradients = {name: p.grad.clone() for name, p in layer.named_parameters()}
        return {"out": out.detach(), "own": own.grad, "others": theirs.grad, **gradients}

    equal(answers(Packed), answers(Padded))


def test_a_decoder_layer_of_one_jet_is_that_of_several():
    layer = shaken(DecoderLayer(8, attn_kwargs=HEADS).double())
    asking, answering = [3, 1, 0, 4], [2, 0, 3, 5]
    _, x, layout = stream(asking, Packed)
    _, others, where = stream(answering, Packed, seed=1)
    packed = layer(x, layout, Tokens("others", others, where)).split(asking)
    for jet, (own, theirs) in enumerate(zip(x.split(asking), others.split(answering), strict=True)):
        torch.testing.assert_close(layer(own, One(), Tokens("others", theirs, One())), packed[jet])


def test_whoever_has_nobody_to_ask_learns_nothing():
    q, k, v = torch.randn(3, 2, 4), torch.randn(2, 2, 4), torch.randn(2, 2, 4)
    asking, answering = (Segments.from_lengths(torch.tensor(lengths)) for lengths in ([1, 2], [2, 0]))
    out = Packed(asking).attend_across(q, k, v, Packed(answering), 0.5)
    assert out[0].any()
    assert not out[1:].any()
    assert not One().attend_across(q, k[:0], v[:0], One(), 0.5).any()


def test_dropout_leaves_the_mean_of_attention_alone():
    torch.manual_seed(0)
    segments = Segments.from_lengths(torch.tensor([6] * 500))
    q, k, v = (torch.randn(3000, 1, 4) for _ in range(3))
    whole = Packed(segments).attend_across(q, k, v, Packed(segments), 0.5)
    dropped = Packed(segments).attend_across(q, k, v, Packed(segments), 0.5, dropout=0.3)
    assert not torch.equal(dropped, whole)
    assert float((dropped - whole).mean()) == pytest.approx(0, abs=0.02)
