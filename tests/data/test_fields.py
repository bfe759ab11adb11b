import numpy as np
import pytest

from salt.data.fields import check_type, is_valid

DTYPE = np.dtype([("pt", "f4"), ("name", "S4"), ("flag", "?")])


def test_a_field_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match=r"variable 'name' in train.h5 is of type .*; only numbers can be read"):
        check_type(DTYPE, "name", "variable", "train.h5")


def test_an_unknown_field_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match=r"unknown label 'ptt' in train.h5; nearest: pt"):
        check_type(DTYPE, "ptt", "label", "train.h5")


def test_numbers_and_booleans_can_be_read():
    check_type(DTYPE, "pt", "variable", "train.h5")
    check_type(DTYPE, "flag", "variable", "train.h5")


def test_all_slots_count_where_the_file_does_not_say():
    assert is_valid(np.zeros((2, 3), [("pt", "f4")])).all()


@pytest.mark.parametrize("dtype", ["?", "u1", "i4"])
def test_valid_may_be_any_whole_number(dtype):
    records = np.zeros((1, 3), [("valid", dtype)])
    records["valid"] = [1, 0, 1]
    assert is_valid(records).tolist() == [[True, False, True]]
