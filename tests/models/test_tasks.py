"""Tasks of values: packed equals padded, one jet at a time equals both, and the graph of one jet can be exported."""

import pytest
import torch
from torch import nn

from salt.layout import One, Packed
from salt.models import (
    ClassificationTask,
    GaussianRegressionTask,
    GlobalAttentionPooling,
    RegressionTask,
    SaltModel,
    Transformer,
)
from salt.ragged import Ragged
from salt.tasks.scaling import RegressionTargetScaler
from salt.types import Batch
from tests.models.padded import Padded

DENSE = {"input_size": 6, "hidden_layers": [7], "activation": "SiLU"}
OF_TRACKS = {**DENSE, "context_size": 6}
SCALER = RegressionTargetScaler({"a": {"op": "log", "x_off": 2.0}, "b": {"op": "linear", "op_off": -0.5}})
RATIO = {"target_denominators": "c", "sample_weight": "w"}
LENGTHS = [None, [0], [1], [7], [0, 0], [4, 1, 0, 9, 4]]


def tasks():
    return [
        RegressionTask("jet ratio", "jets", ["a", "b"], DENSE, target_denominators=["c", "d"], sample_weight="w"),
        GaussianRegressionTask("jet gauss", "jets", ["a", "b"], DENSE, norm_params={"mean": [1, 2], "std": [3, 4]}),
        RegressionTask("track scaler", "tracks", ["a", "b"], OF_TRACKS, "L1Loss", scaler=SCALER),
        RegressionTask("track ratio", "tracks", "a", OF_TRACKS, "HuberLoss", **RATIO),
        GaussianRegressionTask("track gauss", "tracks", ["b", "a"], OF_TRACKS, target_denominators=["c", "d"]),
        ClassificationTask("jet weighted", "jets", "k", DENSE, class_names=["x", "y", "z"], sample_weight="w"),
        ClassificationTask("track weighted", "tracks", "k", OF_TRACKS, class_names=["x", "y", "z"], sample_weight="w"),
        ClassificationTask("track one", "tracks", "l", OF_TRACKS, "BCEWithLogitsLoss", ["x"], {3: 1, 2: 0}),
    ]


@pytest.fixture
def model(schema):
    torch.manual_seed(5)
    nets = [{"input_name": "tracks", "dense_config": {"output_size": 8, "hidden_layers": [5]}}]
    encoder = Transformer(2, 8, out_dim=6, attn_kwargs={"num_heads": 2})
    return SaltModel(schema, nets, nn.ModuleList(tasks()), encoder, GlobalAttentionPooling(6)).double()


@pytest.fixture
def make_targets(make_batch):
    """A batch with targets, every third of which is no number."""

    def make(lengths=None) -> Batch:
        batch = make_batch() if lengths is None else make_batch(lengths)
        generator = torch.Generator().manual_seed(9)

        def column(count, number):
            values = torch.rand(count, generator=generator, dtype=torch.float64) + 0.5
            return values.where(torch.arange(count) % 3 != number, torch.nan) if number < 2 else values

        rows = {"jets": len(batch), "tracks": len(batch.inputs["tracks"].values)}
        labels = {stream: {name: column(n, i) for i, name in enumerate("abcdw")} for stream, n in rows.items()}
        for stream, count in rows.items():
            labels[stream]["k"] = torch.randint(-2, 3, (count,), generator=generator)
            labels[stream]["l"] = torch.randint(-1, 4, (count,), generator=generator)
        return Batch(batch.inputs, labels, batch.index)

    return make


def padded(batch, fill):
    """Labels of tracks (B, L), with what files hold where no track is."""

    def column(values):
        x, layout = Padded.of(Ragged(values, batch.inputs["tracks"].segments))
        return x.where(layout.valid, fill if values.is_floating_point() else -1)

    tracks = {name: column(values) for name, values in batch.labels["tracks"].items()}
    return Batch(batch.inputs, {**batch.labels, "tracks": tracks}, batch.index)


