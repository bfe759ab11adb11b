"""What is read and derived equals upstream's arrays, bit for bit where upstream is right. Nothing is timed."""

import json

import h5py
import numpy as np
import pytest
import torch

from salt.data.labeller import Labeller
from salt.data.multi_target import MultiTarget, read_entries
from salt.data.objects import ObjectConfig, object_labels
from salt.data.parameters import Parameters
from salt.data.selections import Selection
from salt.kernels.edges import edge_features
from salt.layout import Packed
from salt.ragged import Segments

pytestmark = pytest.mark.peers

NUM_JETS, NUM_SLOTS, NUM_OBJECTS = 60, 7, 3
JET = [("pt", "f4"), ("eta", "f8"), ("tau_pt", "f4"), ("mass", "f8"), ("is_b", "i4"), ("flavour_label", "i4")]
JET += [("HadronConeExclTruthLabelID", "i4")]
TRACK = [("d0", "f4"), ("z0", "f8"), ("half", "f2"), ("origin", "i4"), ("parent", "i8"), ("hits", "u1"), ("valid", "?")]
HADRON = [("barcode", "i8"), ("flavour", "i4"), ("valid", "?")]
VARIABLES = {"jets": ["pt", "eta", "is_b"], "tracks": ["hits", "d0", "z0", "half", "origin"]}
LABELS = {"jets": ["flavour_label", "mass"], "tracks": ["origin", "parent", "z0", "half"]}
CLASSES = {"b": {"raw": 5, "mapped": 0}, "c": {"raw": 4, "mapped": 1}, "null": {"raw": -1, "mapped": 2}}
OBJECT = {"name": "truth_hadrons", "id_label": "barcode", "class_label": "flavour", "object_classes": CLASSES}
MASS = {"train": [5, 40, 55], "test": 16}
ENTRY = {"input_name": "jets", "sel_label": "HadronConeExclTruthLabelID", "opp": "==", "value": 15, "source": "tau_pt"}
TARGETS = [
    ENTRY | {"custom_target": "one"},
    ENTRY | {"custom_target": "several"},
    ENTRY | {"custom_target": "several", "opp": "<=", "value": 4, "source": "mass"},
    ENTRY | {"custom_target": "several", "opp": "<", "value": 4, "source": "pt"},
    ENTRY | {"target": "pt"},
]
SELECTIONS = {
    "none": [],
    "one": ["d0 < 0.5"],
    "several": ["d0 > -1.5", "origin in [1,2,5]", "hits %3!= 1"],
    "missing": ["half != nan", "z0 >= -0.25"],
    "all": ["hits > 300"],
}
EDGES = ["dR", "kt", "z", "isSelfLoop", "subjetIndex"]
COLUMNS = {"pt": 0, "eta": 1, "phi": 2, "subjetIndex": 3}


def records(generator, shape, fields):
    """Random records, aligned: upstream reads no others."""
    made = np.zeros(shape, np.dtype(fields, align=True))
    for name, dtype in fields:
        is_float = np.dtype(dtype).kind == "f"
        made[name] = generator.normal(size=shape) if is_float else generator.integers(0, 6, shape)
    return made


@pytest.fixture(scope="module")
def tables():
    """Holes in `valid`, jets without tracks, values that are none, in tracks and where no track is."""
    generator = np.random.default_rng(11)
    jets = records(generator, NUM_JETS, JET)
    jets["HadronConeExclTruthLabelID"] = generator.choice([0, 4, 5, 15], NUM_JETS)
    jets["mass"] = generator.choice([5, 40, 55, -1, 7], NUM_JETS)
    jets["tau_pt"][::4] = np.nan
    tracks = records(generator, (NUM_JETS, NUM_SLOTS), TRACK)
    tracks["valid"] = generator.random((NUM_JETS, NUM_SLOTS)) < 0.7
    tracks["valid"][::9] = False
    tracks["d0"][~tracks["valid"]] = np.nan
    tracks["half"][1::5] = np.nan
    tracks["half"][2::5] = np.inf
    tracks["z0"][3::7] = 1e300  # too large for a float32
    tracks["parent"] = generator.choice([-1, 0, 11, 12, 13], (NUM_JETS, NUM_SLOTS))
    hadrons = records(generator, (NUM_JETS, NUM_OBJECTS), HADRON)
    hadrons["barcode"] = [11, 12, 13]
    hadrons["flavour"] = generator.choice([4, 5], (NUM_JETS, NUM_OBJECTS))
    empty = generator.random((NUM_JETS, NUM_OBJECTS)) < 0.4
    hadrons["barcode"][empty] = hadrons["flavour"][empty] = -1
    return {"jets": jets, "tracks": tracks, "truth_hadrons": hadrons}


