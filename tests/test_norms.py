import pytest
import torch
import torch.nn.functional as F

from salt.kernels import norms
from salt.kernels.norms import rms_norm

EPSILON = 1e-5
SHAPES = [(7, 8), (5, 3, 8), (1, 8), (0, 8), (4, 1)]


def both(shape, dtype=torch.float64):
    """Values and gradients by torch's and by ours."""
    generator = torch.Generator().manual_seed(0)
    x, grad = (torch.randn(shape, generator=generator, dtype=dtype) for _ in range(2))
    weight = torch.randn(shape[-1], generator=generator, dtype=dtype)
    for norm in (lambda x, w: F.rms_norm(x, (shape[-1],), w, EPSILON), lambda x, w: rms_norm(x, w, EPSILON)):
        inputs = [x.clone().requires_grad_(), weight.clone().requires_grad_()]
        out = norm(*inputs)
        yield out, *torch.autograd.grad(out, inputs, grad)


@pytest.mark.parametrize("shape", SHAPES)
def test_values_and_gradients_are_torchs(shape):
    for expected, ours in zip(*both(shape), strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-13)


def test_tokens_of_zeros_stay_zeros_and_have_a_gradient():
    x, weight = torch.zeros(2, 4, requires_grad=True), torch.ones(4)
    out = rms_norm(x, weight, EPSILON)
    out.sum().backward()
    assert not out.any()
    torch.testing.assert_close(x.grad, torch.full((2, 4), EPSILON**-0.5))


def test_a_view_that_is_not_contiguous_is_normalised_as_its_copy():
    x = torch.randn(5, 3, 8).transpose(0, 1).requires_grad_()
    weight = torch.randn(8, requires_grad=True)
    ours, copied = (rms_norm(of, weight, EPSILON) for of in (x, x.detach().contiguous()))
    torch.testing.assert_close(ours, copied)


def test_it_is_checked_numerically():
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, w: rms_norm(x, w, EPSILON), (x, weight))


@pytest.mark.parametrize("numbers_at_a_time", [1, 100, 10**6])
def test_heads_of_queries_keys_and_values_have_gains_of_their_own(monkeypatch, numbers_at_a_time):
    monkeypatch.setattr(norms, "NUMBERS_AT_A_TIME", numbers_at_a_time)
    x = torch.randn(7, 3, 2, 4, dtype=torch.float64, requires_grad=True)
    gains = torch.randn(3, 1, 4, dtype=torch.float64, requires_grad=True)
    grad = torch.randn_like(x)
    ours = rms_norm(x, gains, EPSILON)
    apart = torch.stack([F.rms_norm(x[:, i], (4,), gains[i, 0], EPSILON) for i in range(3)], 1)
    torch.testing.assert_close(ours, apart, rtol=1e-12, atol=1e-13)
    inputs = (x, gains)
    for mine, other in zip(*(torch.autograd.grad(y, inputs, grad) for y in (ours, apart)), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-12, atol=1e-13)
    with torch.no_grad():
        torch.testing.assert_close(rms_norm(x, gains, EPSILON), apart, rtol=1e-12, atol=1e-13)


def test_without_gradients_and_under_autocast_it_is_torchs():
    x, weight = torch.randn(3, 4), torch.randn(4)
    expected = F.rms_norm(x, (4,), weight, EPSILON)
    with torch.inference_mode():
        assert torch.equal(rms_norm(x, weight, EPSILON), expected)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(rms_norm(x, weight, EPSILON), expected)
