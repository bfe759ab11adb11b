"""Sampling on jets like those of ttbar and Z': b jets harder, light jets softer and more forward; pt in MeV."""

import numpy as np
import pytest
import yaml

from salt.data import sampling
from salt.data.sampling import choose, columns_needed

NUM_JETS = 200_000
CLASSES = {"bjets": 5, "cjets": 4, "ujets": 0}
VARIABLES = """
  pt: {bins: [[20_000, 250_000, 20], [250_000, 1_000_000, 10]]}
  abs(eta): {bins: [[0, 2.5, 5]]}
"""


def make_jets():
    generator = np.random.default_rng(5)
    flavour = generator.choice([0, 4, 5, 15], NUM_JETS, p=[0.55, 0.12, 0.3, 0.03])
    heavy = generator.random(NUM_JETS) < 0.3  # from a Z'
    soft = 20_000 + generator.exponential(np.where(flavour == 5, 60_000, 45_000))
    hard = generator.uniform(20_000, 1_100_000, NUM_JETS)
    return {
        "pt": np.where(heavy, hard, soft).astype(np.float32),
        "eta": generator.normal(0, np.where(flavour == 5, 1.1, 1.4)).astype(np.float32),
        "flavour": flavour.astype(np.int8),
        "mass": generator.normal(size=NUM_JETS).astype(np.float32),
        "weight": generator.exponential(size=NUM_JETS).astype(np.float32),
        "jetFoldHash": generator.integers(0, 2**64, NUM_JETS, np.uint64).view(np.int64),
    }


JETS = make_jets()


def chosen(text, fold=None, seed=1, stage="train", jets=JETS):
    options = yaml.safe_load(text) if text else None
    return choose(jets.__getitem__, len(jets["pt"]), options, fold, seed, stage)


PT = np.r_[np.linspace(20_000, 250_000, 21), np.linspace(250_000, 1_000_000, 11)[1:]]
ETA = np.linspace(0, 2.5, 6)


def histograms(index, bins=(PT, ETA)):
    """(3, K) jets of each class in bins of pt and |eta|; by default those of the sampling."""
    pt, eta, flavour = JETS["pt"][index].astype(float), np.abs(JETS["eta"][index]).astype(float), JETS["flavour"][index]
    return np.array(
        [np.histogram2d(pt[flavour == value], eta[flavour == value], bins)[0].ravel() for value in CLASSES.values()]
    )


def with_method(method, more=""):
    return (
        f"{{label: flavour, classes: {CLASSES}, method: {method}, {more} variables: {{{VARIABLES.strip()}}}}}".replace(
            "\n", ","
        )
    )


COUNTUP, PDF = with_method("countup"), with_method("pdf", "target: cjets,")


# --- methods ------------------------------------------------------------------------------------------------------


def test_without_options_all_jets_are_chosen():
    assert chosen(None).index.tolist() == list(range(NUM_JETS))


@pytest.mark.parametrize(
    "text", [COUNTUP, PDF, "{method: weights, weights: weight}", "{label: flavour, fractions: {0: 1, 5: 1}}"]
)
def test_no_jet_is_chosen_twice(text):
    index = chosen(text).index
    assert index.dtype == np.int64
    assert (np.diff(index) > 0).all()
    assert 1000 < len(index) < NUM_JETS


def test_countup_has_as_many_jets_of_each_class_in_each_bin():
    numbers = histograms(chosen(COUNTUP).index)
    assert (numbers[0] == numbers[1]).all()
    assert (numbers[0] == numbers[2]).all()


def test_countup_uses_up_the_rarest_class_of_each_bin():
    available, taken = histograms(slice(None)), histograms(chosen(COUNTUP).index)
    assert (taken == available.min(0)).all()
    assert (taken > 0).mean() > 0.95


