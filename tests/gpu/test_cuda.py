"""The same numbers on a GPU as on the CPU; skipped where there is none."""

import pytest
import torch

from salt.kernels import attention
from salt.kernels.across import attend_across
from salt.layout import Packed
from salt.models import ClassificationTask, GlobalAttentionPooling, SaltModel, Transformer, VertexingTask
from salt.nn.residual import DropPath
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


ATTENDING = [("float64", 1e-10), ("float32", 1e-5), ("bfloat16", 3e-2), ("float16", 4e-3)]
"""Number types on the device, and how far they may be from the CPU's float64."""


def differences(ours: list[torch.Tensor], exact: list[torch.Tensor], tolerance: float) -> None:
    for value, expected in zip(ours, exact, strict=True):
        torch.testing.assert_close(value.double().cpu(), expected, rtol=tolerance, atol=tolerance)


def with_gradients(function, leaves: list[torch.Tensor]) -> list[torch.Tensor]:
    """What a function of these gives, and its gradients by each."""
    leaves = [leaf.detach().requires_grad_() for leaf in leaves]
    out = function(*leaves)
    out.backward(torch.linspace(-1, 1, out.numel(), dtype=out.dtype, device=out.device).view_as(out))
    return [out.detach(), *(leaf.grad for leaf in leaves)]


@pytest.mark.parametrize(("dtype", "tolerance"), ATTENDING)
def test_attention_and_its_gradients_are_those_of_the_cpu(dtype, tolerance):
    segments, dtype = Segments.from_lengths(LENGTHS), getattr(torch, dtype)
    qkv = torch.randn(segments.num_tokens, 3, 4, 32, generator=torch.Generator().manual_seed(0)).to(dtype)
    exact = with_gradients(lambda x: attention.attend(x, segments, 0.2), [qkv.double()])
    there = segments.to("cuda")
    differences(with_gradients(lambda x: attention.attend(x, there, 0.2), [qkv.cuda()]), exact, tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), ATTENDING)
def test_attention_to_another_stream_and_its_gradients_are_those_of_the_cpu(dtype, tolerance):
    asking, answering = Segments.from_lengths(LENGTHS), Segments.from_lengths(LENGTHS.flip(0))
    generator, dtype = torch.Generator().manual_seed(0), getattr(torch, dtype)
    lengths = (asking.num_tokens, answering.num_tokens, answering.num_tokens)
    qkv = [torch.randn(length, 4, 32, generator=generator).to(dtype) for length in lengths]

    def here(q, k, v):
        return attend_across(q, k, v, asking, answering, 0.2)

    def there(q, k, v):
        return attend_across(q, k, v, asking.to("cuda"), answering.to("cuda"), 0.2)

    exact = with_gradients(here, [x.double() for x in qkv])
    differences(with_gradients(there, [x.cuda() for x in qkv]), exact, tolerance)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_uses_the_variable_length_kernel(dtype):
    x = torch.zeros(1, 4, 32, dtype=dtype, device="cuda")
    new = torch.cuda.get_device_capability() >= attention.VARLEN_CAPABILITY
    assert (attention.chosen(x, 0.0) is attention.Kernel.VARLEN) == new


def test_a_step_asks_the_device_for_nothing(model, batch):
    model, there = model.cuda(), batch.to("cuda")
    step(model, there)  # the first one counts what is kept
    fresh = batch.to("cuda")
    torch.cuda.set_sync_debug_mode("error")
    try:
        preds = model(fresh.inputs)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert preds.keys() == {"flavour", "origin", "vertex"}


def test_paths_are_dropped_on_the_device():
    dropped = DropPath(0.5)(
        torch.ones(int(LENGTHS.sum()), 3, device="cuda"), Packed(Segments.from_lengths(LENGTHS).to("cuda"))
    )
    jets = [set(jet.flatten().tolist()) for jet in dropped.cpu().split(LENGTHS.tolist())]
    assert all(values in ({0.0}, {2.0}, set()) for values in jets)
