"""What is written is what was read: every type of number, every shape of file."""

import h5py
import hdf5plugin
import numpy as np
import pytest
import torch

from salt.data import build, reader
from salt.data.opening import Opening
from salt.data.recipes import Options, make_recipe
from salt.ragged import Ragged
from salt.types import Schema

TYPES = ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "?", ">i4", ">i8", ">f4", ">f2"]
FIELDS = [(f"x{i}", dtype) for i, dtype in enumerate(TYPES)]
NAMES = [name for name, _ in FIELDS]


@pytest.fixture
def write(tmp_path):
    def make(jets, tracks=None, chunk=7):
        path = tmp_path / "train.h5"
        with h5py.File(path, "w") as file:
            for name, records in {"jets": jets, "tracks": tracks}.items():
                if records is not None:
                    chunks = (min(chunk, len(records)), *records.shape[1:])
                    file.create_dataset(name, data=records, chunks=chunks, **hdf5plugin.LZ4())
        return path

    return make


@pytest.fixture
def read(tmp_path):
    """The jets of a file, by way of a store, of parts of that store, or directly."""
    splits = []

    def load(path, schema, labels, way="store"):
        opening = Opening(way != "file", tmp_path / "stores")
        split = opening.open(str(path), make_recipe(schema, labels, Options()), -1, labels, "train")
        splits.append(split)
        half = split.num_jets // 2
        parts = [(0, half), (half, split.num_jets - half)]
        return split.read([part for part in parts if part[1]]) if way == "parts" else split.load()

    yield load
    for split in splits:
        split.close()


def labels_of(values, write, read):
    """What becomes of these values (n,) as a label in a store: the type, and the values."""
    records = np.zeros(len(values), [("pt", "f4"), ("label", values.dtype)])
    records["label"] = values
    column = read(write(records), Schema({"jets": ["pt"]}), {"jets": ["label"]}).columns["jets"].column("label")
    return column.dtype, column


WHOLE = [name for name in TYPES if np.dtype(name).kind in "iu"]
LIMITS = [(kind, np.iinfo(kind).min, np.iinfo(kind).max) for kind in ("i1", "u1", "i2", "i4", "i8", "u2", "u4", "u8")]


@pytest.mark.parametrize("dtype", WHOLE)
def test_whole_numbers_keep_their_values_whatever_the_limits(write, read, dtype):
    own = np.iinfo(dtype)
    edges = {edge + step for _, low, high in LIMITS for edge in (low, high) for step in (-1, 0, 1)} | {0, 1, -1}
    pairs = [(edge, other) for edge in sorted(edges) for other in (0, 7, max(own.min, -7))]
    pairs = [pair for pair in pairs if own.min <= pair[0] <= own.max]
    records = np.zeros(2, [("pt", "f4"), *((f"n{i}", dtype) for i in range(len(pairs)))])
    for i, pair in enumerate(pairs):
        records[f"n{i}"] = pair
    names = list(records.dtype.names[1:])
    columns = read(write(records), Schema({"jets": ["pt"]}), {"jets": names}).columns["jets"]
    assert [tuple(columns.column(name).tolist()) for name in names] == pairs
    assert all(columns.column(name).dtype.itemsize <= np.dtype(dtype).itemsize for name in names)


@pytest.mark.parametrize(
    ("dtype", "low", "high", "bytes_a_value"),
    [
        ("i8", 0, 127, 1), ("i8", -128, 127, 1), ("i8", 0, 255, 1), ("i8", -1, 255, 2), ("i8", -(2**31), 2**31 - 1, 4),
        ("i8", 0, 2**31, 8), ("i4", 5, 5, 1), ("i4", -129, 0, 2), ("u8", 0, 255, 1), ("u8", 0, 2**63, 8),
        ("u8", 2**64 - 1, 2**64 - 1, 8), ("u4", 0, 2**32 - 1, 4), ("u2", 0, 2**16 - 1, 2), ("u2", 0, 2**15 - 1, 2),
        ("u1", 0, 255, 1), ("i1", -128, -128, 1),
    ],
)  # fmt: skip
def test_whole_numbers_take_as_few_bytes_as_they_need(write, read, dtype, low, high, bytes_a_value):
    stored, column = labels_of(np.array([low, high, low], dtype), write, read)
    assert column.tolist() == [low, high, low]
    assert stored.itemsize == bytes_a_value


