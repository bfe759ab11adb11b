import pytest
import torch

from salt.kernels.edge_attention import attend_edges
from salt.kernels.updated_edges import project_updated
from salt.ragged import Segments

LENGTHS = [2, 2, 0, 3, 1]


def inputs(lengths=LENGTHS, heads=2, width=3):
    torch.manual_seed(1)
    tokens, pairs = sum(lengths), sum(length**2 for length in lengths)
    shapes = [(tokens, 3, heads, width), (heads, pairs), (heads, pairs)]
    made = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    return made, Segments.from_lengths(torch.tensor(lengths))


def test_a_pair_alone_by_hand():
    qkv = torch.tensor([[1.0, 2, 10], [3, 4, 20]]).view(2, 3, 1, 1)
    term, gate = torch.tensor([[0.5, -6, 0, 0]]), torch.tensor([[0, 100.0, -100, 100]])
    out, logits = attend_edges(qkv, term, gate, Segments.from_lengths(torch.tensor([2])), 0.5)
    assert logits.tolist() == [[1 * 2 / 2 + 0.5, 1 * 4 / 2 - 6, 3 * 2 / 2, 3 * 4 / 2]]
    first, second = (logits[0].exp()[i : i + 2] / logits[0].exp()[i : i + 2].sum() for i in (0, 2))
    torch.testing.assert_close(out.flatten(), torch.stack([first[0] * 0.5 * 10 + first[1] * 20, second[1] * 20]))


def test_gradients_are_those_of_differences():
    made, segments = inputs()
    assert torch.autograd.gradcheck(lambda *x: attend_edges(*x, segments, 0.7), made)


@pytest.mark.parametrize("used", [0, 1])
def test_either_result_alone_has_gradients(used):
    made, segments = inputs()
    grads = torch.autograd.grad(attend_edges(*made, segments, 0.7)[used].sum(), made, allow_unused=True)
    assert all(grad is not None and grad.isfinite().all() for grad in grads)


def test_torchs_own_operations_give_the_same():
    made, segments = inputs([5, 5, 1, 0, 7])
    by_hand, by_torch = (attend_edges(*made, segments, 0.3, dropout) for dropout in (0, 1e-13))
    torch.testing.assert_close(by_hand, by_torch, rtol=1e-10, atol=1e-10)
    pull = [torch.randn_like(x) for x in by_hand]
    torch.testing.assert_close(
        torch.autograd.grad(by_hand, made, pull), torch.autograd.grad(by_torch, made, pull), rtol=1e-10, atol=1e-10
    )


def test_dropout_drops_weights_and_not_logits():
    (qkv, term, gate), segments = inputs([4] * 2000)
    kept, logits = attend_edges(qkv, term, gate, segments, 0.3)
    dropped, same = attend_edges(qkv, term, gate, segments, 0.3, 0.5)
    torch.testing.assert_close(logits, same)
    assert not torch.allclose(kept, dropped)
    torch.testing.assert_close(dropped.mean(0), kept.mean(0), atol=0.05, rtol=0)


def test_large_logits_give_finite_weights():
    made, segments = inputs([3])
    out, _ = attend_edges(made[0], made[1] * 1e5, made[2], segments, 1.0)
    assert out.isfinite().all()


@pytest.mark.parametrize("lengths", [[], [0], [0, 0]])
def test_no_tokens_learn_nothing(lengths):
    made, segments = inputs(lengths)
    out, logits = attend_edges(*made, segments, 1.0)
    assert out.shape == (0, 2, 3)
    assert logits.shape == (2, 0)


def test_gradients_of_a_map_of_updated_edges_are_those_of_differences():
    torch.manual_seed(0)
    heads, channels = 2, 3
    logits = torch.randn(heads, 7, dtype=torch.float64, requires_grad=True)
    maps = torch.randn(2 * channels + heads, heads, dtype=torch.float64)
    maps[-heads:] = torch.tensor([[1.0, 0.2], [0.2, 0.5]])
    offsets = torch.tensor([*[0.3] * 2 * channels, 0.1, 0.2, 1.0], dtype=torch.float64)
    made = [logits, maps.requires_grad_(), offsets.requires_grad_()]
    assert torch.autograd.gradcheck(lambda *x: project_updated(*x, 1e-5), made)
