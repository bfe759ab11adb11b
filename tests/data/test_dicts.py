import json

import pytest

from salt.data.dicts import read_class_dict, read_norm_dict

READERS = {"data.norm_dict": read_norm_dict, "data.class_dict": read_class_dict}


@pytest.fixture
def write(tmp_path):
    def to(name, content):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return to


def test_a_norm_dict_is_read_as_it_is(write):
    content = {"jets": {"pt": {"mean": 1.0, "std": 2.0}}, "tracks": {"d0": {"mean": 0.5, "std": 1e-7}}}
    assert read_norm_dict(write("norm_dict.json", content)) == content
    assert read_norm_dict(write("norm_dict.yaml", "jets: {pt: {mean: 1.0, std: 2.0}}")) == {"jets": content["jets"]}


def test_shift_and_scale_of_umami_are_mean_and_std(write):
    content = {"jets": {"pt": {"shift": 1.5, "scale": 2.5, "default": 3.5}}, "tracks": {"d0": {"shift": 0, "scale": 4}}}
    assert read_norm_dict(write("scale_dict.json", content)) == {
        "jets": {"pt": {"mean": 1.5, "std": 2.5}},
        "tracks": {"d0": {"mean": 0, "std": 4}},
    }


def test_a_variable_that_umami_did_not_scale_stays_as_it_is(write):
    content = {"jets": {"isDefaults": {"shift": None, "scale": None, "default": None}}}
    assert read_norm_dict(write("scale_dict.json", content)) == {"jets": {"isDefaults": {"mean": 0.0, "std": 1.0}}}


def test_a_scale_of_zero_is_not_mended(write):
    content = {"jets": {"pt": {"shift": 1, "scale": 0}}}
    assert read_norm_dict(write("scale_dict.json", content))["jets"]["pt"]["std"] == 0


@pytest.mark.parametrize("weights", [{"0": 1.5, "1": 2.5}, [1.5, 2.5], 1.5, {}, None])
def test_what_is_no_dataset_in_a_scale_dict_is_left_out(write, weights):
    content = {"tracks_loose_origin_weights": weights, "tracks_loose": {"d0": {"shift": 1, "scale": 2}}}
    assert list(read_norm_dict(write("scale_dict.json", content))) == ["tracks_loose"]


@pytest.mark.parametrize("key", READERS)
@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.yaml", "jets:\n  pt: [1\nx: 2\n", r"a\.yaml, line 3 \({key}\) is not YAML: did not find expected"),
        ("a.yaml", "a: b: c\n", r"a\.yaml, line 1 \({key}\) is not YAML: mapping values are not allowed"),
        ("a.yaml", "a: \x00\n", r"a\.yaml \({key}\) is not YAML: "),
        ("a.json", '{"jets": {\n"pt": }}', r"a\.json, line 2 \({key}\) is not JSON: Expecting value"),
        ("a.yaml", "- 1\n", r"a\.yaml \({key}\) holds list, not a mapping of dataset names"),
        ("a.yaml", "", r"a\.yaml \({key}\) holds NoneType, not a mapping"),
    ],
)
def test_a_file_that_is_no_dictionary_is_named_with_its_key(write, key, name, text, says):
    with pytest.raises(ValueError, match=says.format(key=key.replace(".", r"\."))):
        READERS[key](write(name, text))


@pytest.mark.parametrize("key", READERS)
def test_a_file_that_is_no_text_is_named_with_its_key(tmp_path, key):
    (tmp_path / "a.yaml").write_bytes(b"\x89HDF\r\n\x1a\n\xff\xfe")
    with pytest.raises(ValueError, match=rf"a\.yaml \({key}\) is not YAML"):
        READERS[key](tmp_path / "a.yaml")


@pytest.mark.parametrize("key", READERS)
def test_a_file_that_is_not_there_is_answered_with_those_that_are(write, tmp_path, key):
    write("other.json", "{}")
    with pytest.raises(FileNotFoundError, match=rf"no file .*a\.yaml \({key}\); in that folder there are: other\.json"):
        READERS[key](tmp_path / "a.yaml")
