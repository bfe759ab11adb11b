"""Which kernel computes attention, as a pure function; and that all of those which run here give the same."""

import logging

import pytest
import torch

from salt.kernels import attention
from salt.kernels.across import attend_across
from salt.kernels.attention import Choice, Kernel, choose
from salt.ragged import Segments

AMPERE, VOLTA = (8, 0), (7, 0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_a_cpu_uses_our_own_kernel_for_every_type(dtype):
    assert choose("cpu", dtype, 0.0, 12, (0, 0)) == Choice(Kernel.RUNS)


def test_a_cpu_with_dropout_uses_torchs_kernel_and_need_not_say_why():
    assert choose("cpu", torch.float32, 0.1, 32, (0, 0)) == Choice(Kernel.SDPA)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_cuda_in_half_precision_uses_the_variable_length_kernel(dtype):
    assert choose("cuda", dtype, 0.0, 32, AMPERE) == Choice(Kernel.VARLEN)


@pytest.mark.parametrize(
    ("dtype", "dropout", "width", "capability", "reason"),
    [
        (torch.float32, 0.0, 32, AMPERE, "float32 (trainer.precision)"),
        (torch.bfloat16, 0.1, 32, AMPERE, "dropout of attention weights"),
        (torch.bfloat16, 0.0, 12, AMPERE, "heads of width 12, no multiple of 8 up to 256"),
        (torch.bfloat16, 0.0, 264, AMPERE, "heads of width 264"),
        (torch.float16, 0.0, 32, VOLTA, "compute capability (7, 0)"),
    ],
)
def test_cuda_falls_back_with_a_reason(dtype, dropout, width, capability, reason):
    choice = choose("cuda", dtype, dropout, width, capability)
    assert choice.kernel is Kernel.SDPA
    assert reason in choice.reason


def test_a_torch_without_the_variable_length_kernel_is_a_reason(monkeypatch):
    monkeypatch.setattr(attention, "HAS_VARLEN", False)
    assert choose("cuda", torch.bfloat16, 0.0, 32, AMPERE) == Choice(Kernel.SDPA, f"torch {torch.__version__}")


def test_a_fallback_is_said_once(caplog):
    with caplog.at_level(logging.INFO, logger="salt.kernels.attention"):
        for _ in range(3):
            attention._say_once(Choice(Kernel.SDPA, "something of this test"))
    assert [record.getMessage() for record in caplog.records] == [
        "attention: varlen_attn is not for something of this test; "
        "using torch.nn.functional.scaled_dot_product_attention"
    ]


def test_attention_to_the_own_stream_is_self_attention():
    segments = Segments.from_lengths(torch.tensor([0, 3, 3, 1, 7, 0, 40, 5]))
    qkv = torch.randn(59, 3, 2, 8, dtype=torch.float64)
    across = attend_across(*qkv.unbind(1), segments, segments, 0.3)
    torch.testing.assert_close(across, attention.attend(qkv, segments, 0.3), rtol=1e-12, atol=1e-12)


def test_the_order_of_the_jets_does_not_matter_across_streams():
    generator = torch.Generator().manual_seed(0)
    asking, answering = torch.randint(0, 9, (2, 50), generator=generator)
    q = torch.randn(int(asking.sum()), 1, 4, generator=generator, dtype=torch.float64)
    k, v = torch.randn(2, int(answering.sum()), 1, 4, generator=generator, dtype=torch.float64)
    order = torch.randperm(50, generator=generator)

    def moved(x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        jets = x.split(lengths.tolist())
        return torch.cat([jets[jet] for jet in order])

    def attended(q, k, v, asking, answering):
        return attend_across(q, k, v, Segments.from_lengths(asking), Segments.from_lengths(answering), 0.5)

    before = attended(q, k, v, asking, answering)
    after = attended(
        moved(q, asking), moved(k, answering), moved(v, answering), asking[order].contiguous(), answering[order]
    )
    torch.testing.assert_close(after, moved(before, asking), rtol=1e-12, atol=1e-12)


def test_counts_follow_segments_wherever_they_go():
    tracks, flows = (Segments.from_lengths(torch.tensor(lengths)) for lengths in ([2, 0, 5], [1, 3, 0]))
    assert (tracks.counts.tolist(), tracks.longest) == ([2, 0, 5], 5)
    both = Segments.together([tracks, flows])
    _ = flows.counts
    counted = Segments.together([tracks, flows]).with_extra(2)
    assert both.counts.tolist() == [3, 3, 5]
    assert counted.__dict__["counts"].tolist() == [5, 5, 7]
    assert counted.counts.tolist() == counted.lengths.tolist()
    there = Segments.from_lengths(torch.tensor([2, 0, 5])).to("meta")
    assert (there.longest, there.num_tokens, there.runs[0]) == (5, 7, (1, 2))
