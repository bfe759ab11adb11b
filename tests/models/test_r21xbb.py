"""The tagger that reads the first subjets of a jet."""

import pytest
import torch
from torch import nn

from salt.layout import One, Packed
from salt.models import ClassificationTask, R21Xbb
from salt.ragged import Ragged
from salt.types import Schema
from tests.models.padded import Padded

LENGTHS = [0, 1, 2, 3, 4, 12]


@pytest.fixture
def variables():
    return Schema({"jets": ["pt", "eta"], "tracks": ["d0", "z0", "phi"]})


def build(schema, width=15, stream="jets", **more):
    torch.manual_seed(2)
    dense = {"input_size": width, "output_size": 3, "hidden_layers": [6]}
    return R21Xbb(schema, nn.ModuleList([ClassificationTask("jet", stream, "flavour", dense)]), **more).double()


def test_missing_subjets_are_zeros_beside_the_variables_of_their_jet(variables, make_batch):
    model, inputs = build(variables), make_batch(LENGTHS).inputs
    jets, tracks = inputs["jets"], inputs["tracks"]
    raw = model(inputs)["jet"]
    for jet, length in enumerate(LENGTHS):
        own = torch.zeros(3, 3, dtype=torch.float64)
        own[: min(length, 3)] = tracks.values[tracks.offsets[jet] :][: min(length, 3)]
        row = torch.cat([torch.cat([jets[jet], of]) for of in own])
        torch.testing.assert_close(raw[jet], model.tasks[0].net.net(row))


@pytest.mark.parametrize("lengths", [LENGTHS, [0], [0, 0], [5]], ids=str)
def test_packed_equals_padded_in_values_and_gradients(variables, make_batch, lengths):
    model, inputs, found = build(variables), make_batch(lengths).inputs, []
    for house in (Packed, Padded):
        model.zero_grad()
        raw = model(inputs, house)["jet"]
        raw.square().sum().backward()
        found.append([raw, *(p.grad for p in model.parameters())])
    torch.testing.assert_close(found[0], found[1], rtol=1e-12, atol=1e-12)


def test_one_jet_at_a_time_equals_packed(variables, make_batch):
    model, inputs = build(variables), make_batch(LENGTHS).inputs
    jets, tracks = inputs["jets"], inputs["tracks"]
    raw = model(inputs)["jet"]
    for jet, length in enumerate(LENGTHS):
        own = Ragged.from_lengths(tracks.values[tracks.offsets[jet] :][:length], torch.tensor([length]))
        one = model({"jets": jets[jet : jet + 1], "tracks": own}, One)["jet"]
        torch.testing.assert_close(one[0], raw[jet], rtol=1e-12, atol=1e-12)


def test_gradients_reach_the_subjets_that_are_read(variables, make_batch):
    inputs = make_batch([4]).inputs
    x = inputs["tracks"].values.requires_grad_()
    build(variables)(inputs)["jet"].sum().backward()
    assert (x.grad[:3] != 0).all()
    assert (x.grad[3] == 0).all()


def test_another_number_of_subjets_can_be_read(variables, make_batch):
    assert build(variables, width=10, num_constituents=2)(make_batch([3, 1]).inputs)["jet"].shape == (2, 3)


def test_what_does_not_fit_is_refused(variables):
    with pytest.raises(ValueError, match="input_size is 14, but it reads 15: 3 of 'tracks' with 3 variables"):
        build(variables, width=14)
    with pytest.raises(ValueError, match="tasks of R21Xbb read the global object 'jets'"):
        build(variables, stream="tracks")
    with pytest.raises(ValueError, match=r"data.variables has a, b"):
        build(Schema({"jets": ["pt"], "a": ["x"], "b": ["x"]}))
