import numpy as np

from salt.data.malformed import Recovered


def test_malformed_origins_become_minus_one():
    origins = np.array([-1, 0, 7, 8, -2, -3, 3, -(2**31)], np.int32)
    recovered = Recovered()
    assert recovered.reads() == ["truthOriginLabel"]
    assert recovered.compute({"truthOriginLabel": origins}).tolist() == [-1, 0, 7, -1, -2, -1, 3, -1]


def test_an_origin_that_is_no_number_is_malformed():
    assert Recovered("origin").compute({"origin": np.array([np.nan, 3.0], np.float32)}).tolist() == [-1, 3]


def test_another_number_of_origins_is_described():
    assert Recovered(num_classes=9).describe() != Recovered().describe()
