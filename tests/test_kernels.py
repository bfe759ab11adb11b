"""The kernels on packed tokens against the plainest way to write them."""

import pytest
import torch
from torch import nn

from salt.kernels import attention, groups, pairs
from salt.kernels import segments as kernels
from salt.nn.layers import make_activation
from salt.ragged import Ragged, Segments

LENGTHS = torch.tensor([0, 2, 2, 1, 5, 5, 5, 0, 3])


@pytest.fixture
def segments() -> Segments:
    return Segments.from_lengths(LENGTHS)


def random(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(*shape, generator=generator, dtype=torch.float64, requires_grad=True)


def by_jet(x: torch.Tensor) -> list[torch.Tensor]:
    return list(x.split(LENGTHS.tolist()))


def same_gradients(ours: torch.Tensor, theirs: torch.Tensor, *inputs: torch.Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    seed = torch.linspace(-1, 1, ours.numel(), dtype=ours.dtype).view_as(ours)
    for a, b in zip(torch.autograd.grad(ours, inputs, seed), torch.autograd.grad(theirs, inputs, seed), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_spread_gives_each_token_its_jets_row(segments):
    x = random(len(LENGTHS), 4)
    same_gradients(kernels.spread(x, segments), x.repeat_interleave(LENGTHS, 0), x)


def test_segment_sum_adds_the_tokens_of_each_jet(segments):
    x = random(segments.num_tokens, 4)
    same_gradients(kernels.segment_sum(x, segments), torch.stack([part.sum(0) for part in by_jet(x)]), x)


def test_pool_is_a_softmax_weighted_mean_and_zero_for_an_empty_jet(segments):
    score, x = random(segments.num_tokens, 1), random(segments.num_tokens, 4)
    plain = [(s.softmax(0) * part).sum(0) for s, part in zip(by_jet(score), by_jet(x), strict=True)]
    pooled = kernels.pool(score, x, segments)
    same_gradients(pooled, torch.stack(plain), score, x)
    assert (pooled[LENGTHS == 0] == 0).all()


def test_join_and_take_are_each_others_inverse(segments):
    a, b = random(3, 2), random(4, 2)
    positions = torch.tensor([6, 0, 3]), torch.tensor([1, 2, 4, 5])
    joined = kernels.join(positions, a, b)
    assert torch.equal(kernels.take(joined, positions[0]), a)
    same_gradients(joined, torch.stack([a[1], b[0], b[1], a[2], b[2], b[3], a[0]]), a, b)


def pairs_of(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    rows = []
    for x, y in zip(by_jet(a), by_jet(b), strict=True):
        rows += [x[i] + y[j] for i in range(len(x)) for j in range(len(x)) if i != j]
    return torch.stack(rows)


@pytest.mark.parametrize("kept", [0, 2**20])
@pytest.mark.parametrize("names", [("ReLU", "ReLU"), ("SiLU", "SiLU"), ("ReLU", "Mish"), ("GELU", "ReLU")], ids=str)
@pytest.mark.parametrize("at_a_time", [1, 7, 10**6])
def test_pair_map_is_the_same_in_chunks_of_any_size(segments, monkeypatch, at_a_time, names, kept):
    monkeypatch.setattr(pairs, "PAIRS_AT_A_TIME", at_a_time)
    monkeypatch.setattr(pairs, "KEPT_BYTES", kept)
    torch.manual_seed(0)
    first, second = (make_activation(name) for name in names)
    net = nn.Sequential(first, nn.Dropout(0), nn.Linear(4, 3), second, nn.Linear(3, 2)).double()
    assert pairs._known_net(net) is not None
    a, b = random(segments.num_tokens, 4), random(segments.num_tokens, 4).detach().mul(2).requires_grad_()
    ours, theirs = pairs.pair_map(net, a, b, segments), net(pairs_of(a, b))
    same_gradients(ours, theirs, a, b, *net.parameters())


@pytest.mark.parametrize(
    "net",
    [
        nn.Sequential(nn.ELU(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1)),
        nn.Sequential(nn.ReLU(), nn.Linear(4, 3), nn.ReLU()),
        nn.Sequential(nn.ReLU(), nn.Linear(4, 1, bias=False)),
        nn.Sequential(),
    ],
    ids=str,
)
def test_pair_map_takes_any_other_net_too(segments, net):
    a, b = random(segments.num_tokens, 4), random(segments.num_tokens, 4).detach().mul(2).requires_grad_()
    net = net.double()
    same_gradients(pairs.pair_map(net, a, b, segments), net(pairs_of(a, b)), a, b, *net.parameters())


def test_pair_map_drops_where_a_dropout_is_active(segments):
    net = nn.Sequential(nn.ReLU(), nn.Dropout(0.5), nn.Linear(4, 1)).double()
    a = b = torch.ones(segments.num_tokens, 4, dtype=torch.float64)
    assert pairs.pair_map(net.train(), a, b, segments).unique().numel() > 1
    assert pairs.pair_map(net.eval(), a, b, segments).unique().numel() == 1


def test_pair_labels_are_those_of_the_pairs(segments):
    x = torch.arange(segments.num_tokens)
    first, second = pairs.pair_labels(x, segments)
    assert torch.equal(first, segments.pairs.first)
    assert torch.equal(second, segments.pairs.second)
    assert segments.num_pairs == len(first)


def test_pair_map_of_jets_without_pairs_is_empty():
    net = nn.Sequential(nn.ReLU(), nn.Linear(4, 1))
    x = torch.randn(2, 4, requires_grad=True)
    out = pairs.pair_map(net, x, x, Segments.from_lengths(torch.tensor([1, 0, 1])))
    assert out.shape == (0, 1)
    out.sum().backward()
    assert (x.grad == 0).all()


def attend_plainly(qkv: torch.Tensor, scale: float) -> torch.Tensor:
    out = []
    for part in by_jet(qkv):
        q, k, v = part.permute(1, 2, 0, 3)
        out.append(((q @ k.transpose(1, 2) * scale).softmax(-1) @ v).transpose(0, 1))
    return torch.cat(out)


def test_attention_stays_inside_each_jet(segments):
    qkv = random(segments.num_tokens, 3, 2, 4)
    same_gradients(attention.attend(qkv, segments, 0.7), attend_plainly(qkv, 0.7), qkv)


@pytest.mark.parametrize("fragmented", [0, 1, 100])
def test_attention_is_the_same_whether_jets_of_equal_length_are_gathered_or_not(segments, monkeypatch, fragmented):
    monkeypatch.setattr(groups, "FRAGMENTED", fragmented)
    qkv = random(segments.num_tokens, 3, 2, 4)
    same_gradients(attention.attend(qkv, segments, 0.7), attend_plainly(qkv, 0.7), qkv)


def test_jets_of_equal_length_are_gathered_where_few_are_neighbours():
    mixed = Segments.from_lengths(torch.tensor([3, 1, 3, 1, 3, 1, 0])).offsets.numpy()
    assert [(jets, length) for _, jets, length in groups.groups(mixed)] == [(1, 0), (3, 1), (3, 3)]
    in_order = Segments.from_lengths(torch.tensor([1, 1, 3, 3, 2])).offsets.numpy()
    assert [rows for rows, _, _ in groups.groups(in_order)] == [slice(0, 2), slice(2, 8), slice(8, 10)]


def test_attention_is_right_for_logits_of_any_size(segments):
    qkv = (random(segments.num_tokens, 3, 2, 4) * 30).detach().requires_grad_()
    assert (attend_plainly(qkv, 0.7) - attend_plainly(qkv.float(), 0.7)).abs().max() < 1e-3
    same_gradients(attention.attend(qkv, segments, 0.7), attend_plainly(qkv, 0.7), qkv)
    assert torch.isfinite(attention.attend(qkv.float() * 10, segments, 0.7)).all()


def test_attention_by_torchs_kernel_is_the_same(segments):
    qkv = random(segments.num_tokens, 3, 2, 4)
    same_gradients(attention._attend_sdpa(qkv, segments, 0.7, 0.0), attend_plainly(qkv, 0.7), qkv)


def test_attention_drops_weights_in_training(segments):
    qkv = random(segments.num_tokens, 3, 2, 4)
    torch.manual_seed(1)
    dropped = attention.attend(qkv, segments, 0.7, dropout=0.5)
    assert not torch.allclose(dropped, attention.attend(qkv, segments, 0.7))


def test_attention_is_a_proper_custom_operator():
    qkv = torch.randn(9, 3, 2, 4, requires_grad=True)
    offsets = Segments.from_lengths(torch.tensor([2, 3, 4])).offsets
    torch.library.opcheck(
        torch.ops.salt.attend_runs.default,
        (qkv, offsets, 0.5),
        test_utils=("test_schema", "test_autograd_registration"),
    )


def test_lengths_that_do_not_add_up_are_refused():
    with pytest.raises(ValueError, match="5 rows of values, but the jets' lengths add up to 4"):
        Ragged.from_lengths(torch.zeros(5, 2), torch.tensor([1, 3]))
