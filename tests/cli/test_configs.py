import pytest

from salt.cli.configs import Source, merge, options, read, source_of, split


def test_files_are_told_from_other_arguments():
    arguments = ["--config", "a.yaml", "--name", "x", "-c", "b.yaml", "--config=c.yaml"]
    assert split(arguments) == (["a.yaml", "b.yaml", "c.yaml"], ["--name", "x"])


def test_options_become_a_mapping():
    arguments = ["--data.batch_size", "3", "--data.num_train=7", "--trainer.logger=false", "-n", "x", "--print_config"]
    assert options(arguments).content == {
        "data": {"batch_size": 3, "num_train": 7}, "trainer": {"logger": False}, "print_config": None
    }  # fmt: skip


def test_a_negative_number_is_a_value():
    assert options(["--data.num_train", "-1"]).content == {"data": {"num_train": -1}}


def test_arguments_of_a_class_that_is_named_before_stay_with_it():
    content = options(["--model.encoder", "Transformer", "--model.encoder.num_layers", "2"]).content
    assert content == {"model": {"encoder": {"class_path": "Transformer", "num_layers": 2}}}


def test_options_that_add_to_lists_are_left_to_the_parser():
    assert options(["--trainer.callbacks+=Timer", "--trainer.callbacks.help", "Timer"]).content == {}


@pytest.mark.parametrize(
    ("before", "over", "after"),
    [
        ({"a": 1, "b": 2}, {"b": 3}, {"a": 1, "b": 3}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"c": 3}}, {"a": {"b": 1, "c": 3}}),
        ({"a": [1, 2, 3]}, {"a": [4]}, {"a": [4]}),
        ({"a": {"b": 1}}, {"a": None}, {"a": None}),
        ({"class_path": "A", "init_args": {"x": 1}}, {"class_path": "B"}, {"class_path": "B"}),
        (
            {"class_path": "A", "init_args": {"x": 1}},
            {"class_path": "A", "init_args": {"y": 2}},
            {"class_path": "A", "init_args": {"x": 1, "y": 2}},
        ),
        ({"class_path": "A"}, {"init_args": {"y": 2}}, {"class_path": "A", "init_args": {"y": 2}}),
        ("A", {"init_args": {"y": 2}}, {"class_path": "A", "init_args": {"y": 2}}),
    ],
)
def test_mappings_merge_and_all_else_is_replaced(before, over, after):
    assert merge(before, over) == after


def test_merging_changes_neither():
    before, over = {"a": {"b": 1}}, {"a": {"c": 2}}
    merge(before, over)
    assert (before, over) == ({"a": {"b": 1}}, {"a": {"c": 2}})


def test_the_source_of_a_key_is_the_last_that_has_it():
    sources = [Source("base", {"a": {"b": 1}, "c": [1]}), Source("mine", {"a": {"b": 2}}), Source("other", {"d": 1})]
    assert [source_of(key, sources) for key in ("a.b", "a", "c.d", "x")] == ["mine", "mine", "base", ""]


def test_a_number_in_scientific_notation_is_a_number(tmp_path):
    (tmp_path / "a.yaml").write_text("a: 1e-7\n")
    assert read(tmp_path / "a.yaml").content == {"a": 1e-7}


def test_an_anchor_may_be_given_again_and_the_last_one_before_an_alias_is_meant(tmp_path):
    (tmp_path / "a.yaml").write_text("a: &x 1\nb: *x\nc: &x 2\nd: *x\n")
    assert read(tmp_path / "a.yaml").content["b"] == 1
    assert read(tmp_path / "a.yaml").content["d"] == 2
