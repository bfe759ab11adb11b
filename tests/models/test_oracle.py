"""Packed equals padded, and one jet at a time equals both."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from salt.layout import Layout, One, Packed
from salt.ragged import Ragged, Segments
from salt.types import Batch
from tests.models.padded import Padded


def run(model, batch: Batch, house: type[Layout]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Outputs of all tasks, flat over real tokens, and gradients of the summed mean losses."""
    model.zero_grad()
    preds = model(batch.inputs, house)
    padded = house is Padded
    labels = batch
    if padded:
        tracks = {
            k: Padded.of(Ragged(v, batch.inputs["tracks"].segments))[0].where(
                Padded.of(Ragged(v, batch.inputs["tracks"].segments))[1].valid, -1
            )
            for k, v in batch.labels["tracks"].items()
        }
        labels = Batch(batch.inputs, {**batch.labels, "tracks": tracks}, batch.index)
    losses = model.losses(preds, labels, house)
    sum(total / count.clamp(min=1e-9) for total, count in losses.values()).backward()
    named = {f"{task}.loss": torch.stack([s, c.to(s.dtype)]) for task, (s, c) in losses.items()}
    for task, columns in model.outputs(preds, batch.inputs, {}, house).items():
        for name, value in columns.items():
            flat = value[Padded.of(batch.inputs["tracks"])[1].valid] if padded and value.dim() == 2 else value
            named[f"{task}.{name}"] = flat
    return named, {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


CASES = {
    "tracks": {},
    "registers": {"num_registers": 3},
    "dropped registers": {"num_registers": 2, "drop_registers": True},
    "two streams": {"streams": ("tracks", "flows")},
    "RMSNorm, gated": {"norm": "RMSNorm", "dense_kwargs": {"gated": True}},
    "gated by ReLU": {"dense_kwargs": {"gated": True, "activation": "ReLU"}},
    "no encoder": {"encoder": False},
    "no encoder, two streams": {"encoder": False, "streams": ("tracks", "flows")},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("lengths", [None, [0], [1], [7], [0, 0], [4, 1, 0, 9, 4]], ids=str)
def test_packed_equals_padded_in_values_and_gradients(make_model, make_batch, case, lengths):
    model = make_model(**CASES[case])
    batch = make_batch() if lengths is None else make_batch(lengths)
    packed, packed_grads = run(model, batch, Packed)
    padded, padded_grads = run(model, batch, Padded)
    assert packed.keys() == padded.keys()
    for name, value in padded.items():
        torch.testing.assert_close(packed[name], value, rtol=1e-12, atol=1e-12, msg=lambda m, n=name: f"{n}: {m}")
    assert packed_grads.keys() == padded_grads.keys()
    for name, value in padded_grads.items():
        torch.testing.assert_close(packed_grads[name], value, rtol=1e-12, atol=1e-12, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("case", ["tracks", "registers", "dropped registers", "two streams", "no encoder"])
def test_one_jet_at_a_time_equals_packed(make_model, make_batch, case):
    model = make_model(**CASES[case]).eval()
    batch = make_batch()
    with torch.no_grad():
        packed = model.outputs(model(batch.inputs), batch.inputs, {})
        for jet in range(len(batch)):
            inputs = {"jets": batch.inputs["jets"][jet : jet + 1]}
            for stream in ("tracks", "flows"):
                ragged = batch.inputs[stream]
                values = ragged.values[ragged.offsets[jet] : ragged.offsets[jet + 1]]
                inputs[stream] = Ragged.from_lengths(values, torch.tensor([len(values)]))
            one = model.outputs(model(inputs, One), inputs, {}, One)
            offsets = batch.inputs["tracks"].offsets
            for task, columns in packed.items():
                rows = slice(jet, jet + 1) if task.startswith("jets") else slice(offsets[jet], offsets[jet + 1])
                for name, value in columns.items():
                    torch.testing.assert_close(one[task][name], value[rows], rtol=1e-12, atol=1e-12)


def test_outputs_follow_the_tracks_when_they_are_permuted(make_model, make_batch):
    model = make_model().eval()
    batch = make_batch([5])
    order = torch.tensor([3, 0, 4, 1, 2])
    tracks = batch.inputs["tracks"]
    shuffled = {**batch.inputs, "tracks": tracks.with_values(tracks.values[order])}
    with torch.no_grad():
        before, after = model(batch.inputs), model(shuffled)
    torch.testing.assert_close(after["jets_classification"], before["jets_classification"])
    torch.testing.assert_close(after["track_origin"], before["track_origin"][order])


def test_losses_add_up_over_the_parts_of_a_batch(make_model, make_batch):
    model = make_model(tasks=("jet", "origin", "vertex"))
    whole = make_batch([2, 3, 5, 8])
    tracks, split = whole.inputs["tracks"], 5

    def part(jets: slice, rows: slice) -> Batch:
        inputs = {
            "jets": whole.inputs["jets"][jets],
            "tracks": Ragged.from_lengths(tracks.values[rows], tracks.segments.lengths[jets]),
        }
        labels = {
            "jets": {"flavour": whole.labels["jets"]["flavour"][jets]},
            "tracks": {k: v[rows] for k, v in whole.labels["tracks"].items()},
        }
        return Batch(inputs, labels, whole.index[jets])

    parts = [part(slice(0, 2), slice(0, split)), part(slice(2, 4), slice(split, None))]
    whole_losses = model.losses(model(whole.inputs), whole)
    part_losses = [model.losses(model(p.inputs), p) for p in parts]
    for task, (total, count) in whole_losses.items():
        torch.testing.assert_close(sum(losses[task][0] for losses in part_losses), total)
        torch.testing.assert_close(sum(losses[task][1] for losses in part_losses), count)


def test_a_model_of_jets_that_all_lack_tracks_trains(make_model, make_batch):
    model = make_model()
    losses = model.losses(model(make_batch([0, 0, 0]).inputs), make_batch([0, 0, 0]))
    assert all(torch.isfinite(total) for total, _ in losses.values())
    assert losses["track_vertexing"][1] == 0


def test_segments_know_their_pairs():
    pairs = Segments.from_lengths(torch.tensor([3, 0, 1, 2])).pairs
    assert pairs.first.tolist() == [0, 0, 1, 1, 2, 2, 4, 5]
    assert pairs.second.tolist() == [1, 2, 0, 2, 0, 1, 5, 4]
    assert pairs.swapped.tolist() == [2, 4, 0, 5, 1, 3, 7, 6]


@pytest.mark.parametrize("streams", [("tracks",), ("tracks", "flows")], ids=str)
def test_a_model_trains_under_autocast(make_model, make_batch, streams):
    model, batch = make_model(streams=streams, dtype=torch.float32), make_batch(dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        preds = model(batch.inputs)
        losses = model.losses(preds, batch)
        sum(total / count.clamp(min=1) for total, count in losses.values()).backward()
    assert all(torch.isfinite(total) for total, _ in losses.values())
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
