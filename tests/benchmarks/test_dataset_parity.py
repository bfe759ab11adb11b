"""SaltDataset gives what upstream's gives of the same file, in the same slots. Nothing is timed."""

import inspect
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from salt.data import SaltDataset
from salt.data.labeller import LabellerConfig
from salt.data.objects import MaskformerConfig

pytestmark = pytest.mark.peers

SAMPLE = Path(__file__).parents[2] / "salt" / "configs" / "sample.h5"
VARIABLES = {"jets": ["pt_btagJes", "eta_btagJes"], "tracks": ["d0", "numberOfPixelHits", "z0SinTheta"]}
LABELS = {
    "jets": ["flavour_label", "HadronConeExclTruthLabelLxy", "eventNumber"],
    "tracks": ["ftagTruthOriginLabel", "ftagTruthVertexIndex", "ftagTruthParentBarcode"],
}
CLASSES = {"b": {"raw": 5, "mapped": 0}, "c": {"raw": 4, "mapped": 1}, None: {"raw": -1, "mapped": 2}}
OBJECT = {"name": "truth_hadrons", "id_label": "barcode", "class_label": "flavour", "object_classes": CLASSES}
FLAVOURS = ["cjets", "ujets", "taujets", "bjets"]
ENTRY = {"input_name": "jets", "sel_label": "flavour_label", "opp": "==", "value": 1, "source": "pt"}
PARAMETER = {"n_tracks": {"train": list(range(1, 41)), "test": 16}}
CASES = {
    "plain": {},
    "a part": {"slice": (1500, 1777)},
    "of a few": {"options": {"num": 10}, "slice": (4, 10)},
    "no labels": {"options": {"labels": None}},
    "one stream": {"variables": {"tracks": ["d0"]}, "options": {"labels": {"tracks": ["ftagTruthOriginLabel"]}}},
    "first slots": {"options": {"num_inputs": {"tracks": 7}}},
    "selections": {"options": {"selections": {"tracks": ["d0 < 0.05", "numberOfPixelHits > 3"]}}},
    "both": {"options": {"num_inputs": {"tracks": 7}, "selections": {"tracks": ["d0 < 0.05"]}}},
    "global": {"variables": {**VARIABLES, "global": ["mass"]}},
    "mapped": {
        "variables": {"jets": ["pt"], "constituents": ["d0", "pt"]},
        "options": {"labels": {"jets": ["flavour_label"]}, "input_map": {"jets": "jets", "constituents": "tracks"}},
    },
    "labeller": {"options": {"labeller_config": {"use_labeller": True, "class_names": FLAVOURS}}},
    "targets": {"options": {"labels": {"jets": ["flavour_label", "pt", "mine"]},
                            "multi_target": [{**ENTRY, "custom_target": "mine"}]}},
    "objects": {
        "options": {
            "labels": {"jets": ["pt"], "tracks": ["ftagTruthParentBarcode"], "objects": ["barcode", "flavour", "mass"]},
            "input_map": {"jets": "jets", "tracks": "tracks", "objects": "truth_hadrons"},
            "mf_config": {
                "object": OBJECT, "constituent": {"name": "tracks", "id_label": "ftagTruthParentBarcode"}
            },
        },
    },
    "test": {
        "stage": "test", "variables": {**VARIABLES, "parameters": ["n_tracks"]}, "options": {"parameters": PARAMETER}
    },
    "holes": {"file": "holes"},
    "holes and cuts": {
        "file": "holes", "options": {"num_inputs": {"tracks": 7}, "selections": {"tracks": ["d0 < 0.05"]}}
    },
    "kept": {"file": "holes", "options": {"ignore_finite_checks": True}},
    "mended": {"file": "holes", "options": {"non_finite_to_num": True}},
}  # fmt: skip


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """The cases, of the packaged sample or of one with holes among its tracks; some of which have no value."""
    holes = tmp_path_factory.mktemp("parity") / "holes.h5"
    with h5py.File(SAMPLE) as source, h5py.File(holes, "w") as file:
        jets, tracks = source["jets"][:], source["tracks"][:]
        tracks["valid"] &= np.random.default_rng(4).random(tracks.shape) < 0.7
        jets["mass"][::7] = np.nan
        file["jets"], file["tracks"] = jets, tracks
    made = {}
    for name, case in CASES.items():
        case = {"variables": VARIABLES, "stage": "fit", "slice": (0, 2000), "options": {}} | case
        if case["options"].keys() & {"ignore_finite_checks", "non_finite_to_num"}:
            case["variables"] = {**VARIABLES, "jets": ["mass", "pt"]}
        case["file"] = str(holes if "file" in case else SAMPLE)
        made[name] = case | {"options": {"labels": LABELS} | case["options"]}
    return made


@pytest.fixture(scope="module")
def upstream(ask_upstream, cases):
    return ask_upstream("upstream_dataset.py", cases)


def ours(case):
    """Our dataset of a case."""
    options = dict(case["options"])
    if "labeller_config" in options:
        options["labeller_config"] = LabellerConfig(**options["labeller_config"])
    if "mf_config" in options:
        options["mf_config"] = MaskformerConfig.of(options["mf_config"])
    return SaltDataset(case["file"], None, case["variables"], case["stage"], **options)


def equal(found, expected):
    torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("name", [name for name in CASES if name != "objects"])
def test_a_slice_is_the_same(cases, upstream, name):
    case, (length, *theirs) = cases[name], upstream[name]
    dataset = ours(case)
    inputs, pad_masks, labels = dataset[slice(*case["slice"])]
    assert len(dataset) == length
    if "holes" in case["file"]:  # theirs are what the file has there, ours are missing
        without(pad_masks, labels, theirs[2])
    equal((inputs, pad_masks, labels), tuple(theirs))


def test_objects_are_the_same_but_that_ours_are_as_the_file_has_them(cases, upstream):
    inputs, pad_masks, labels = ours(cases["objects"])[:]
    _, their_inputs, their_masks, theirs = upstream["objects"]
    objects, their_objects = labels.pop("objects"), theirs.pop("objects")
    equal((inputs, pad_masks, labels), (their_inputs, their_masks, theirs))
    is_null = objects["barcode"] == -1
    equal(objects["barcode"].masked_fill(is_null, -999), their_objects.pop("barcode"))
    equal(objects["object_class"], their_objects.pop("flavour"))
    assert list(their_objects) == ["object_class", "mass", "masks"]
    equal({name: objects[name] for name in their_objects}, their_objects)


def without(pad_masks, *several):
    """Take labels of padded slots out."""
    for labels in several:
        for stream, pad in pad_masks.items():
            labels[stream] = {name: values[~pad] for name, values in labels[stream].items()}


def test_arguments_and_defaults_are_the_same(upstream):
    ours = inspect.signature(SaltDataset).parameters.values()
    found = [(each.name, "required" if each.default is each.empty else each.default) for each in ours]
    assert found == upstream["arguments"]