@pytest.fixture(scope="module")
def edge_values():
    generator = np.random.default_rng(3)
    columns = [generator.exponential(size=30), generator.normal(size=30), generator.uniform(-3, 3, 30)]
    return np.stack([*columns, generator.integers(-1, 3, 30)], axis=1).astype(np.float32)


@pytest.fixture(scope="module")
def upstream(run_upstream, tables, edge_values, tmp_path_factory):
    """Case -> what upstream makes of it: `upstream("case/input/tracks")`."""
    folder = tmp_path_factory.mktemp("parity")
    with h5py.File(folder / "jets.h5", "w") as file:
        for name, table in tables.items():
            file[name] = table
    cases = {name: {"file": str(folder / "jets.h5")} | case for name, case in make_cases().items()}
    cases["edges"] = {"values": edge_values.tolist(), "columns": COLUMNS, "features": EDGES}
    (folder / "cases.json").write_text(json.dumps(cases))
    run_upstream("upstream_data.py", folder / "cases.json", folder / "out.npz")
    with np.load(folder / "out.npz") as out:
        return dict(out)


def make_cases():
    plain = {"variables": VARIABLES, "labels": LABELS, "non_finite_to_num": True}
    cases = {f"selection {name}": plain | {"selections": {"tracks": cuts}} for name, cuts in SELECTIONS.items()}
    cases |= {f"first {num}": plain | {"num_inputs": {"tracks": num}} for num in (1, 4, NUM_SLOTS)}
    cases["both"] = plain | {"num_inputs": {"tracks": 4}, "selections": {"tracks": SELECTIONS["several"]}}
    cases["kept"] = plain | {"non_finite_to_num": False, "ignore_finite_checks": True}
    simple = {"variables": {"jets": ["pt"], "tracks": ["hits"]}}
    names = ["one", "several", "pt", "tau_pt", "mass", "HadronConeExclTruthLabelID"]
    cases["targets"] = simple | {"labels": {"jets": names}, "multi_target": TARGETS}
    labeller = {"use_labeller": True, "class_names": ["ujets", "taujets", "bjets", "cjets"]}
    cases["labeller"] = simple | {"labels": {"jets": ["flavour_label"]}, "labeller_config": labeller}
    parameters = {"variables": simple["variables"] | {"parameters": ["mass"]}, "parameters": {"mass": MASS}}
    cases |= {stage: parameters | {"labels": {"jets": ["pt"]}, "stage": stage} for stage in ("fit", "test")}
    cases["objects"] = simple | {
        "labels": {"jets": ["pt"], "tracks": ["parent"], "objects": ["barcode", "flavour"]},
        "input_map": {"jets": "jets", "tracks": "tracks", "objects": "truth_hadrons"},
        "mf_config": {"object": OBJECT, "constituent": {"name": "tracks", "id_label": "parent"}},
    }
    return cases


def read(table, names):
    """(..., F) float32 of these fields."""
    with np.errstate(over="ignore"):
        return np.stack([table[name].astype(np.float32) for name in names], axis=-1)


def equal(ours, theirs):
    assert ours.shape == theirs.shape
    assert ours.astype(theirs.dtype).tobytes() == np.ascontiguousarray(theirs).tobytes()


