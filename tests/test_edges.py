from math import log, pi, sqrt

import pytest
import torch

from salt.kernels.edges import FEATURES, edge_features, required_variables
from salt.layout import Packed
from salt.ragged import Segments

COLUMNS = {"pt": 0, "eta": 1, "phi": 2, "subjetIndex": 3, "energy": 4}
ONE = torch.tensor([[10.0, 0.1, 3.0, 1, 12], [20, -0.4, -3.1, 1, 25], [5, 0.7, 0.2, 2, 7], [1, 0, 0, -1, 1.5]])


def matrix(feature, values=ONE):
    segments = Segments.from_lengths(torch.tensor([len(values)]))
    return edge_features(values, Packed(segments).square, COLUMNS, [feature]).view(len(values), len(values))


def test_distances_go_the_short_way_around_and_back():
    near = sqrt(0.5**2 + (2 * pi - 6.1) ** 2)
    found = matrix("dR")
    torch.testing.assert_close(found, found.T)
    assert found[0, 1].item() == pytest.approx(log(near), rel=1e-5)
    assert found[0, 2].item() == pytest.approx(log(sqrt(0.6**2 + 2.8**2)), rel=1e-5)


def test_a_turn_more_changes_no_distance():
    turned = ONE.clone()
    turned[1, 2] += 4 * pi
    turned[2, 2] -= 2 * pi
    torch.testing.assert_close(matrix("dR", turned), matrix("dR"), atol=1e-5, rtol=1e-5)


def test_kt_is_the_softer_momentum_times_the_distance():
    assert matrix("kt")[0, 2].item() == pytest.approx(log(5 * sqrt(0.6**2 + 2.8**2)), rel=1e-5)
    torch.testing.assert_close(matrix("kt"), matrix("kt").T)


def test_z_is_the_softer_share_of_both_momenta():
    found = matrix("z")
    assert found[1, 2].item() == pytest.approx(log(5 / 25), rel=1e-5)
    assert found.diagonal().tolist() == pytest.approx([log(0.5)] * 4)


def test_a_token_is_itself_alone():
    assert (matrix("isSelfLoop") == torch.eye(4)).all()


def test_tokens_share_a_subjet_where_both_are_in_one():
    assert matrix("subjetIndex").tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]


def test_the_mass_of_a_pair_is_that_of_the_sum_of_its_momenta():
    def momentum(row):
        pt, eta, phi, _, energy = row
        return torch.stack([energy, pt * phi.cos(), pt * phi.sin(), pt * eta.sinh()])

    total = momentum(ONE[1].double()) + momentum(ONE[2].double())
    assert matrix("mass")[1, 2].item() == pytest.approx(float((total[0] ** 2 - (total[1:] ** 2).sum()).sqrt().log()))
    torch.testing.assert_close(matrix("mass"), matrix("mass").T)


@pytest.mark.parametrize("feature", ["dR", "kt"])
def test_a_token_has_no_distance_to_itself_and_zero_stands_there(feature):
    assert (matrix(feature).diagonal() == 0).all()


@pytest.mark.parametrize("feature", FEATURES)
def test_what_has_no_value_is_zero(feature):
    values = torch.tensor([[0.0, 0, 0, 0, 0], [torch.nan] * 5, [-5, 1, 1, 1, 1]])
    assert matrix(feature, values).isfinite().all()


def test_pairs_stand_jet_by_jet_and_row_by_row_for_jets_in_any_order():
    lengths = [2, 0, 4, 1, 0, 3]
    values = torch.randn(sum(lengths), 5, generator=torch.Generator().manual_seed(0)).abs()
    features = list(FEATURES)
    whole = edge_features(values, Packed(Segments.from_lengths(torch.tensor(lengths))).square, COLUMNS, features)
    parts = [
        edge_features(jet, Packed(Segments.from_lengths(torch.tensor([len(jet)]))).square, COLUMNS, features)
        for jet in values.split(lengths)
    ]
    assert whole.shape == (sum(length**2 for length in lengths), len(features))
    assert torch.equal(whole, torch.cat(parts))
    assert whole[1, features.index("z")] == torch.log(values[:2, 0].min() / values[:2, 0].sum())


def test_features_stand_in_the_order_that_is_asked_for():
    segments = Segments.from_lengths(torch.tensor([4]))
    found = edge_features(ONE, Packed(segments).square, COLUMNS, ["z", "isSelfLoop"])
    assert torch.equal(found[:, 0], matrix("z").ravel())
    assert torch.equal(found[:, 1], matrix("isSelfLoop").ravel())


@pytest.mark.parametrize("lengths", [[], [0], [0, 0]])
def test_no_tokens_have_no_pairs(lengths):
    segments = Segments.from_lengths(torch.tensor(lengths, dtype=torch.int64))
    assert edge_features(torch.zeros(0, 5), Packed(segments).square, COLUMNS, ["dR", "z"]).shape == (0, 2)


def test_numbers_keep_their_type():
    assert matrix("isSelfLoop", ONE.double()).dtype == torch.float64
    torch.testing.assert_close(matrix("kt", ONE.double()).float(), matrix("kt"))


def test_a_missing_variable_names_the_feature_that_needs_it():
    segments = Segments.from_lengths(torch.tensor([4]))
    with pytest.raises(ValueError, match=r"edge feature 'kt' .* needs the variable 'phi' .*there are pt, eta"):
        edge_features(ONE, Packed(segments).square, {"pt": 0, "eta": 1}, ["kt"])


def test_an_unknown_feature_is_told():
    with pytest.raises(ValueError, match=r"unknown edge feature 'dr' .*there are dR, kt, z"):
        required_variables("dr")


def test_each_feature_says_what_it_needs():
    needed = {feature: set(required_variables(feature)) for feature in FEATURES}
    assert needed["dR"] == {"eta", "phi"}
    assert needed["kt"] == {"pt", "eta", "phi"}
    assert needed["isSelfLoop"] == set()
