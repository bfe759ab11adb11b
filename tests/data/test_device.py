"""A store on a device gives what the store in memory gives, bit for bit; the CPU is such a device, too."""

import h5py
import numpy as np
import pytest
import torch

from salt.data import device as device_module
from salt.data.augment import Augmentation
from salt.data.device import DeviceStore
from salt.data.loader import WorkerLoader
from salt.data.loading import Loading
from salt.data.opening import Opening
from salt.data.recipes import Options, make_recipe
from salt.ragged import Ragged
from salt.types import Schema

TYPES = ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4"]
NO_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
DEVICES = ["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, NO_GPU])]


def tensors(batch):
    """Everything that a batch has, by name."""
    found = {"index": batch.index}
    for stream, values in batch.inputs.items():
        if isinstance(values, Ragged):
            found |= {f"{stream}.lengths": values.segments.lengths, f"{stream}.offsets": values.segments.offsets}
        found[stream] = values.values if isinstance(values, Ragged) else values
    for stream, labels in batch.labels.items():
        found |= {f"{stream}.{label}": values for label, values in labels.items()}
    return found


def assert_equal(one, other):
    """That two batches are equal in their bits and types, the first of them on any device."""
    one, other = tensors(one.to("cpu")), tensors(other)
    assert list(one) == list(other)
    for name, expected in other.items():
        assert one[name].dtype == expected.dtype, name
        assert one[name].shape == expected.shape, name
        assert one[name].numpy().tobytes() == expected.numpy().tobytes(), name


def any_bits(generator, shape):
    """Records with a field of each type of number, with all its bits."""
    records = np.zeros(shape, [*((f"{dtype}_{side}", dtype) for dtype in TYPES for side in "ab"), ("valid", "?")])
    for name in records.dtype.names[:-1]:
        whole = generator.integers(0, 2**64, shape, np.uint64)
        records[name] = generator.normal(size=shape) if name[0] == "f" else whole.astype(records.dtype[name])
    records["valid"] = generator.random(shape) < 0.4
    return records


@pytest.fixture
def every_type(tmp_path):
    """The jets of a file of all types, some of them without constituents."""
    generator = np.random.default_rng(3)
    with h5py.File(tmp_path / "types.h5", "w") as file:
        file["jets"], file["tracks"] = any_bits(generator, 50), any_bits(generator, (50, 4))
        file["unused"] = any_bits(generator, 50)
        names = generator.permutation(file["jets"].dtype.names[:-1]).tolist()
    labels = {"jets": names[::-1], "tracks": names[::3]}
    recipe = make_recipe(Schema({"jets": names, "tracks": names}), labels | {"unused": names[:2]}, Options())
    return Opening().open(str(tmp_path / "types.h5"), recipe, -1, labels, "train")


@pytest.mark.parametrize("device", DEVICES)
def test_every_type_of_number_arrives_as_from_memory(every_type, device, monkeypatch):
    monkeypatch.setattr(device_module, "PIECE_ROWS", 7)
    store = every_type.load()
    index = torch.randperm(50, generator=torch.Generator().manual_seed(1))
    for part in (index, index[:7], index[:1]):
        assert_equal(DeviceStore(store, device).gather(part), store.gather(part))


@pytest.mark.parametrize("device", DEVICES)
def test_a_part_of_a_sample_knows_its_jets(every_type, device):
    part = every_type.read([(3, 5), (40, 10)])
    index = torch.tensor([44, 3, 7, 49])
    assert_equal(DeviceStore(part, device).gather(index), part.gather(index))


@pytest.fixture
def split(make_file, schema, labels):
    recipe = make_recipe(schema, labels, Options())
    return Opening().open(str(make_file()), recipe, -1, labels, "train")


@pytest.mark.parametrize("device", DEVICES)
def test_a_store_of_a_file_arrives_as_from_memory(split, device):
    store = split.load()
    index = torch.randperm(230, generator=torch.Generator().manual_seed(1))
    assert_equal(DeviceStore(store, device).gather(index), store.gather(index))


@NO_GPU
@pytest.mark.gpu
def test_batches_are_on_the_gpu_and_those_of_memory(split):
    ours, memory = (
        Loading(20, seed=3, device=device).loader(split, "exact", None, Augmentation({}), lambda: 1)
        for device in ("cuda", "cpu")
    )
    for batch, expected in zip(ours, memory, strict=True):
        assert batch.inputs["tracks"].values.is_cuda
        assert batch.labels["jets"]["mass"].is_cuda
        assert_equal(batch, expected)


@NO_GPU
@pytest.mark.gpu
@pytest.mark.parametrize("mode", ["window", "batch", "none"])
def test_each_mode_has_each_jet_once_on_the_gpu(split, mode):
    loader = Loading(20, seed=3, device="cuda").loader(split, mode, None, Augmentation({}), lambda: 1)
    assert sorted(torch.cat([batch.to("cpu").index for batch in loader]).tolist()) == list(range(230))


@NO_GPU
@pytest.mark.gpu
def test_the_gpu_needs_no_workers(split):
    loader = Loading(20, num_workers=2, device="cuda").loader(split, "exact", None, Augmentation({}), lambda: 0)
    assert not isinstance(loader, WorkerLoader)
