"""The gated net by hand against the plainest way to write it."""

import pytest
import torch
from torch import nn

from salt.kernels import gated as kernels
from salt.kernels.activations import known
from salt.nn.layers import GLU

ACTIVATIONS = [nn.SiLU(), nn.ReLU(), nn.GELU(), nn.Mish()]


def plainly(residual, x, into, out_of, activation):
    a, b = into(x).chunk(2, -1)
    y = out_of(activation(a) * b)
    return y if residual is None else residual + y


def inputs(tokens, width=6, inside=10):
    torch.manual_seed(tokens)
    into, out_of = nn.Linear(width, 2 * inside).double(), nn.Linear(inside, width).double()
    residual, x, grad = (torch.randn(tokens, width, dtype=torch.float64, requires_grad=True) for _ in range(3))
    return residual, x, into, out_of, grad.detach()


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
@pytest.mark.parametrize("at_a_time", [1, 3, 100])
@pytest.mark.parametrize("tokens", [0, 1, 7])
@pytest.mark.parametrize("adds", [True, False])
def test_values_and_gradients_are_those_of_the_plain_net(monkeypatch, activation, at_a_time, tokens, adds):
    monkeypatch.setattr(kernels, "TOKENS_AT_A_TIME", at_a_time)
    residual, x, into, out_of, grad = inputs(tokens)
    of = [x, *into.parameters(), *out_of.parameters(), *([residual] if adds else [])]
    mine, plain = (
        function(residual if adds else None, x, into, out_of, activation) for function in (kernels.gated, plainly)
    )
    torch.testing.assert_close(mine, plain, rtol=1e-12, atol=1e-13)
    for a, b in zip(torch.autograd.grad(mine, of, grad), torch.autograd.grad(plain, of, grad), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("net", [nn.GELU("tanh"), nn.ELU(), nn.Identity()], ids=str)
def test_other_activations_are_left_to_torch(net):
    assert known(net) is None


def test_a_gated_net_that_drops_draws_in_training():
    net, x = GLU(8, dropout=0.5, gated=True), torch.randn(5, 8)
    assert not torch.equal(net(None, x), net(None, x))
    net.eval()
    assert torch.equal(net(None, x), net(None, x))
