import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from salt.sweeps.space import grid, option, read


def one(content):
    return read({"some.key": content}, "space.yaml")[0]


@pytest.mark.parametrize(
    ("content", "distribution"),
    [
        ({"low": 1e-4, "high": 1e-2, "log": True}, FloatDistribution(1e-4, 1e-2, log=True)),
        ({"low": 0.0, "high": 1.0, "step": 0.25}, FloatDistribution(0, 1, step=0.25)),
        ({"low": 2, "high": 6}, IntDistribution(2, 6)),
        ({"low": 2, "high": 6, "step": 2}, IntDistribution(2, 6, step=2)),
        ({"low": 1, "high": 0.5e3}, FloatDistribution(1, 500)),
        ([500, 1000], CategoricalDistribution([500, 1000])),
        ([{"a": 1}, None, "x"], CategoricalDistribution(['{"a": 1}', None, "x"])),
    ],
)
def test_ranges_and_lists_are_distributions(content, distribution):
    assert one(content).distribution() == distribution


def test_a_mapping_of_a_list_comes_back_as_it_was_written():
    parameter = one([{"class_path": "a.B"}, [1, 2]])
    assert [parameter.plain(value) for value in parameter.values()] == [{"class_path": "a.B"}, [1, 2]]


def test_a_grid_has_every_combination_once_the_last_changing_fastest():
    space = read({"a": [1, 2], "b": {"low": 0.0, "high": 0.3, "step": 0.1}, "c": {"low": 1, "high": 1 + 1}}, "s")
    found = grid(space)
    assert len(found) == 2 * 4 * 2
    assert [tuple(each.values()) for each in found[:3]] == [(1, 0.0, 1), (1, 0.0, 2), (1, 0.1, 1)]
    assert len({tuple(each.values()) for each in found}) == len(found)


@pytest.mark.parametrize("content", [{"low": 0.0, "high": 1.0}, {"low": 1, "high": 9, "log": True}])
def test_a_grid_of_infinitely_many_is_refused(content):
    with pytest.raises(ValueError, match=r"parameters\.some\.key: a grid cannot try all .*\n  mend: give a list"):
        grid([one(content)])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (3, r"parameters\.some\.key in space\.yaml is 3, neither a list nor a range"),
        ([], "an empty list"),
        ([1, 2, 1], "names a value twice"),
        ({"low": 1, "hihg": 2}, "unknown key 'hihg' in parameters.some.key in space.yaml; nearest: high"),
        ({"low": 1}, "has no high"),
        ({"low": 2, "high": 1}, "low is 2 and high is 1; low must be smaller"),
        ({"low": 0, "high": 1, "log": True}, "low is 0, which has no logarithm"),
        ({"low": 1, "high": 10, "log": True, "step": 1}, "a logarithmic range has no step"),
        ({"low": 1, "high": 10, "step": 0}, "step is 0; it must be greater than 0"),
        ({"low": "a", "high": 10}, "low is 'a', which is no number"),
    ],
)
def test_a_wrong_parameter_is_named_with_its_file(content, message):
    with pytest.raises(ValueError, match=message):
        one(content)


@pytest.mark.parametrize("key", ["name", "log_suffix", "trainer.default_root_dir"])
def test_options_of_the_sweep_itself_cannot_be_searched(key):
    with pytest.raises(ValueError, match=f"{key} is the sweep's own"):
        read({key: [1, 2]}, "space.yaml")


@pytest.mark.parametrize(
    ("value", "text"),
    [(1e-05, "--k=1e-05"), (True, "--k=true"), (None, "--k=null"), ("a b", "--k=a b"), ({"a": [1]}, '--k={"a": [1]}')],
)
def test_values_are_written_as_options(value, text):
    assert option("k", value) == text
