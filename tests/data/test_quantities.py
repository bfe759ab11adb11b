import numpy as np
import pytest

from salt.data.quantities import Axis, Cut, Quantity

VALUES = np.array([-3.0, -1.0, 0.0, 2.5, np.nan], np.float32)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("eta > -1", [0, 0, 1, 1, 0]),
        ("eta>=-1", [0, 1, 1, 1, 0]),
        ("abs(eta) < 2.5", [0, 1, 1, 0, 0]),
        ("abs(eta) <= 2_5e-1", [0, 1, 1, 1, 0]),
        ("eta != nan", [1, 1, 1, 1, 0]),
        ("eta in [-1, 0]", [0, 1, 1, 0, 0]),
        (["eta", "notin", [-1, 0]], [1, 0, 0, 1, 1]),
        (["eta", "==", 0], [0, 0, 1, 0, 0]),
    ],
)
def test_a_cut_keeps_what_meets_it(written, expected):
    cut = Cut.read(written, "data.sampling.cuts")
    assert cut.quantity.column == "eta"
    assert cut.passed(VALUES).tolist() == [bool(passed) for passed in expected]


@pytest.mark.parametrize("written", ["eventNumber %10<= 7", ["eventNumber", "%10<=", 7]])
def test_a_cut_may_ask_for_a_remainder(written):
    assert Cut.read(written, "k").passed(np.arange(20)).tolist() == [n % 10 <= 7 for n in range(20)]


def test_a_cut_leaves_the_column_alone():
    values = np.array([-3.0, 1.0])
    Cut.read("abs(eta) < 2", "k").passed(values)
    assert values.tolist() == [-3, 1]


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("pt", r"the cut 'pt' \(data\.sampling\.cuts\) is not like 'pt > 20_000'"),
        (["pt", ">"], r"is not like 'pt > 20_000' or \[pt, '>', 20_000\]"),
        ("pt > high", r"in the cut 'pt > high' \(data\.sampling\.cuts\), 'high' is no number"),
        (["pt", "=>", 3], r"unknown operator '=>' in data\.sampling\.cuts; nearest: "),
        (["sin(pt)", ">", 3], r"'sin\(pt\)' \(data\.sampling\.cuts\) is neither a column nor abs\(column\)"),
    ],
)
def test_a_cut_that_cannot_be_read_is_an_error(written, message):
    with pytest.raises(ValueError, match=message):
        Cut.read(written, "data.sampling.cuts")


def test_a_quantity_reads_its_column():
    assert [Quantity(name, "k").column for name in ("pt", "abs(eta)")] == ["pt", "eta"]


def test_regions_of_bins_make_one_axis():
    axis = Axis.read("pt", {"bins": [[0, 10, 2], [10, 40, 3]]}, "data.sampling.variables")
    assert axis.edges.tolist() == [0, 5, 10, 20, 30, 40]
    assert len(axis) == 5


@pytest.mark.parametrize("written", [[0, 1, 4], {"bins": [0, 1, 4]}])
def test_bins_may_be_edges(written):
    assert Axis.read("pt", written, "k").edges.tolist() == [0, 1, 4]


def test_a_bin_holds_its_lower_edge_and_the_last_one_both():
    values = np.array([-0.1, 0, 0.99, 1, 3.9, 4, 4.1, np.nan, np.inf])
    assert Axis.read("pt", [0, 1, 4], "k").bins(values).tolist() == [-1, 0, 0, 1, 1, 1, -1, -1, -1]


def test_bins_are_those_of_a_histogram():
    values = np.random.default_rng(1).normal(size=10_000)
    axis = Axis.read("pt", [[-2, 0, 7], [0, 2.5, 9]], "k")
    bins = axis.bins(values)
    assert np.bincount(bins[bins >= 0]).tolist() == np.histogram(values, axis.edges)[0].tolist()


def test_an_axis_may_be_of_an_absolute_value():
    assert Axis.read("abs(eta)", [0, 1, 4], "k").bins(VALUES).tolist() == [1, 1, 0, 1, -1]


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ([0, 1, 1], r"data\.sampling\.variables\.pt needs edges that ascend, at least two: \[0, 1, 1\]"),
        ([], "at least two"),
        ([3], "at least two"),
        ([[0, 1]], r"is neither \[\[first, last, number\], \.\.\.\] nor a list of edges"),
        ([[0, 1, 3], 4], "is neither"),
        ([[0, 10, 2], [20, 30, 2]], "one region of bins ends at 10, and the next begins at 20"),
        ({"bin": [0, 1]}, r"unknown option 'bin' in data\.sampling\.variables\.pt; nearest: bins"),
    ],
)
def test_an_axis_that_cannot_be_read_is_an_error(written, message):
    with pytest.raises(ValueError, match=message):
        Axis.read("pt", written, "data.sampling.variables")
