import pytest
import torch
import yaml

from salt.data.objects import MaskformerConfig, ObjectConfig, object_labels
from salt.ragged import Segments

CLASSES = {"b": {"raw": 5, "mapped": 0}, "c": {"raw": 4, "mapped": 1}, None: {"raw": -1, "mapped": 2}}


def config(classes=CLASSES):
    return ObjectConfig("truth_hadrons", "barcode", "flavour", classes)


def labels(ids, classes, constituents, of=None):
    segments = Segments.from_lengths(torch.tensor([len(jet) for jet in constituents]))
    packed = torch.tensor([each for jet in constituents for each in jet])
    return object_labels(of or config(), packed, segments, torch.tensor(ids), torch.tensor(classes))


def test_a_mask_says_which_constituents_are_of_an_object():
    found = labels([[11, 12, 13], [21, -1, -1]], [[5, 4, 5], [4, -1, -1]], [[11, 0, 13, 11], [21, 21]])
    assert found.object_class.tolist() == [[0, 1, 0], [1, 2, 2]]
    assert found.masks.int().tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 1], [1, 0, 0], [1, 0, 0], [1, 0, 0]]


def test_ids_of_other_jets_do_not_count():
    found = labels([[7], [8]], [[5], [5]], [[8, 7], [7]])
    assert found.masks.ravel().tolist() == [False, True, False]


def test_constituents_of_no_object_are_not_those_of_an_empty_slot():
    found = labels([[11, -1]], [[5, -1]], [[-1, 11, -1]])
    assert found.masks.int().tolist() == [[0, 0], [1, 0], [0, 0]]


def test_an_object_of_the_null_class_has_no_constituents():
    found = labels([[11, 12]], [[5, -1]], [[11, 12]])
    assert found.object_class.tolist() == [[0, 2]]
    assert found.masks.int().tolist() == [[1, 0], [0, 0]]


def test_jets_without_constituents_or_objects_are_no_exception():
    found = labels([[1, 2], [-1, -1], [3, -1]], [[5, 5], [-1, -1], [4, -1]], [[], [1, 2], [3]])
    assert found.masks.int().tolist() == [[0, 0], [0, 0], [1, 0]]
    none = labels([[1, 2]], [[5, 5]], [[]])
    assert none.masks.shape == (0, 2)


def test_a_class_map_that_collides_is_applied_at_once():
    swapped = config({"a": {"raw": 1, "mapped": 0}, "b": {"raw": 0, "mapped": 1}, None: {"raw": -1, "mapped": 2}})
    assert swapped.mapped(torch.tensor([[1, 0, -1]])).tolist() == [[0, 1, 2]]


def test_two_classes_of_the_file_can_be_one():
    merged = config({"b": {"raw": 5, "mapped": 0}, "c": {"raw": 4, "mapped": 0}, None: {"raw": -1, "mapped": 1}})
    assert merged.mapped(torch.tensor([5, 4, -1])).tolist() == [0, 0, 1]


@pytest.mark.parametrize("dtype", [torch.int8, torch.int32, torch.float32])
def test_classes_are_mapped_from_any_type_of_number(dtype):
    mapped = config().mapped(torch.tensor([[5, -1]], dtype=dtype))
    assert mapped.dtype == torch.int64
    assert mapped.tolist() == [[0, 2]]


@pytest.mark.parametrize("null", ["null:", '"null":'])
def test_the_null_class_is_read_as_yaml_writes_it(null):
    text = "b: {raw: 5, mapped: 0}\n" + null + " {raw: -1, mapped: 1}"
    assert config(yaml.safe_load(text)).null_class == 1


def test_the_null_class_is_minus_one_where_the_config_does_not_say():
    assert config(CLASSES | {None: {"mapped": 2}}).mapped(torch.tensor([-1])).tolist() == [2]


def test_a_class_that_is_not_mapped_is_told():
    with pytest.raises(ValueError, match=r"truth_hadrons.flavour has values .* does not map: 15; there are -1, 4, 5"):
        config().mapped(torch.tensor([[5, 15], [15, -1]]))


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ({"b": {"raw": 5, "mapped": 0}}, "must have the class null, once; there are: b"),
        (None, "must have the class null, once; there are: none"),
        (CLASSES | {"null": {"raw": -1, "mapped": 2}}, "must have the class null, once"),
        (CLASSES | {"d": {"raw": 5, "mapped": 3}}, "gives one raw class to several"),
        (CLASSES | {"d": {"raw": 7, "mapped": 9}}, "without a gap"),
        (CLASSES | {"d": {"mapped": 3}}, r"object_classes.d must have raw and mapped"),
    ],
)
def test_a_wrong_map_is_told(classes, message):
    with pytest.raises(ValueError, match=message):
        MaskformerConfig(config(classes), ObjectConfig("tracks", "parent"))


def test_objects_without_a_class_label_are_told():
    with pytest.raises(ValueError, match=r"data.mf_config.object.class_label must name"):
        MaskformerConfig(ObjectConfig("hadrons", "barcode", None, CLASSES), ObjectConfig("tracks", "parent"))


def test_the_config_is_neither_written_to_nor_bound_to_a_stream():
    classes = {name: dict(values) for name, values in CLASSES.items()}
    whole = MaskformerConfig(config(classes), ObjectConfig("flows", "parent"))
    labels([[1]], [[5]], [[1]], whole.object)
    assert classes == CLASSES
    assert whole.constituent.name == "flows"
