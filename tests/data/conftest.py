from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
import pytest

from salt.types import Schema

TRACK = [("d0", "f4"), ("z0", "f8"), ("hits", "u1"), ("dphi", "f2"), ("pt", "f4"), ("origin", "i4"), ("valid", "?")]
FLOW = [("pt", "f4"), ("eta", "f4"), ("valid", "?")]
JET = [("pt", "f4"), ("eta", "f4"), ("mass", "f4"), ("flavour_label", "i4"), ("is_b", "?")]


def fill(generator, shape, fields):
    records = np.zeros(shape, fields)
    for name, _ in fields:
        dtype = records.dtype[name]
        if dtype.kind == "f":
            records[name] = generator.normal(size=shape).astype(dtype)
        else:
            records[name] = generator.integers(0, 2 if dtype.kind == "b" else 9, shape)
    return records


@pytest.fixture
def make_file(tmp_path):
    """A file of jets with holes in `valid`, jets with no tracks, and NaN where no track is."""

    def make(name="train.h5", num_jets=230, chunk=16, change=None) -> Path:
        generator = np.random.default_rng(7)
        jets = fill(generator, num_jets, JET)
        tracks, flows = fill(generator, (num_jets, 6), TRACK), fill(generator, (num_jets, 3), FLOW)
        tracks["valid"][:: max(num_jets // 9, 1)] = False
        tracks["d0"][~tracks["valid"]] = np.nan
        if change:
            change(jets, tracks, flows)
        path = tmp_path / name
        with h5py.File(path, "w") as file:
            for key, records in {"jets": jets, "tracks": tracks, "flows_loose": flows}.items():
                chunks = (min(chunk, num_jets), *records.shape[1:]) if num_jets else None
                options = {"chunks": chunks, **hdf5plugin.LZ4()} if num_jets else {}
                file.create_dataset(key, data=records, **options)
            file["jets"].attrs["flavour_label"] = ["bjets", "cjets", "ujets"]
            file.create_dataset("notes", data=[1, 2])
        return path

    return make


@pytest.fixture
def schema():
    variables = {"jets": ["eta", "pt"], "tracks": ["pt", "hits", "d0", "z0", "dphi"], "flows": ["eta"]}
    return Schema(variables, input_map={"flows": "flows_loose"})


@pytest.fixture
def labels():
    return {"jets": ["flavour_label", "mass", "is_b"], "tracks": ["origin"]}
