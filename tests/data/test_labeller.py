import json

import numpy as np
import pytest

from salt.data.derive import RowError
from salt.data.labeller import Labeller

FIELD = "HadronConeExclTruthLabelID"
ROWS = {FIELD: np.array([5, 15, 4, 0, 5, 4], np.uint8)}


def test_a_class_is_its_place_among_the_names():
    names = ["ujets", "bjets", "taujets", "cjets"]
    labels = Labeller(names).compute(ROWS)
    assert labels.dtype == np.int64
    assert labels.tolist() == [1, 2, 3, 0, 1, 3]


def test_jets_of_no_class_stay_in_their_place_with_a_label_that_losses_ignore():
    assert Labeller(["bjets", "cjets"], require_labels=False).compute(ROWS).tolist() == [0, -1, 1, -1, 0, 1]


def test_jets_of_no_class_are_an_error_where_labels_are_required():
    with pytest.raises(RowError, match="2 of 6 jets are of none of the classes bjets, cjets") as error:
        Labeller(["bjets", "cjets"]).compute(ROWS)
    assert error.value.row == 1
    assert f"{FIELD} = 15" in str(error.value)
    assert "data.labeller_config.require_labels: false" in str(error.value)


def test_a_class_goes_by_its_older_name_too():
    assert Labeller(["qcdbb", "qcdxx"]).cuts["qcdxx"] == Labeller(["qcdll"]).cuts["qcdll"]


def test_a_class_may_have_several_cuts():
    rows = {
        "R10TruthLabel_R22v1": np.array([10, 10, 10, 11]),
        "GhostBHadronsFinalCount": np.array([2, 1, 0, 2]),
    }
    labeller = Labeller(["hbb", "qcdbb", "qcdbx"], require_labels=False)
    assert set(labeller.reads()) == set(rows)
    assert labeller.compute(rows).tolist() == [1, 2, -1, 0]


def test_labels_are_those_of_ftag_tools():
    from ftag.labeller import Labeller as Theirs

    names = ["cjets", "taujets", "ujets", "bjets"]
    records = np.array([(v,) for v in ROWS[FIELD]], [(FIELD, "u1")])
    assert Labeller(names).compute(ROWS).tolist() == Theirs(names).get_labels(records).tolist()


def test_no_jets_have_no_labels():
    assert Labeller(["bjets"]).compute({FIELD: np.zeros(0, np.int32)}).shape == (0,)


def test_an_unknown_class_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match=r"unknown class 'bjet' .*data.labeller_config.class_names.*nearest: bjets"):
        Labeller(["bjet", "cjets"])


@pytest.mark.parametrize("names", [None, []])
def test_classes_must_be_named(names):
    with pytest.raises(ValueError, match="use_labeller needs class_names"):
        Labeller(names)


def test_the_order_and_the_cuts_of_classes_are_described():
    described = json.dumps(Labeller(["bjets", "cjets"]).describe())
    assert described != json.dumps(Labeller(["cjets", "bjets"]).describe())
    assert f"{FIELD} == 5" in described