def test_countup_is_flat_to_statistics_in_finer_bins():
    numbers = histograms(chosen(COUNTUP).index, (np.geomspace(25_000, 900_000, 40), np.linspace(0, 2.5, 9)))
    full = numbers[:, numbers.sum(0) > 60]
    expected = full.mean(0)
    dof = (len(full) - 1) * full.shape[1]
    assert full.shape[1] > 100
    assert ((full - expected) ** 2 / expected).sum() / dof < 1.3


def test_countup_keeps_fractions_in_each_bin():
    numbers = histograms(chosen(with_method("countup", "fractions: {bjets: 1, cjets: 1, ujets: 2},")).index)
    assert (np.abs(numbers[2] - 2 * numbers[0]) <= 1).all()  # of an odd number of light jets
    assert numbers[2].sum() == pytest.approx(2 * numbers[0].sum(), rel=0.01)


def test_pdf_has_the_distribution_of_the_target_in_all_classes():
    target = histograms(slice(None))[1]
    for numbers in histograms(chosen(PDF).index):
        full = target > 100
        assert numbers[full] / numbers.sum() == pytest.approx(target[full] / target.sum(), rel=0.03)


def test_pdf_uses_nearly_all_jets_of_a_rare_target():
    inside = histograms(slice(None))[1].sum()
    assert histograms(chosen(PDF).index)[1].sum() > 0.95 * inside


def test_a_stricter_shortage_gives_fewer_jets():
    assert len(chosen(with_method("pdf", "target: cjets, shortage: 0,")).index) < len(chosen(PDF).index)


def test_jets_of_a_bin_are_chosen_blindly():
    index = chosen(COUNTUP).index
    light = JETS["flavour"][index] == 0
    assert JETS["mass"][index][light].mean() == pytest.approx(0, abs=4 / light.sum() ** 0.5)
    assert index[light].mean() == pytest.approx(NUM_JETS / 2, rel=0.02)


def test_fractions_alone_use_as_many_jets_as_there_are():
    index = chosen("{label: flavour, fractions: {0: 1, 4: 1, 5: 2}}").index
    numbers = np.bincount(JETS["flavour"][index], minlength=16)
    rarest = np.bincount(JETS["flavour"])[4]
    assert numbers[[0, 4, 5, 15]].tolist() == [rarest, rarest, 2 * rarest, 0]


def test_weights_give_the_weighted_distribution():
    index = chosen("{method: weights, weights: weight}").index
    assert len(index) / NUM_JETS == pytest.approx(JETS["weight"].mean() / JETS["weight"].max(), rel=0.03)
    expected = (JETS["weight"].astype(float) ** 2).sum() / JETS["weight"].sum(dtype=float)
    assert JETS["weight"][index].mean() == pytest.approx(expected, rel=0.03)


def test_the_largest_weight_is_that_of_the_jets_that_are_left():
    all_, light = (
        chosen(f"{{method: weights, weights: weight, cuts: ['weight < {highest}']}}") for highest in (1000, 2)
    )
    kept = JETS["weight"] < 2
    assert len(light.index) == pytest.approx(JETS["weight"][kept].sum(dtype=float) / 2, rel=0.03)
    assert len(all_.index) < len(light.index)


def test_weights_and_fractions_go_together():
    index = chosen("{method: weights, weights: weight, label: flavour, fractions: {0: 1, 5: 1}}").index
    numbers = np.bincount(JETS["flavour"][index])
    assert numbers[0] == numbers[5] > 1000
    assert JETS["weight"][index].mean() > 1.5


# --- cuts, classes, folds -----------------------------------------------------------------------------------------


def test_cuts_keep_what_meets_all_of_them():
    index = chosen("cuts: [pt > 50_000, abs(eta) < 1, [flavour, '!=', 15]]").index
    kept = (JETS["pt"] > 50_000) & (np.abs(JETS["eta"]) < 1) & (JETS["flavour"] != 15)
    assert index.tolist() == np.flatnonzero(kept).tolist()


