import numpy as np
import pytest

from salt.data.parameters import Parameters

MASS = {"train": [5, 40, 55], "test": 16}
JETS = np.arange(6000)
BACKGROUND = np.full((len(JETS), 1), -1.0)


def drawn(config=MASS, own=BACKGROUND, stage="fit", key=1, jets=JETS):
    return Parameters({"mass": config}).values(stage, own, jets, key)


def test_jets_keep_a_value_that_is_among_those_of_the_training():
    own = np.array([[5.0], [40.0], [55.0], [5.0]])
    values = drawn(own=own, jets=np.arange(4))
    assert values.dtype == np.float32
    assert (values == own).all()


@pytest.mark.parametrize("value", [-1.0, 0.0, 7.0, np.nan, np.inf])
def test_jets_with_any_other_value_get_one_of_the_training_values(value):
    values = drawn(own=np.full((len(JETS), 1), value))
    found, counts = np.unique(values, return_counts=True)
    assert found.tolist() == [5, 40, 55]
    assert abs(counts - 2000).max() < 5 * np.sqrt(6000 * 2 / 9)


def test_probabilities_weigh_the_drawn_values():
    _, counts = np.unique(drawn(MASS | {"prob": [0.2, 0.3, 0.5]}), return_counts=True)
    assert abs(counts - [1200, 1800, 3000]).max() < 5 * np.sqrt(6000 / 4)
    assert (drawn(MASS | {"prob": [0, 1, 0]}) == 40).all()


@pytest.mark.parametrize("stage", ["test", "predict"])
def test_all_jets_of_a_test_have_its_value(stage):
    assert (drawn(own=np.full((len(JETS), 1), 5.0), stage=stage) == 16).all()


@pytest.mark.parametrize("stage", ["fit", "validate"])
def test_validation_draws_as_training_does(stage):
    assert set(drawn(stage=stage).ravel()) == {5, 40, 55}


def test_the_value_of_a_jet_is_the_same_in_any_batch_and_another_in_each_epoch():
    order = np.random.default_rng(0).permutation(len(JETS))[:500]
    assert (drawn(jets=JETS[order], own=BACKGROUND[order]) == drawn()[order]).all()
    assert 0.6 < (drawn(key=1) != drawn(key=2)).mean() < 0.73


def test_parameters_are_drawn_apart_and_stand_in_the_order_of_the_variables():
    config = {"width": {"train": [1, 2], "test": 3}, "mass": MASS}
    parameters = Parameters(config, ["mass", "width"])
    values = parameters.values("fit", np.full((len(JETS), 2), -1.0), JETS, 1)
    assert (values[:, 0] == drawn()[:, 0]).all()
    assert set(values[:, 1]) == {1, 2}
    assert abs(np.corrcoef(values.T)[0, 1]) < 0.07
    assert parameters.values("test", np.zeros((1, 2)), JETS[:1], 1).tolist() == [[16, 3]]


def test_a_value_that_float32_rounds_is_still_recognised():
    own = np.array([[0.1], [0.1]], np.float32)
    assert (drawn({"train": [0.1, 7], "test": 7}, own, jets=np.arange(2)) == own).all()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"test": 16}, r"data.parameters.mass.train must list"),
        ({"train": [], "test": 16}, "train must list"),
        ({"train": [5]}, r"data.parameters.mass.test must be one number, to evaluate at, not None"),
        ({"train": [5], "test": [1, 2]}, "test must be one number"),
        (MASS | {"prob": [0.5, 0.5]}, "prob must have one probability for each of its 3 values"),
        (MASS | {"prob": [0.5, 0.5, 0.5]}, "add up to 1"),
        (MASS | {"prob": [1.5, -0.5, 0]}, "add up to 1"),
        (MASS | {"probs": [1, 0, 0]}, "unknown key 'probs' .*nearest: prob"),
    ],
)
def test_a_wrong_config_is_told(config, message):
    with pytest.raises(ValueError, match=message):
        Parameters({"mass": config})


def test_a_parameter_without_config_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match=r"unknown parameter 'mas' in data.parameters; nearest: mass"):
        Parameters({"mass": MASS}, ["mas"])