def test_a_hash_beyond_half_of_64_bits_reaches_a_batch_as_its_bits(write, read):
    records = np.zeros(2, [("pt", "f4"), ("hash", "u8")])
    records["hash"] = [2**63 + 5, 2**64 - 1]
    store = read(write(records), Schema({"jets": ["pt"]}), {"jets": ["hash"]})
    labels = store.gather(torch.arange(2)).labels["jets"]["hash"]
    assert labels.numpy().view(np.uint64).tolist() == [2**63 + 5, 2**64 - 1]


@pytest.mark.parametrize("late", [300, -5, 70_000, 2**40, -(2**40)])
def test_values_that_grow_in_the_last_block_are_kept(write, read, monkeypatch, late):
    monkeypatch.setattr(reader, "BLOCK_BYTES", 1)
    monkeypatch.setattr(build, "PIECE_ROWS", 3)
    values = np.arange(40, dtype="i8") % 5
    values[39] = late
    assert labels_of(values, write, read)[1].tolist() == values.tolist()


def test_columns_of_one_type_are_narrowed_each_for_itself(write, read, monkeypatch):
    monkeypatch.setattr(build, "PIECE_ROWS", 3)
    names = [f"n{i}" for i in range(5)]
    records = np.zeros(10, [("pt", "f4"), *((name, "i8") for name in names)])
    tops = [1, 2**40, 300, 200, 70_000]
    for name, top in zip(names, tops, strict=True):
        records[name] = np.linspace(0, top, 10).astype("i8")
    store = read(write(records), Schema({"jets": [*names[::-1], "pt"]}), {"jets": names})
    columns = store.columns["jets"]
    assert [columns.column(name).dtype.itemsize for name in names] == [1, 8, 2, 1, 4]
    assert all(columns.column(name).tolist() == records[name].tolist() for name in names)
    batch = store.gather(torch.arange(10))
    for place, name in enumerate(names[::-1]):
        assert batch.inputs["jets"][:, place].tolist() == records[name].astype("f4").tolist()


def test_ranges_of_labels_are_told(write, read, tmp_path):
    records = np.zeros(9, [("pt", "f4"), ("label", "i8"), ("mass", "f4"), ("hash", "u8")])
    records["label"], records["hash"] = np.arange(-2, 7), 2**64 - 1
    path, labels = write(records), {"jets": ["label", "mass", "hash"]}
    recipe = make_recipe(Schema({"jets": ["pt"]}), labels, Options())
    split = Opening(True, tmp_path / "stores").open(str(path), recipe, -1, labels, "train")
    assert split.ranges("jets") == {"label": (-2, 6), "hash": (2**64 - 1, 2**64 - 1)}


def random_records(generator, shape, narrow):
    """Any bits, or small numbers; floats are finite."""
    records = np.zeros(shape, [*FIELDS, ("valid", "?")])
    for name, dtype in FIELDS:
        kind, size = np.dtype(dtype).kind, np.prod(shape, dtype=int)
        if kind == "f":
            values = generator.normal(size=size) * generator.choice([1e-3, 1, 1e3])
        elif kind == "b":
            values = generator.random(size) < 0.5
        else:
            bits = generator.integers(0, 2**64, size, np.uint64)
            values = (bits % 100 if narrow else bits).astype(dtype)
        records[name] = values.reshape(shape)
    records["valid"] = generator.random(shape) < generator.choice([0, 0.1, 0.6, 1], p=[0.1, 0.3, 0.3, 0.3])
    return records


def expected(records, names, valid, cast):
    """(r,) of each field, as numpy reads it."""
    with np.errstate(over="ignore"):
        return [torch.from_numpy(cast(records[name][valid])) for name in names]


def as_label(values):
    return values.astype("f4" if values.dtype.kind == "f" else "i8")


