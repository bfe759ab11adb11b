"""Our Lion is lion-pytorch's, and our hybrid of Muon and AdamW is upstream's: weights after twenty steps to 1e-12."""

import pytest
import torch

from salt.models import GlobalAttentionPooling, InitNet, Transformer
from salt.training.optim import Group, chosen
from salt.types import Schema

pytestmark = pytest.mark.peers

SCHEMA = Schema({"jets": ["pt", "eta"], "tracks": ["d0", "z0", "dr"]})
RATE, WEIGHT_DECAY = 1e-3, 0.1


def case(optimizer, **init_args):
    """Weights with the names that ours have, and made-up gradients."""
    torch.manual_seed(4)
    parts = {
        "init_nets": torch.nn.ModuleList([InitNet(SCHEMA, "tracks", {"output_size": 16, "hidden_layers": [24]})]),
        "encoder": Transformer(1, 16, 8, norm="RMSNorm", attn_kwargs={"num_heads": 2}),
        "pool_net": GlobalAttentionPooling(8),
    }
    model = torch.nn.ModuleDict({"model": torch.nn.ModuleDict(parts)}).double()
    weights = {name: weight.detach() for name, weight in model.named_parameters()}
    gradients = [{name: torch.randn_like(weight) for name, weight in weights.items()} for _ in range(20)]
    options = {"lr": RATE, "weight_decay": WEIGHT_DECAY, **init_args}
    return {"optimizer": optimizer, "options": options, "weights": weights, "gradients": gradients}


CASES = {
    "lion": case("lion"),
    "lion with other betas": case("lion", betas=(0.95, 0.98)),
    "hybrid": case("HybridMuonAdamW"),
    "hybrid of two rates": case("HybridMuonAdamW", lr_muon=2e-2, adjust_lr_fn="match_rms_adamw", momentum=0.9),
}


@pytest.fixture(scope="module")
def theirs(ask_upstream):
    return ask_upstream("upstream_optimizers.py", CASES)


@pytest.mark.parametrize("name", CASES)
def test_steps_are_upstreams(theirs, name):
    of = CASES[name]
    named = [(key, torch.nn.Parameter(weight.clone())) for key, weight in of["weights"].items()]
    arguments = {key: value for key, value in of["options"].items() if key not in {"lr", "weight_decay"}}
    choice = chosen({"class_path": of["optimizer"], "init_args": arguments})
    optimizer = choice.build([Group(named, RATE, WEIGHT_DECAY)], fused=True)
    for gradients in of["gradients"]:
        for key, weight in named:
            weight.grad = gradients[key].clone()
        optimizer.step()
    for key, weight in named:
        torch.testing.assert_close(weight.detach(), theirs[name][key], rtol=1e-12, atol=1e-12, msg=key)
