"""The same numbers on a GPU as on the CPU; skipped where there is none."""

import pytest
import torch

from salt.kernels import attention
from salt.models import ClassificationTask, GlobalAttentionPooling, SaltModel, Transformer, VertexingTask
from salt.ragged import Ragged, Segments
from salt.types import Batch, Schema

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]

LENGTHS = torch.tensor([0, 1, 2, 2, 7, 7, 40])


@pytest.fixture
def batch() -> Batch:
    generator = torch.Generator().manual_seed(0)
    tokens = int(LENGTHS.sum())
    return Batch(
        {
            "jets": torch.randn(len(LENGTHS), 2, generator=generator),
            "tracks": Ragged.from_lengths(torch.randn(tokens, 3, generator=generator), LENGTHS),
        },
        {
            "jets": {"flavour_label": torch.randint(0, 3, (len(LENGTHS),), generator=generator)},
            "tracks": {
                "ftagTruthOriginLabel": torch.randint(0, 8, (tokens,), generator=generator),
                "ftagTruthVertexIndex": torch.randint(-2, 3, (tokens,), generator=generator),
            },
        },
        torch.arange(len(LENGTHS)),
    )


@pytest.fixture
def model() -> SaltModel:
    torch.manual_seed(1)
    dense = {"hidden_layers": [32], "context_size": 32}
    return SaltModel(
        Schema({"jets": ["pt", "eta"], "tracks": ["d0", "z0", "phi"]}),
        [{"input_name": "tracks", "dense_config": {"output_size": 64}}],
        torch.nn.ModuleList(
            [
                ClassificationTask("flavour", "jets", "flavour_label", {"input_size": 32, "output_size": 3}),
                ClassificationTask(
                    "origin", "tracks", "ftagTruthOriginLabel", {"input_size": 32, "output_size": 8, **dense}
                ),
                VertexingTask(
                    "vertex", "tracks", "ftagTruthVertexIndex", {"input_size": 64, "output_size": 1, **dense}
                ),
            ]
        ),
        encoder=Transformer(2, 64, out_dim=32, attn_kwargs={"num_heads": 4}),
        pool_net=GlobalAttentionPooling(32),
    )


def step(model: SaltModel, batch: Batch) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    model.zero_grad()
    losses = model.losses(model(batch.inputs), batch)
    sum(total for total, _ in losses.values()).backward()
    gradients = {name: p.grad.cpu().clone() for name, p in model.named_parameters() if p.grad is not None}
    return {name: total.detach().cpu() for name, (total, _) in losses.items()}, gradients


def test_losses_and_gradients_are_those_of_the_cpu(model, batch):
    losses, gradients = step(model.double(), _as_double(batch))
    cuda_losses, cuda_gradients = step(model.cuda(), _as_double(batch).to("cuda"))
    for name, value in losses.items():
        torch.testing.assert_close(cuda_losses[name], value, rtol=1e-9, atol=1e-9)
    for name, value in gradients.items():
        torch.testing.assert_close(cuda_gradients[name], value, rtol=1e-9, atol=1e-9)


def _as_double(batch: Batch) -> Batch:
    tracks = batch.inputs["tracks"]
    inputs = {"jets": batch.inputs["jets"].double(), "tracks": tracks.with_values(tracks.values.double())}
    return Batch(inputs, batch.labels, batch.index)


def test_attention_in_half_precision_uses_the_variable_length_kernel():
    segments = Segments.from_lengths(LENGTHS)
    qkv = torch.randn(segments.num_tokens, 3, 4, 32)
    exact = attention.attend(qkv, segments, 0.2)
    half = attention.attend(qkv.bfloat16().cuda(), segments.to("cuda"), 0.2)
    torch.testing.assert_close(half.float().cpu(), exact, rtol=3e-2, atol=3e-2)
