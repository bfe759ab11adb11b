import json

import numpy as np
import pytest

from salt.data.selections import Selection, parse_cut

KEY = "data.selections.tracks"
SLOTS = {
    "d0": np.array([[1.0, 5.0, np.nan], [-np.inf, 3.5, 2.0]], np.float32),
    "hits": np.array([[0, 1, 2], [3, 4, 255]], np.uint8),
    "shared": np.array([[True, False, True], [False, False, True]]),
}


def kept(*cuts):
    return Selection(cuts, KEY).kept(SLOTS).astype(int).tolist()


def test_constituents_that_pass_every_cut_are_kept():
    assert kept("d0 < 3.5") == [[1, 0, 0], [1, 0, 1]]
    assert kept("d0 < 3.5", "hits >= 1") == [[0, 0, 0], [1, 0, 1]]


@pytest.mark.parametrize(
    ("cut", "expected"),
    [
        ("d0 == 3.5", [[0, 0, 0], [0, 1, 0]]),
        ("d0 != 5", [[1, 0, 1], [1, 1, 1]]),
        ("d0 > -1e3", [[1, 1, 0], [0, 1, 1]]),
        ("d0 > -inf", [[1, 1, 0], [0, 1, 1]]),
        ("d0 == nan", [[0, 0, 1], [0, 0, 0]]),
        ("d0 != nan", [[1, 1, 0], [1, 1, 1]]),
        ("hits <= 2", [[1, 1, 1], [0, 0, 0]]),
        ("hits in [1, 255]", [[0, 1, 0], [0, 0, 1]]),
        ("hits in (1,255)", [[0, 1, 0], [0, 0, 1]]),
        ("hits notin [1, 255]", [[1, 0, 1], [1, 1, 0]]),
        ("hits %3== 0", [[1, 0, 0], [1, 0, 1]]),
        ("hits %3 == 0", [[1, 0, 0], [1, 0, 1]]),
        ("hits > -1", [[1, 1, 1], [1, 1, 1]]),
        ("shared == True", [[1, 0, 1], [0, 0, 1]]),
        ("shared == 0", [[0, 1, 0], [1, 1, 0]]),
        ("  d0<3.5 ", [[1, 0, 0], [1, 0, 1]]),
    ],
)
def test_each_operator_compares_as_numpy_does(cut, expected):
    assert kept(cut) == expected


@pytest.mark.parametrize(
    ("cut", "message"),
    [
        ("d0", "cannot read the cut 'd0'; a cut is a field, an operator and a value: 'd0 < 3.5'"),
        ("", "cannot read the cut ''"),
        ("abs(d0) < 3", "cannot read the cut"),
        ("d0 ~ 3", "cannot read the cut"),
        ("d0 < pt", "must compare with a number, not with 'pt'"),
        ("d0 < 2**9", "must compare with a number"),
        ("d0 < 3 and hits > 1", "must compare with a number"),
        ("d0 < [1, 2]", "'<' takes a number"),
        ("d0 < 'a'", "must compare with a number"),
        ("hits in 3", "'in' takes a list of numbers"),
        ("hits in [1, 'a']", "must compare with a list of numbers"),
        ("d0 < nan", "nan is compared with == or != only"),
        ("hits %3< 1", "cannot read the cut|no operator"),
        ("hits %101== 1", "no operator '%101=='"),
    ],
)
def test_a_cut_that_cannot_be_read_is_refused_with_its_key(cut, message):
    with pytest.raises(ValueError, match=message) as error:
        Selection([cut], KEY)
    assert KEY in str(error.value)


def test_cuts_that_are_no_list_are_refused():
    with pytest.raises(ValueError, match=r"data.selections.tracks: 'd0 < 3' must be a list of cuts"):
        Selection("d0 < 3", KEY)


def test_a_selection_reads_each_field_once_and_describes_its_cuts():
    selection = Selection(["d0 < 3.5", "hits > 1", "d0 > -2"], KEY)
    assert selection.reads() == ["d0", "hits"]
    assert json.loads(json.dumps(selection.describe()))["cuts"] == ["d0 < 3.5", "hits > 1", "d0 > -2"]


def test_the_spelling_of_a_cut_does_not_change_its_description():
    assert Selection(["d0<3.5"], KEY).describe() == Selection(["d0  <  3.50"], KEY).describe()


def test_a_cut_is_that_of_ftag_tools():
    from ftag.cuts import Cuts

    (theirs,) = Cuts.from_list(["d0 < 3.5"])
    assert str(parse_cut("d0 < 3.5", KEY)) == str(theirs)