def run(model, batch, house, fill=torch.nan):
    model.zero_grad()
    preds = model(batch.inputs, house)
    told = padded(batch, fill) if house is Padded else batch
    losses = model.losses(preds, told, house)
    sum(total / count.clamp(min=1e-9) for total, count in losses.values()).backward()
    named = {f"{task}.loss": torch.stack([s, c.to(s.dtype)]) for task, (s, c) in losses.items()}
    valid = Padded.of(batch.inputs["tracks"])[1].valid
    for task, columns in model.outputs(preds, batch.inputs, told.labels, house).items():
        for name, value in columns.items():
            named[f"{task}.{name}"] = value[valid] if house is Padded and value.dim() == 2 else value
    return named, {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_packed_equals_padded_in_values_and_gradients(model, make_targets, lengths):
    batch = make_targets(lengths)
    packed, packed_grads = run(model, batch, Packed)
    oracle, oracle_grads = run(model, batch, Padded)
    assert packed.keys() == oracle.keys()
    assert packed_grads.keys() == oracle_grads.keys()
    for name, value in [*oracle.items(), *oracle_grads.items()]:
        mine = packed[name] if name in packed else packed_grads[name]
        assert torch.isfinite(value).all(), name
        torch.testing.assert_close(mine, value, rtol=1e-12, atol=1e-12, msg=lambda m, n=name: f"{n}: {m}")


def one_jet(batch, jet):
    ragged = batch.inputs["tracks"]
    rows = slice(int(ragged.offsets[jet]), int(ragged.offsets[jet + 1]))
    values = ragged.values[rows]
    tracks = Ragged.from_lengths(values, torch.tensor([len(values)]))
    columns = {
        "jets": {name: of[jet : jet + 1] for name, of in batch.labels["jets"].items()},
        "tracks": {name: of[rows] for name, of in batch.labels["tracks"].items()},
    }
    return {"jets": batch.inputs["jets"][jet : jet + 1], "tracks": tracks}, columns, rows


def test_one_jet_at_a_time_equals_packed(model, make_targets):
    batch = make_targets()
    with torch.no_grad():
        packed = model.outputs(model(batch.inputs), batch.inputs, batch.labels)
        for jet in range(len(batch)):
            inputs, columns, rows = one_jet(batch, jet)
            one = model.outputs(model(inputs, One), inputs, columns, One)
            for task, of in packed.items():
                at = slice(jet, jet + 1) if task.startswith("jet") else rows
                for name, value in of.items():
                    torch.testing.assert_close(one[task][name], value[at], rtol=1e-12, atol=1e-12)


class Heads(nn.Module):
    """All outputs of the tasks, from what they read of one jet."""

    def __init__(self, model):
        super().__init__()
        self.tasks = model.tasks

    def forward(self, pooled, tokens, denominators):
        found = []
        for task in self.tasks:
            is_jet = task.input_name == "jets"
            raw = task(pooled, None, None) if is_jet else task(tokens, pooled, One())
            columns = {} if is_jet else {"c": denominators, "d": denominators}
            found += task.outputs(raw, columns, None if is_jet else One()).values()
        return tuple(found)


def test_outputs_of_one_jet_are_dense_operations(model):
    """Nothing of it depends on the values: what can be traced so can be exported."""
    heads = Heads(model.float()).eval()
    tokens = torch.export.Dim("tokens", min=0)
    given = torch.randn(1, 6), torch.randn(5, 6), torch.rand(5)
    program = torch.export.export(heads, given, dynamic_shapes=(None, {0: tokens}, {0: tokens}))
    for count in (0, 1, 9):
        other = torch.randn(1, 6), torch.randn(count, 6), torch.rand(count)
        for mine, expected in zip(program.module()(*other), heads(*other), strict=True):
            torch.testing.assert_close(mine, expected)