@pytest.mark.parametrize("seed", range(12))
def test_a_store_equals_its_file_bit_for_bit(write, read, monkeypatch, seed):
    generator = np.random.default_rng(seed)
    num_jets, slots = int(generator.integers(1, 60)), int(generator.integers(1, 9))
    monkeypatch.setattr(reader, "BLOCK_BYTES", int(generator.choice([1, 3000, 2**25])))
    monkeypatch.setattr(build, "PIECE_ROWS", int(generator.choice([1, 10, 2**18])))
    jets = random_records(generator, (num_jets,), seed % 2)[NAMES]
    tracks = random_records(generator, (num_jets, slots), seed % 3)
    tracks["valid"][generator.random(num_jets) < 0.3] = False
    path = write(jets, tracks, chunk=int(generator.integers(1, 20)))
    asked = {
        stream: generator.permutation(NAMES)[: generator.integers(1, 17)].tolist() for stream in ("jets", "tracks")
    }
    labels = {
        stream: generator.permutation(NAMES)[: generator.integers(1, 17)].tolist() for stream in ("jets", "tracks")
    }
    index = torch.from_numpy(generator.permutation(num_jets))
    for way in ("store", "parts", "file"):
        batch = read(path, Schema(asked), labels, way).gather(index)
        order = batch.index.numpy()
        valid = tracks[order]["valid"]
        assert sorted(order.tolist()) == list(range(num_jets))
        assert isinstance(batch.inputs["tracks"], Ragged)
        assert batch.inputs["tracks"].segments.lengths.tolist() == valid.sum(1).tolist()
        got = {"jets": batch.inputs["jets"], "tracks": batch.inputs["tracks"].values}
        for stream, records, kept in (("jets", jets[order], slice(None)), ("tracks", tracks[order], valid)):
            wanted = torch.stack(expected(records, asked[stream], kept, lambda x: x.astype("f4")), 1)
            assert got[stream].numpy().tobytes() == wanted.numpy().tobytes()
            for name, values in zip(labels[stream], expected(records, labels[stream], kept, as_label), strict=True):
                assert torch.equal(batch.labels[stream][name], values)


@pytest.mark.parametrize("way", ["store", "parts", "file"])
def test_a_file_of_one_jet_is_read(write, read, way):
    tracks = random_records(np.random.default_rng(1), (1, 4), True)
    tracks["valid"] = [[False, True, False, True]]
    batch = read(write(tracks[:, 0][NAMES], tracks), Schema({"tracks": ["x5"]}), {}, way).gather(torch.arange(1))
    assert batch.inputs["tracks"].values[:, 0].tolist() == tracks["x5"][0, [1, 3]].astype("f4").tolist()


@pytest.mark.parametrize("way", ["store", "parts", "file"])
def test_a_file_without_any_constituent_has_empty_batches_of_the_right_types(write, read, way):
    tracks = random_records(np.random.default_rng(1), (20, 4), True)
    tracks["valid"] = False
    batch = read(write(tracks[:, 0][NAMES], tracks), Schema({"tracks": NAMES}), {"tracks": ["x3", "x9"]}, way).gather(
        torch.arange(20)
    )
    assert batch.inputs["tracks"].values.shape == (0, len(NAMES))
    assert batch.inputs["tracks"].segments.lengths.tolist() == [0] * 20
    assert batch.labels["tracks"]["x3"].dtype == torch.int64
    assert batch.labels["tracks"]["x9"].dtype == torch.float32


def test_float16_stays_two_bytes_and_float64_becomes_four(write, read):
    records = random_records(np.random.default_rng(1), (20,), True)[NAMES]
    columns = read(write(records), Schema({"jets": ["x1"]}), {"jets": ["x8", "x9", "x10", "x11"]}).columns["jets"]
    assert [columns.column(name).dtype.name for name in ("x8", "x9", "x10")] == ["float16", "float32", "float32"]
    assert columns.column("x11").dtype.itemsize == 1


def test_a_folder_holds_nothing_but_the_store(write, read, tmp_path, monkeypatch):
    monkeypatch.setattr(reader, "BLOCK_BYTES", 1)
    records = random_records(np.random.default_rng(1), (20,), False)[NAMES]
    store = read(write(records), Schema({"jets": NAMES}), {"jets": NAMES})
    (folder,) = (tmp_path / "stores").iterdir()
    sizes = {file.name: file.stat().st_size for file in folder.iterdir()}
    assert sum(sizes.values()) - sizes.pop("manifest.json") == store.num_bytes
