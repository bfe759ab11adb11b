import math

import pytest

from salt.callbacks.differences import differences, flat
from salt.callbacks.resumption import changed_files, config_differences


def lines(before, after):
    return list(map(str, differences(before, after)))


def test_what_differs_is_named_by_its_dotted_key():
    before = {"trainer": {"max_epochs": 2, "precision": "32-true"}, "name": "a"}
    after = {"trainer": {"max_epochs": 3, "precision": "32-true"}, "name": "a"}
    assert lines(before, after) == ["trainer.max_epochs: 2 -> 3"]


def test_what_is_there_on_one_side_only_is_nothing_on_the_other():
    assert lines({"a": 1}, {"b": "x"}) == ["a: 1 -> nothing", "b: nothing -> x"]


def test_not_given_and_null_are_alike():
    assert lines({"a": None}, {}) == []


def test_lists_of_mappings_are_numbered_and_others_compared_whole():
    before = {"tasks": [{"weight": 1.0}, {"weight": 0.5}], "files": ["a", "b"]}
    after = {"tasks": [{"weight": 1.0}, {"weight": 0.7}], "files": ["a"]}
    assert lines(before, after) == ["tasks[1].weight: 0.5 -> 0.7", "files: ['a', 'b'] -> ['a']"]


def test_one_batch_and_all_batches_are_not_alike():
    assert lines({"limit": 1}, {"limit": 1.0}) == ["limit: 1 -> 1.0"]


def test_not_a_number_is_like_itself():
    assert lines({"a": math.nan}, {"a": math.nan}) == []


def test_long_values_are_cut():
    (line,) = lines({"a": "x" * 500}, {"a": "y"})
    assert len(line) < 100


def test_empty_mappings_are_values():
    assert dict(flat({"a": {}, "b": {"c": []}})) == {"a": {}, "b.c": []}


@pytest.mark.parametrize(
    "key", ["ckpt_path", "log_suffix", "trainer.default_root_dir", "trainer.logger.init_args.save_dir"]
)
def test_where_a_run_is_written_is_no_difference_between_configs(key):
    def config(value):
        content = value
        for part in reversed(key.split(".")):
            content = {part: content}
        return content

    assert config_differences(config("one"), config("other")) == []
    assert lines(config("one"), config("other")) != []


def test_copies_of_a_dictionary_are_alike_if_their_contents_are(tmp_path):
    for folder, text in (("a", "one"), ("b", "one"), ("c", "two")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "norm_dict.yaml").write_text(text)
    one, same, other = ({"data": {"norm_dict": str(tmp_path / name / "norm_dict.yaml")}} for name in "abc")
    assert config_differences(one, same) == []
    assert [each.key for each in config_differences(one, other)] == ["data.norm_dict"]


def file(path="/d/a.h5", size=10, digest="ab" * 32, modified="monday"):
    return {"path": path, "size": size, "modified": modified, "sha256": digest}


def test_a_file_that_was_touched_or_moved_has_not_changed():
    assert changed_files({"train": [file()]}, {"train": [file(modified="tuesday")]}) == []
    assert changed_files({"train": [file()]}, {"train": [file(path="/e/a.h5")]}) == []


def test_a_file_with_other_contents_has_changed():
    (said,) = changed_files({"train": [file()]}, {"train": [file(digest="cd" * 32)]})
    assert said.startswith("data.train_file: /d/a.h5 has changed: 10 bytes, sha256 abab")


def test_files_that_came_and_went_are_named():
    said = changed_files({"val": [file()]}, {"val": [file("/d/b.h5", digest="cd" * 32)]})
    assert said == ["data.val_file: /d/a.h5 is not read any more", "data.val_file: /d/b.h5 was not read before"]


def test_where_contents_are_not_known_sizes_and_times_count():
    one, other = ({"path": "s3://b/a.h5", "size": 1, "modified": time} for time in ("x", "y"))
    assert changed_files({"train": [one]}, {"train": [dict(one)]}) == []
    assert len(changed_files({"train": [one]}, {"train": [other]})) == 1