def test_a_class_may_have_several_values():
    index = chosen("{label: flavour, classes: {heavy: [4, 5], tau: 15}, fractions: {heavy: 1, tau: 1}}").index
    numbers = np.bincount(JETS["flavour"][index], minlength=16)
    assert numbers[15] == numbers[4] + numbers[5] == (JETS["flavour"] == 15).sum()
    assert numbers[0] == 0


def test_without_classes_each_value_of_the_label_is_one():
    variables = "{pt: [20_000, 100_000]}"
    index = chosen(f"{{label: flavour, method: countup, variables: {variables}, cuts: [flavour != 0]}}").index
    numbers = np.bincount(JETS["flavour"][index], minlength=16)
    assert numbers[4] == numbers[5] == numbers[15] > 0 == numbers[0]


def test_folds_of_the_test_are_disjoint_and_complete():
    folds = [chosen(None, {"variable": "jetFoldHash", "k": 4, "use": use}, stage="test").index for use in range(4)]
    assert np.sort(np.concatenate(folds)).tolist() == list(range(NUM_JETS))


def test_what_is_trained_with_is_sampled_from_its_folds():
    fold = {"variable": "jetFoldHash", "k": 4, "use": 2}
    index = chosen(COUNTUP, fold).index
    assert set((JETS["jetFoldHash"].view(np.uint64)[index] % np.uint64(4)).tolist()) == {0, 1, 3}
    numbers = histograms(index)
    assert (numbers[0] == numbers[1]).all()


# --- seeds, chunks, columns, the table ----------------------------------------------------------------------------


@pytest.mark.parametrize("text", [COUNTUP, PDF, "{method: weights, weights: weight}"])
def test_the_seed_alone_decides(text):
    np.random.seed(0)  # noqa: NPY002
    first = chosen(text).index
    np.random.seed(1)  # noqa: NPY002
    assert chosen(text).index.tolist() == first.tolist()
    assert chosen(text, seed=2).index.tolist() != first.tolist()


@pytest.mark.parametrize("seed", [0, 2**64 - 1, -5])
def test_any_seed_will_do(seed):
    assert len(chosen(COUNTUP, seed=seed).index)


def test_cuts_and_bins_do_not_depend_on_the_chunks(monkeypatch):
    whole = chosen(COUNTUP)
    monkeypatch.setattr(sampling, "CHUNK", 7777)
    assert chosen(COUNTUP).index.tolist() == whole.index.tolist()


def test_no_column_is_changed():
    jets = {name: values.copy() for name, values in JETS.items()}
    for values in jets.values():
        values.flags.writeable = False
    fold = {"variable": "jetFoldHash", "k": 4, "use": 2}
    assert chosen(COUNTUP, fold, jets=jets).index.tolist() == chosen(COUNTUP, fold).index.tolist()


def test_the_columns_that_are_needed_are_each_named_once():
    options = yaml.safe_load(
        "{cuts: [pt > 3, 'abs(eta) < 1'], label: flavour, method: countup, variables: {pt: [0, 1], abs(eta): [0, 1]}}"
    )
    fold = {"variable": "jetFoldHash", "k": 4, "use": 0}
    assert columns_needed(options, fold) == ["pt", "eta", "flavour", "jetFoldHash"]
    assert columns_needed({"method": "weights", "weights": "w"}, None) == ["w"]
    assert columns_needed(None, None) == []


def test_the_table_tells_what_each_step_left():
    jets = {"pt": np.array([1, 2, 3, 4, 5, 6, 30]), "flavour": np.array([0, 0, 0, 0, 5, 5, 5])}
    text = "{cuts: [pt > 1], label: flavour, classes: {ujets: 0, bjets: 5}, method: countup, variables: {pt: [0, 10]}}"
    rows = [line.split() for line in chosen(text, jets=jets).table.splitlines()]
    assert rows == [
        ["flavour", "jets", "after", "cuts", "in", "bins", "chosen", "share"],
        ["ujets", "4", "3", "3", "2", "50.0%"],
        ["bjets", "3", "3", "2", "2", "50.0%"],
        ["together", "7", "6", "5", "4", "100.0%"],
    ]


