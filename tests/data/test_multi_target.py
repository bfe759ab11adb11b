import json

import numpy as np
import pytest

from salt.data.multi_target import MultiTarget, read_entries

ROWS = {
    "ID": np.array([15, 5, 4, 0, 15]),
    "pt": np.array([1, 2, 3, 4, 5], np.float32),
    "tau_pt": np.array([10, 20, 30, 40, np.nan], np.float32),
    "mass": np.array([0.1, 0.2, 0.3, 0.4, 0.5], np.float64),
}
TAU = {"input_name": "jets", "sel_label": "ID", "opp": "==", "value": 15, "custom_target": "t", "source": "tau_pt"}


def made(*entries, name="t"):
    return MultiTarget(name, read_entries(entries)["jets"])


def test_rows_that_match_no_entry_are_nan():
    target = made(TAU).compute(ROWS)
    assert target.dtype == np.float32
    np.testing.assert_array_equal(target, [10, np.nan, np.nan, np.nan, np.nan])


def test_all_entries_of_a_target_count():
    target = made(TAU, TAU | {"opp": "!=", "source": "pt"}).compute(ROWS)
    np.testing.assert_array_equal(target, [10, 2, 3, 4, np.nan])


def test_a_missing_value_of_the_source_stays_missing_where_another_entry_matched_before():
    target = made(TAU | {"opp": ">=", "value": 0, "source": "pt"}, TAU).compute(ROWS)
    np.testing.assert_array_equal(target, [10, 2, 3, 4, np.nan])


def test_the_last_of_several_matching_entries_wins():
    everything = TAU | {"opp": ">=", "value": 5, "source": "pt"}
    np.testing.assert_array_equal(made(TAU, everything).compute(ROWS), [1, 2, np.nan, np.nan, 5])


@pytest.mark.parametrize(
    ("opp", "expected"),
    [("==", [1]), ("!=", [0, 2, 3, 4]), (">", [0, 4]), (">=", [0, 1, 4]), ("<", [2, 3]), ("<=", [1, 2, 3])],
)
def test_each_operator_compares_the_rows(opp, expected):
    target = made(TAU | {"opp": opp, "value": 5, "source": "pt"}).compute(ROWS)
    assert np.flatnonzero(np.isfinite(target)).tolist() == expected


def test_a_target_that_there_is_changes_where_an_entry_matches():
    entry = {**TAU, "target": "pt"}
    del entry["custom_target"]
    changed = made(entry, name="pt").compute(ROWS)
    np.testing.assert_array_equal(changed, [10, 2, 3, 4, np.nan])
    assert ROWS["pt"].tolist() == [1, 2, 3, 4, 5]


def test_an_entry_sees_what_those_before_it_changed():
    first = {"input_name": "jets", "sel_label": "ID", "opp": "==", "value": 15, "target": "pt", "source": "tau_pt"}
    second = {"input_name": "jets", "sel_label": "pt", "opp": ">", "value": 5, "custom_target": "t", "source": "mass"}
    target = made(first, second)
    np.testing.assert_array_equal(target.compute(ROWS), [0.1, np.nan, np.nan, np.nan, np.nan])
    assert set(target.reads()) == {"ID", "pt", "tau_pt", "mass"}


def test_an_entry_of_another_target_is_left_out():
    other = TAU | {"custom_target": "u", "source": "mass"}
    assert made(TAU, other).reads() == ["ID", "tau_pt"]
    assert made(TAU, other).describe() == made(TAU).describe()


def test_a_target_that_is_changed_later_is_taken_as_it_was():
    change = {"input_name": "jets", "sel_label": "ID", "opp": ">", "value": 0, "target": "pt", "source": "tau_pt"}
    np.testing.assert_array_equal(made(TAU | {"source": "pt"}, change).compute(ROWS), [1, np.nan, np.nan, np.nan, 5])


def test_entries_are_kept_apart_by_stream():
    streams = read_entries([TAU, TAU | {"input_name": "tracks"}, TAU | {"source": "pt"}])
    assert {stream: [entry.source for entry in entries] for stream, entries in streams.items()} == {
        "jets": ["tau_pt", "pt"],
        "tracks": ["tau_pt"],
    }


def test_the_widest_source_decides_the_type():
    wide = made(TAU, TAU | {"value": 4, "source": "mass"}).compute(ROWS)
    assert wide.dtype == np.float64
    np.testing.assert_array_equal(wide, [10, np.nan, 0.3, np.nan, np.nan])


def test_integers_can_be_a_source():
    target = made(TAU | {"source": "ID"}).compute(ROWS)
    np.testing.assert_array_equal(target, [15, np.nan, np.nan, np.nan, 15])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"opp": "in"}, r"unknown operator 'in' in data.multi_target\[0\].opp"),
        ({"value": [4, 5]}, r"data.multi_target\[0\].value must be a number"),
        ({"value": "15"}, "value must be a number, not '15'"),
        ({"custom_target": None}, "must name either target .* or custom_target"),
        ({"target": "pt"}, "must name either target .* or custom_target"),
        ({"op": "=="}, "unknown key 'op' .*nearest: opp"),
    ],
)
def test_a_wrong_entry_is_told(change, message):
    with pytest.raises(ValueError, match=message):
        read_entries([TAU | change])


def test_what_an_entry_lacks_is_told():
    with pytest.raises(ValueError, match=r"data.multi_target\[1\] lacks value, source"):
        read_entries([TAU, {name: TAU[name] for name in ("input_name", "sel_label", "opp", "custom_target")}])


def test_the_entries_are_described():
    described = json.dumps(made(TAU).describe())
    assert described == json.dumps(made(dict(TAU)).describe())
    assert described != json.dumps(made(TAU | {"value": 5}).describe())
