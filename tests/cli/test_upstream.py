from pathlib import Path

import pytest

from salt.cli import upstream
from salt.cli.configs import options, read, split


@pytest.fixture
def lines(caplog):
    caplog.set_level("INFO", "salt")
    return lambda: caplog.messages


RENAMED = [
    ("scale_dict", "norm_dict", "scales.json"),
    ("num_jets_train", "num_train", 5),
    ("num_jets_val", "num_val", 6),
    ("num_jets_test", "num_test", -1),
]


@pytest.mark.parametrize(("old", "new", "value"), RENAMED)
def test_an_old_key_of_a_config_becomes_the_new_one(tmp_path, lines, old, new, value):
    file = tmp_path / "a.yaml"
    file.write_text(f"data:\n  {old}: {value}\n  batch_size: 3\n")
    assert read(file).content == {"data": {new: value, "batch_size": 3}}
    assert lines() == [f"read data.{old} {value} ({file}) as data.{new} {value}"]


@pytest.mark.parametrize(("old", "new", "value"), RENAMED)
@pytest.mark.parametrize("form", [["--data.{old}", "{value}"], ["--data.{old}={value}"]])
def test_an_old_option_becomes_the_new_one(lines, form, old, new, value):
    arguments = [part.format(old=old, value=value) for part in form]
    _, rest = split(["-n", "x", *arguments, "--data.batch_size", "3"])
    assert rest == ["-n", "x", "--data.batch_size", "3", f"--data.{new}={value}"]
    assert lines() == [f"read data.{old} {value} (the command line) as data.{new} {value}"]


def test_the_learning_rate_at_the_start_is_the_initial_one():
    old = {"model": {"lrs_config": {"start": 1e-6, "max": 1e-3}}}
    assert upstream.rewritten(old, "a.yaml") == {"model": {"lrs_config": {"initial": 1e-6, "max": 1e-3}}}


def test_an_old_null_is_a_new_null():
    assert upstream.rewritten({"data": {"scale_dict": None}}, "a.yaml") == {"data": {"norm_dict": None}}
    assert split(["--data.scale_dict=null"])[1] == ["--data.norm_dict=null"]


def test_inputs_become_streams_and_their_datasets(lines):
    content = {"name": "x", "data": {"inputs": {"jet": "jets", "track": "tracks_loose"}}}
    streams = {"jets": "jets", "tracks": "tracks_loose"}
    assert upstream.rewritten(content, "a.yaml") == {
        "name": "x",
        "data": {"global_object": "jets", "input_map": streams},
    }
    assert lines() == [
        "read data.inputs {'jet': 'jets', 'track': 'tracks_loose'} (a.yaml) as data.global_object jets, "
        f"data.input_map {streams}"
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--data.inputs.jet=jets", "--data.inputs.track", "tracks_loose"],
        ["--data.inputs={jet: jets, track: tracks_loose}"],
    ],
)
def test_inputs_may_be_options(arguments):
    _, rest = split([*arguments, "--name=x"])
    assert options(rest).content == {
        "name": "x",
        "data": {"global_object": "jets", "input_map": {"jets": "jets", "tracks": "tracks_loose"}},
    }


def test_inputs_join_what_is_said_of_other_streams():
    content = {"data": {"inputs": {"jet": "jets"}, "input_map": {"flows": "flows_loose"}}}
    assert upstream.rewritten(content, "a.yaml")["data"]["input_map"] == {"flows": "flows_loose", "jets": "jets"}


@pytest.mark.parametrize("value", [None, "jets", ["jets"], {"track": "tracks"}, {"jet": 3}])
def test_inputs_of_another_kind_are_refused(value):
    with pytest.raises(ValueError, match=r"(?s)data\.inputs is .*mend: write data\.inputs: \{jet: jets, track: "):
        upstream.rewritten({"data": {"inputs": value}}, "a.yaml")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            {"scale_dict": "a.json", "norm_dict": "b.yaml"},
            r"a\.yaml has data\.scale_dict a\.json, which means data\.norm_dict a\.json, but data\.norm_dict b\.yaml",
        ),
        ({"num_jets_test": 3, "num_test": 4}, "data.num_jets_test 3, .* but data.num_test 4 besides"),
        ({"inputs": {"jet": "jets"}, "global_object": "event"}, "but data.global_object event besides"),
        ({"inputs": {"jet": "jets"}, "input_map": {"jets": "other"}}, "but data.input_map {'jets': 'other'} besides"),
    ],
)
def test_an_old_key_that_contradicts_the_new_one_is_refused(data, message):
    with pytest.raises(ValueError, match=message) as error:
        upstream.rewritten({"data": data}, "a.yaml")
    assert "mend: leave data." in str(error.value)


def test_an_old_option_that_contradicts_the_new_one_is_refused():
    with pytest.raises(ValueError, match=r"the command line has data\.num_jets_test 3"):
        split(["--data.num_jets_test=3", "--data.num_test", "4"])


def test_an_old_key_that_repeats_the_new_one_is_left_out():
    content = {"data": {"num_jets_test": 3, "num_test": 3, "inputs": {"jet": "jets"}, "input_map": {"jets": "jets"}}}
    assert upstream.rewritten(content, "a.yaml") == {
        "data": {"num_test": 3, "input_map": {"jets": "jets"}, "global_object": "jets"}
    }


def test_configs_without_old_keys_stay_as_they_are(lines):
    for content in ({"data": {"num_train": 3}}, {"data": None}, {"data": "inputs"}, {}):
        assert upstream.rewritten(content, "a.yaml") == content
    assert split(["--data.num_train", "-1", "--print_config"])[1] == ["--data.num_train", "-1", "--print_config"]
    assert lines() == []


def test_the_config_that_is_given_is_not_written_to():
    content = {"data": {"inputs": {"jet": "jets"}, "num_jets_val": 3}}
    upstream.rewritten(content, "a.yaml")
    assert content == {"data": {"inputs": {"jet": "jets"}, "num_jets_val": 3}}


def test_a_later_config_overrides_an_old_key_of_an_earlier_one(salt, overlay):
    overlay("old.yaml", data={"num_jets_train": 300, "num_jets_val": 300, "batch_size": 100})
    overlay("new.yaml", data={"num_train": 200})
    options = ("--trainer.max_epochs=1", "--trainer.log_every_n_steps=1", "--data.num_jets_val", "100", "-ls=x")
    answer = salt("fit", "--config=simple.yaml", "--config=old.yaml", "--config=new.yaml", *options)
    assert answer.code == 0, answer.err
    saved = read(Path("logs/simple_x/config.yaml")).content["data"]
    assert (saved["num_train"], saved["num_val"]) == (200, 100)


def test_an_option_that_is_old_is_taken_by_test_as_well(salt, own_run):
    answer = salt("test", own_run, "--data.num_jets_test", "30")
    assert answer.code == 0, answer.err
    assert "read data.num_jets_test 30 (the command line) as data.num_test 30" in answer.err


def test_a_misspelled_old_key_is_unknown(salt, overlay):
    answer = salt("fit", "--config=simple.yaml", "--config", overlay(data={"num_jet_train": 3}))
    assert answer.code == 2
    assert "unknown key data.num_jet_train" in answer.error