CUT = {f"selection {name}": (cuts, NUM_SLOTS) for name, cuts in SELECTIONS.items()}
CUT |= {f"first {num}": ([], num) for num in (1, 4, NUM_SLOTS)}
CUT |= {"both": (SELECTIONS["several"], 4), "kept": ([], NUM_SLOTS)}


@pytest.mark.parametrize("case", CUT)
def test_the_same_constituents_are_kept_with_the_same_inputs_and_labels(tables, upstream, case):
    cuts, num_inputs = CUT[case]
    tracks = tables["tracks"]
    kept = tracks["valid"] & Selection(cuts).kept(tracks) if cuts else tracks["valid"]
    kept = kept[:, :num_inputs]
    chosen = tracks[:, :num_inputs][kept]

    equal(~kept, upstream[f"{case}/pad/tracks"])
    for stream, rows, theirs in [("jets", tables["jets"], ...), ("tracks", chosen, kept)]:
        inputs = read(rows, VARIABLES[stream])
        if case != "kept":
            inputs[~np.isfinite(inputs)] = 0
        equal(inputs, upstream[f"{case}/input/{stream}"][theirs])
        for label in LABELS[stream]:
            equal(rows[label], upstream[f"{case}/label/{stream}/{label}"][theirs])


@pytest.mark.parametrize("name", ["one", "several", "pt"])
def test_targets_of_several_entries_are_the_same(tables, upstream, name):
    target = MultiTarget(name, read_entries(TARGETS)["jets"]).compute(tables["jets"])
    theirs = upstream[f"targets/label/jets/{name}"]
    assert (np.isnan(target) == np.isnan(theirs)).all()
    equal(np.nan_to_num(target), np.nan_to_num(theirs))


def test_classes_that_are_worked_out_are_the_same(tables, upstream):
    labeller = Labeller(["ujets", "taujets", "bjets", "cjets"])
    equal(labeller.compute(tables["jets"]), upstream["labeller/label/jets/flavour_label"])


def test_parameters_of_signal_and_test_are_the_same_and_background_has_the_same_choice(tables, upstream):
    mass, jets = tables["jets"]["mass"][:, None], np.arange(NUM_JETS)
    parameters = Parameters({"mass": MASS})
    equal(parameters.values("test", mass, jets, 1), upstream["test/input/parameters"])
    ours, theirs = parameters.values("fit", mass, jets, 1), upstream["fit/input/parameters"]
    signal = np.isin(mass, MASS["train"])
    equal(ours[signal], theirs[signal])
    equal(ours[signal], mass[signal])
    assert set(ours[~signal]) == set(theirs[~signal]) == set(MASS["train"])


def test_objects_have_the_same_classes_and_constituents(tables, upstream):
    tracks, hadrons = tables["tracks"], tables["truth_hadrons"]
    kept = tracks["valid"]
    segments = Segments.from_lengths(torch.from_numpy(kept.sum(axis=1)))
    ids, raw = (torch.from_numpy(hadrons[name].copy()) for name in ("barcode", "flavour"))
    found = object_labels(ObjectConfig(**OBJECT), torch.from_numpy(tracks["parent"][kept]), segments, ids, raw)
    equal(found.object_class.numpy(), upstream["objects/label/objects/object_class"])
    equal(found.masks.numpy(), upstream["objects/label/objects/masks"].transpose(0, 2, 1)[kept])


@pytest.mark.parametrize("feature", EDGES)
def test_edges_are_the_same_but_for_distances_around_the_circle(edge_values, upstream, feature):
    segments = Segments.from_lengths(torch.tensor([len(edge_values)]))
    ours = edge_features(torch.from_numpy(edge_values), Packed(segments).square, COLUMNS, [feature]).numpy()
    ours, theirs = ours.reshape(30, 30), upstream["edges/edges"][..., EDGES.index(feature)]
    phi = edge_values[:, 2]
    difference = phi[:, None] - phi[None]
    compared = difference < np.pi if feature in {"dR", "kt"} else np.full_like(theirs, True, bool)
    np.testing.assert_allclose(ours[compared], theirs[compared], rtol=1e-5, atol=2e-6)
    np.testing.assert_allclose(ours, ours.T)
