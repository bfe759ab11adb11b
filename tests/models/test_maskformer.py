"""Objects among the constituents of a jet: packed equals padded, and one jet at a time equals both."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from salt.data.objects import OBJECTS
from salt.layout import One, Packed
from salt.models import (
    ClassificationTask,
    Dense,
    GlobalAttentionPooling,
    MaskDecoder,
    NodeQueryGAP,
    RegressionTask,
    SaltModel,
    Transformer,
)
from salt.models.maskformer import OBJECT_CLASS, OBJECT_MASKS
from salt.models.object_finder import MASK_INDEX, MASK_LOGITS, NO_OBJECT
from salt.ragged import Ragged
from salt.types import ObjectSchema
from tests.models.padded import Padded

WIDTH, NUM_QUERIES, CLASSES = 8, 4, ["b", "c"]
WEIGHTS = {"object_class_ce": 2.0, "mask_ce": 10.0, "mask_dice": 2.0, "mask_focal": 1.0, "regression": 2.0}


@pytest.fixture
def make(schema):
    def model(
        streams=("tracks",),
        constituents="tracks",
        aux_loss=False,
        num_objects=NUM_QUERIES,
        loss=None,
        pool=GlobalAttentionPooling,
        **layers,
    ):
        torch.manual_seed(3)
        pool_net = pool(WIDTH)
        dense = {"input_size": WIDTH, "hidden_layers": [7]}
        of_jets = {**dense, "input_size": pool_net.output_size, "output_size": 3}
        origins = {"output_size": 8, "context_size": pool_net.output_size, **dense}
        made = SaltModel(
            replace(schema, objects=ObjectSchema(constituents, CLASSES)),
            [{"input_name": s, "dense_config": {"output_size": WIDTH, "hidden_layers": [5]}} for s in streams],
            nn.ModuleList(
                [
                    ClassificationTask("jets_classification", "jets", "flavour", of_jets),
                    RegressionTask("regression", OBJECTS, ["pt", "Lxy"], dense, loss="L1Loss", weight=0.5),
                    ClassificationTask("track_origin", "tracks", "ftagTruthOriginLabel", origins),
                ]
            ),
            encoder=Transformer(1, WIDTH, attn_kwargs={"num_heads": 2}, drop_registers=True),
            pool_net=pool_net,
            mask_decoder=MaskDecoder(
                embed_dim=WIDTH,
                num_layers=3,
                md_config={"n_heads": 2, **layers},
                class_net=Dense(WIDTH, len(CLASSES) + 1),
                mask_net=Dense(WIDTH, WIDTH),
                num_objects=num_objects,
                loss_config={"num_classes": len(CLASSES), "loss_weights": WEIGHTS, **(loss or {})},
                aux_loss=aux_loss,
            ),
        )
        for parameter in made.mask_decoder.parameters():
            parameter.data += 0.2 * torch.randn_like(parameter)  # masks that are not all empty
        return made.double()

    return model


def with_objects(batch, constituents="tracks", slots=3, classes=None, seed=1):
    """The batch with labels of random objects, some of which have no constituent."""
    generator = torch.Generator().manual_seed(seed)
    jets, segments = len(batch), batch.inputs[constituents].segments
    if classes is None:
        classes = torch.randint(0, len(CLASSES) + 1, (jets, slots), generator=generator)
    slots = classes.shape[1]
    real = classes != len(CLASSES)
    masks = (torch.rand(segments.num_tokens, slots, generator=generator) < 0.4) & real[segments.owner]
    targets = torch.randn(2, jets, slots, generator=generator, dtype=torch.float64).masked_fill(~real, torch.nan)
    labels = {"object_class": classes, "masks": masks, "pt": targets[0], "Lxy": targets[1]}
    return batch.changed(labels={**batch.labels, OBJECTS: labels})


def padded_labels(batch, constituents):
    """The labels of all constituents in slots, as the oracle holds them."""
    labels = {stream: dict(of) for stream, of in batch.labels.items()}
    segments = batch.inputs["tracks"].segments
    for name, values in labels["tracks"].items():
        padded, layout = Padded.of(Ragged(values, segments))
        labels["tracks"][name] = padded.where(layout.valid, -1)
    masks = Ragged(labels[OBJECTS]["masks"].long(), batch.inputs[constituents].segments)
    labels[OBJECTS]["masks"] = Padded.of(masks)[0] > 0  # what lies in padding must not matter
    return batch.changed(labels=labels)


def run(model, batch, house, constituents="tracks"):
    """Losses and outputs of everything, flat over constituents that are real, and gradients."""
    model.zero_grad()
    preds = model(batch.inputs, house)
    losses = model.losses(preds, padded_labels(batch, constituents) if house is Padded else batch, house)
    weights = model.loss_weights()
    assert losses.keys() == weights.keys()
    sum(weights[name] * total / count.clamp(min=1e-9) for name, (total, count) in losses.items()).backward()
    named = {f"{name}.loss": torch.stack([s, c.to(s.dtype)]) for name, (s, c) in losses.items()}
    streams = {task.name: task.input_name for task in model.heads()} | {OBJECT_MASKS: constituents}
    for task, columns in model.outputs(preds, batch.inputs, {}, house).items():
        for name, value in columns.items():
            stream = batch.inputs.get(streams.get(task, OBJECTS))
            is_padded = house is Padded and isinstance(stream, Ragged)
            named[f"{task}.{name}"] = value[Padded.of(stream)[1].valid] if is_padded else value
    return named, {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


CASES = {
    "as published": {},
    "without masked attention": {"mask_attention": False},
    "tokens do not look at queries": {"bidirectional_ca": False},
    "losses of all layers": {"aux_loss": True},
    "fewer queries than objects": {"num_objects": 2},
    "pooled with the constituents": {"pool": NodeQueryGAP},
    "of another stream": {"streams": ("tracks", "flows"), "constituents": "flows"},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("lengths", [None, [0], [1], [7], [0, 0], [4, 1, 0, 9, 4]], ids=str)
def test_packed_equals_padded_in_values_and_gradients(make, make_batch, case, lengths):
    constituents = CASES[case].get("constituents", "tracks")
    batch = with_objects(make_batch() if lengths is None else make_batch(lengths), constituents)
    model = make(**CASES[case])
    packed, packed_grads = run(model, batch, Packed, constituents)
    padded, padded_grads = run(model, batch, Padded, constituents)
    assert packed.keys() == padded.keys()
    for name, value in padded.items():
        torch.testing.assert_close(packed[name], value, rtol=1e-12, atol=1e-12, msg=lambda m, n=name: f"{n}: {m}")
    assert packed_grads.keys() == padded_grads.keys()
    for name, value in padded_grads.items():
        torch.testing.assert_close(packed_grads[name], value, rtol=1e-12, atol=1e-11, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize(
    "case", ["as published", "without masked attention", "pooled with the constituents", "of another stream"]
)
def test_one_jet_at_a_time_equals_packed(make, make_batch, case):
    constituents = CASES[case].get("constituents", "tracks")
    model, batch = make(**CASES[case]).eval(), make_batch()
    with torch.no_grad():
        packed = model.outputs(model(batch.inputs), batch.inputs, {})
        for jet in range(len(batch)):
            inputs = {"jets": batch.inputs["jets"][jet : jet + 1]}
            for stream in ("tracks", "flows"):
                ragged = batch.inputs[stream]
                values = ragged.values[ragged.offsets[jet] : ragged.offsets[jet + 1]]
                inputs[stream] = Ragged.from_lengths(values, torch.tensor([len(values)]))
            one = model.outputs(model(inputs, One), inputs, {}, One)
            offsets = batch.inputs[constituents].offsets
            rows = {"regression": slice(jet, jet + 1), OBJECT_CLASS: slice(jet, jet + 1)}
            rows[OBJECT_MASKS] = slice(offsets[jet], offsets[jet + 1])
            for task, of in rows.items():
                for name, value in packed[task].items():
                    torch.testing.assert_close(one[task][name], value[of], rtol=1e-12, atol=1e-12)


def test_a_model_that_finds_objects_is_exported_for_any_number_of_constituents(make):
    model = make().eval()

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, jets, tracks):
            inputs = {"jets": jets, "tracks": Ragged(tracks, None)}
            outputs = self.model.outputs(self.model(inputs, One), inputs, {}, One)
            return outputs[OBJECT_MASKS][MASK_LOGITS], outputs[OBJECT_CLASS]["pnull"], outputs[OBJECT_MASKS][MASK_INDEX]

    def jet(tracks):
        return torch.randn(1, 2, dtype=torch.float64), torch.randn(tracks, 3, dtype=torch.float64)

    shapes = {"jets": None, "tracks": {0: torch.export.Dim("n", min=0)}}
    exported = torch.export.export(Net(), jet(3), dynamic_shapes=shapes).module()
    for tracks in (0, 1, 7):
        inputs = jet(tracks)
        for ours, theirs in zip(Net()(*inputs), exported(*inputs), strict=True):
            torch.testing.assert_close(theirs, ours)


def test_losses_do_not_depend_on_the_order_of_the_true_objects(make, make_batch):
    model, batch = make(), with_objects(make_batch(), slots=4)
    preds = model(batch.inputs)
    before = model.losses(preds, batch)
    labels, order = batch.labels[OBJECTS], torch.tensor([2, 0, 3, 1])
    moved = {name: values[:, order] for name, values in labels.items()}
    after = model.losses(preds, batch.changed(labels={**batch.labels, OBJECTS: moved}))
    for name, (total, count) in before.items():
        torch.testing.assert_close(after[name][0], total)
        torch.testing.assert_close(after[name][1], count)


def test_predictions_are_not_permuted_by_their_losses(make, make_batch):
    model, batch = make(), with_objects(make_batch())
    preds = model(batch.inputs)
    before = {name: values.clone() for name, values in preds.items()}
    model.losses(preds, batch)
    assert all(torch.equal(preds[name], values) for name, values in before.items())


@pytest.mark.parametrize("every", [2, 0])
def test_jets_without_any_object_and_jets_that_are_full_have_finite_losses(make, make_batch, every):
    batch = make_batch([3, 0, 7])
    batch = with_objects(batch, classes=torch.full((3, NUM_QUERIES), every))
    losses = make(aux_loss=True).losses((preds := make(aux_loss=True)(batch.inputs)), batch)
    assert all(torch.isfinite(total) for total, _ in losses.values())
    assert all(torch.isfinite(values).all() for values in preds.values())
    assert losses["mask_dice"][1] == (0 if every == 2 else 12)
    assert losses["regression"][1] == (0 if every == 2 else 24)


def test_each_layer_but_the_last_has_losses_of_its_own_if_wanted(make, make_batch):
    model, batch = make(aux_loss=True), with_objects(make_batch())
    losses = model.losses(model(batch.inputs), batch)
    assert {name for name in losses if "mask_ce" in name} == {"mask_ce", "mask_ce_layer_1", "mask_ce_layer_2"}
    assert model.loss_weights()["mask_ce_layer_1"] == WEIGHTS["mask_ce"]
    assert model.loss_weights()["regression"] == 0.5


def test_a_constituent_is_of_the_object_that_has_it_most_and_that_is_one(make):
    finder = make().finder()
    null, real = torch.tensor([0.0, 0.0, 9.0]), torch.tensor([5.0, 0.0, 0.0])
    masks = torch.tensor([[9.0, 1.0, 2.0], [9.0, 3.0, 2.0], [9.0, -1.0, -2.0]])  # of the first object, which is none
    preds = {OBJECT_CLASS: torch.stack([null, real, real])[None, None], OBJECT_MASKS: masks[None]}
    outputs = finder.outputs(preds, One())
    assert outputs[OBJECT_MASKS][MASK_INDEX].tolist() == [2, 1, NO_OBJECT]
    assert list(outputs[OBJECT_CLASS]) == ["pb", "pc", "pnull"]


def test_the_encoded_constituents_stay_as_they_were_for_other_tasks(make, make_batch):
    batch, model = make_batch(), make()
    with torch.no_grad():
        before = model(batch.inputs)["track_origin"]
        for parameter in model.mask_decoder.parameters():
            parameter.data += 1
        assert torch.equal(model(batch.inputs)["track_origin"], before)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"constituents": "trakcs"}, r"unknown stream 'trakcs' .*data.mf_config.constituent.*nearest: tracks"),
        ({"loss": {"num_classes": 3}}, "num_classes is 3, but data.mf_config.object.object_classes has 2 besides null"),
        ({"loss": {"losses": ["mask"]}}, "unknown kind of loss 'mask' .*nearest: masks"),
        ({"loss": {"loss_weights": {"mask_dise": 1.0}}}, "unknown loss 'mask_dise' .*nearest: mask_dice"),
        ({"loss": {"loss_weights": {"mask_ce": 0.0}}}, "has no positive weight to match by"),
        ({"n_heads": 3}, "embed_dim 8 is not a multiple of n_heads 3"),
    ],
)
def test_what_does_not_fit_together_is_told(make, arguments, message):
    with pytest.raises(ValueError, match=message):
        make(**arguments)


def test_a_decoder_without_objects_in_the_data_is_told(schema):
    tasks = nn.ModuleList()
    net = {"input_name": "tracks", "dense_config": {"output_size": 8}}
    config = {"num_classes": 1, "loss_weights": {"mask_ce": 1.0}}
    decoder = MaskDecoder(8, 1, {}, Dense(8, 1), Dense(8, 8), 2, config)
    with pytest.raises(ValueError, match=r"data.mf_config, which says what they are, is not set"):
        SaltModel(schema, [net], tasks, mask_decoder=decoder)
