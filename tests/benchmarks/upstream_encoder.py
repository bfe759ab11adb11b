"""Upstream's encoders for test_encoder_parity.py, run by upstream's Python: upstream_encoder.py CASES.pt OUT.pt.

A case is (kind, its arguments, inputs, masks of padding, weights); with an output go its gradients by the weights.
"""

import sys
import warnings
from copy import deepcopy

import torch
from salt.models.transformer import DecoderLayer, Transformer

warnings.simplefilter("ignore")


def encoded(options, inputs, pads):
    """Tokens of all streams and registers, one after the other."""
    return Transformer(**options), lambda model: model(dict(inputs), dict(pads))[0]


def decoded(options, inputs, pads):
    """Tokens of the first stream, having looked at those of the second."""
    (x, kv), (mask, kv_mask) = inputs.values(), pads.values()
    return DecoderLayer(**options), lambda model: model(x, kv=kv, mask=mask, kv_mask=kv_mask)


def answer(kind, options, inputs, pads, weights, dtype):
    """Output and gradients of one case."""
    # upstream writes into the arguments that it is given
    model, call = {"encoder": encoded, "decoder": decoded}[kind](deepcopy(options), inputs, pads)
    model.to(dtype)
    model.load_state_dict({**model.state_dict(), **weights})
    missing = {name for name in model.state_dict() if not name.endswith("register_mask")} - set(weights)
    assert not missing, missing
    out = call(model)
    (out * torch.linspace(0, 1, out.shape[-1], dtype=out.dtype)).pow(2).sum().backward()
    return out.detach(), {name: parameter.grad for name, parameter in model.named_parameters()}


def main() -> None:
    cases = torch.load(sys.argv[1])
    # RMSNorm computes in float32, which is right for training, but hides formulas when both sides are in float64
    torch.Tensor.float = torch.Tensor.double
    torch.save({name: answer(*case, dtype=torch.float64) for name, case in cases.items()}, sys.argv[2])


main()
