import importlib.util
import os
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


S3_NEEDS = ("s3fs", "moto.server", "flask", "flask_cors")


@pytest.fixture(scope="session")
def s3_server():
    """URL of a real S3 server on loopback."""
    missing = [name for name in S3_NEEDS if importlib.util.find_spec(name.partition(".")[0]) is None]
    if missing:
        reason = f"no {', '.join(missing)}: uv pip install 's3fs>=2024.6' 'moto[s3]>=5' flask flask-cors"
        (pytest.fail if os.environ.get("SALT_CI") == "1" else pytest.skip)(reason)
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def bucket(s3_server, monkeypatch):
    """Filesystem of the S3 server that AWS_ENDPOINT_URL names, with an empty bucket called `bucket`."""
    import s3fs

    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    s3fs.S3FileSystem.clear_instance_cache()
    filesystem = s3fs.S3FileSystem()
    filesystem.mkdir("bucket")
    yield filesystem
    s3fs.S3FileSystem.clear_instance_cache()
    filesystem.rm("bucket", recursive=True)
