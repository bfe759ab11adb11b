"""The same weights, the same tokens: outputs and gradients of the transformer are upstream's, whatever its options."""

import pytest
import torch

from salt.models import Transformer
from salt.nn.encoder import Tokens
from salt.nn.transformer import DecoderLayer
from salt.ragged import Ragged
from tests.models.padded import Padded
from tests.models.test_encoder import equal, shaken

pytestmark = pytest.mark.peers

HEADS = {"num_heads": 2}
ENCODERS = {
    "defaults": {},
    "post": {"norm_type": "post"},
    "hybrid": {"norm_type": "hybrid"},
    "hybrid, RMSNorm": {"norm_type": "hybrid", "norm": "RMSNorm"},
    "none": {"norm_type": "none"},
    "RMSNorm": {"norm": "RMSNorm"},
    "gated": {"dense_kwargs": {"gated": True, "activation": "SiLU"}},
    "ReLU": {"dense_kwargs": {"activation": "ReLU", "hidden_dim": 12}},
    "GELU": {"dense_kwargs": {"activation": "GELU"}},
    "registers": {"num_registers": 4},
    "registers dropped": {"num_registers": 3, "drop_registers": True},
    "LayerScale": {"ls_init": 0.1},
    "LayerScale, post": {"ls_init": 0.1, "norm_type": "post", "norm": "RMSNorm"},
    "query and key norm": {"attn_kwargs": {**HEADS, "do_qk_norm": True}},
    "value norm": {"attn_kwargs": {**HEADS, "do_v_norm": True}},
    "several nets": {"num_dense": 3},
    "several nets, hybrid": {"num_dense": 2, "norm_type": "hybrid", "norm": "RMSNorm", "ls_init": 0.1},
    "no projection": {"out_dim": None},
    "no final norm": {"do_final_norm": False},
    "no biases": {"attn_kwargs": {**HEADS, "bias": False}, "dense_kwargs": {"bias": False}},
    "muP in attention": {"attn_kwargs": {**HEADS, "mup": True}},
    "kernel": {"attn_type": "torch-meff"},
}
DECODERS = {
    "decoder": {},
    "decoder, post": {"norm_type": "post", "norm": "RMSNorm"},
    "decoder, none": {"norm_type": "none", "ls_init": None},
    "decoder, norms": {"attn_kwargs": {**HEADS, "do_qk_norm": True, "do_v_norm": True}},
}
LENGTHS = {"tracks": [3, 1, 6, 2, 4], "flows": [2, 5, 0, 1, 3]}


def case(name):
    """Ours, tokens of each stream, and what upstream is to do."""
    torch.manual_seed(len(name))
    kind = "encoder" if name in ENCODERS else "decoder"
    options = {"embed_dim": 8, "attn_kwargs": HEADS}
    if kind == "encoder":
        options = {"num_layers": 2, "out_dim": 6, **options, **ENCODERS[name]}
    else:
        options |= DECODERS[name]
    model = shaken({"encoder": Transformer, "decoder": DecoderLayer}[kind](**options).double())
    tokens = [
        Tokens(stream, *Padded.of(Ragged.from_lengths(torch.randn(sum(n), 8, dtype=torch.float64), torch.tensor(n))))
        for stream, n in LENGTHS.items()
    ]
    if kind == "decoder":  # upstream's lets padding among those that ask speak in their self-attention: have none
        queries = torch.randn(5, 4, 8, dtype=torch.float64)
        tokens[0] = Tokens("queries", queries, Padded(torch.ones(5, 4, dtype=torch.bool)))
    inputs = {stream.name: stream.x for stream in tokens}
    pads = {stream.name: ~stream.layout.valid for stream in tokens}
    return model, tokens, (kind, options, inputs, pads, model.state_dict())


@pytest.fixture(scope="module")
def upstream(ask_upstream):
    """Name of a case -> upstream's output and gradients."""
    return ask_upstream("upstream_encoder.py", {name: case(name)[-1] for name in ENCODERS | DECODERS})


@pytest.mark.parametrize("name", ENCODERS | DECODERS)
def test_outputs_and_gradients_are_upstreams(upstream, name):
    model, tokens, (kind, *_) = case(name)
    if kind == "encoder":
        together = model(tokens).together
        ours, layout = together.x, together.layout
    else:
        layout = tokens[0].layout
        ours = model(tokens[0].x, layout, tokens[1])
    (ours * torch.linspace(0, 1, ours.shape[-1], dtype=ours.dtype)).pow(2).sum().backward()
    out, gradients = upstream[name]
    torch.testing.assert_close(ours[layout.valid], out[layout.valid], rtol=1e-10, atol=1e-10)
    equal({parameter: value.grad for parameter, value in model.named_parameters()}, gradients, 1e-10)