def test_the_table_tells_how_many_jets_are_of_no_class():
    assert f"{(JETS['flavour'] == 15).sum():,} jets are of none of these classes" in chosen(COUNTUP).table


# --- errors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{lable: flavour}", r"unknown option 'lable' in data\.sampling; nearest: label"),
        ("{method: count}", r"unknown method 'count' in data\.sampling\.method; nearest: countup"),
        ("{method: countup, label: flavour}", r"data\.sampling\.variables is missing: .* method countup"),
        ("{method: pdf, label: flavour, variables: {pt: [0, 1]}}", r"data\.sampling\.target is missing"),
        ("{method: weights}", r"data\.sampling\.weights is missing"),
        ("{fractions: {0: 1}}", r"data\.sampling\.label is missing"),
        ("{weights: w}", r"data\.sampling\.weights is for method weights; the method is none"),
        (with_method("countup", "target: cjets,"), r"data\.sampling\.target is for method pdf; the method is countup"),
        (with_method("pdf", "target: bjet,"), r"unknown class 'bjet' in data\.sampling\.target; nearest: bjets"),
        (with_method("pdf", "target: cjets, shortage: 1,"), r"data\.sampling\.shortage is 1\.0; it is a part"),
        ("{label: flavour, fractions: {0: 0}}", r"data\.sampling\.fractions: 0 is 0; it must be above 0"),
        ("{label: flavour, fractions: {bjets: 1}}", r"data\.sampling\.fractions names 'bjets', which is no value"),
        ("{label: flavour, classes: {b: 5}, fractions: {c: 1}}", r"unknown class 'c' in data\.sampling\.classes"),
        (
            "{label: flavour, classes: {b: 5, c: 4}, fractions: {c: 1}}",
            r"data\.sampling\.fractions has no part for class b",
        ),
        ("{label: flavour, classes: {b: 5, c: [4, 5]}}", r"data\.sampling\.classes has the value 5 more than once"),
    ],
)
def test_options_that_cannot_be_are_errors(text, message):
    with pytest.raises(ValueError, match=message):
        chosen(text)


def test_nothing_chosen_is_an_error_that_shows_the_table():
    with pytest.raises(ValueError, match=r"(?s)choose none of the jets.*after cuts.*all +200,000 +0"):
        chosen("cuts: [pt > 1e9]")


def test_a_class_without_jets_is_an_error_that_names_it():
    with pytest.raises(ValueError, match=r"(?s)no jet of class tau \(data\.sampling\.classes: flavour 16\) .*together"):
        chosen("{label: flavour, classes: {bjets: 5, tau: 16}}")


def test_a_label_of_many_values_is_an_error():
    with pytest.raises(ValueError, match=r"jetFoldHash \(data\.sampling\.label\) has 200000 values, too many"):
        chosen("label: jetFoldHash")


@pytest.mark.parametrize("weight", [np.nan, -1, np.inf])
def test_a_weight_that_cannot_be_is_an_error(weight):
    jets = {"pt": np.ones(9), "weight": np.r_[np.ones(4), weight, np.ones(4)]}
    with pytest.raises(
        ValueError, match=r"weight \(data\.sampling\.weights\) is \S+ for jet 4: a weight must be finite"
    ):
        chosen("{method: weights, weights: weight}", jets=jets)


def test_a_store_of_one_jet_will_do():
    jets = {"pt": np.array([3e4]), "eta": np.array([-1.0]), "flavour": np.array([5])}
    text = f"{{label: flavour, method: countup, variables: {{{VARIABLES.strip()}}}}}".replace("\n", ",")
    assert chosen(text, jets=jets).index.tolist() == [0]
