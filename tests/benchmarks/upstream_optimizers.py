"""Steps of upstream's optimisers (run by its Python): weights and gradients in, weights out."""

import sys

import torch
from lion_pytorch import Lion

from salt.optim import HybridMuonAdamW

OPTIMIZERS = {
    "lion": lambda named, options: Lion([weight for _, weight in named], **options),
    "HybridMuonAdamW": HybridMuonAdamW,
}


def steps(name, case):
    """The weights after a step for each set of gradients."""
    named = [(key, torch.nn.Parameter(weight.clone())) for key, weight in case["weights"].items()]
    make = OPTIMIZERS[name]
    optimizer = make(named, case["options"]) if name == "lion" else make(named, **case["options"])
    for gradients in case["gradients"]:
        for key, weight in named:
            weight.grad = gradients[key].clone()
        optimizer.step()
    return {key: weight.detach() for key, weight in named}


if __name__ == "__main__":
    cases = torch.load(sys.argv[1], weights_only=True)
    torch.save({name: steps(case["optimizer"], case) for name, case in cases.items()}, sys.argv[2])
