import h5py
import hdf5plugin
import numpy as np
import pytest

from salt.data.sources import open_sample

NAMES = ["jets", "tracks", "flows_loose"]


def contents(path, name):
    with h5py.File(path, "r") as file:
        return file[name][:]


def rewrite(path, name, change):
    """Replace a dataset by what `change` makes of its records; keep its attributes."""
    with h5py.File(path, "r+") as file:
        records, attributes = file[name][:], dict(file[name].attrs)
        del file[name]
        file[name] = change(records)
        file[name].attrs.update(attributes)


def with_type(field, dtype):
    """A change of one field's type."""
    return lambda records: records.astype(
        [(name, dtype if name == field else records.dtype[name]) for name in records.dtype.names]
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("first", "count"), [(0, 230), (0, 1), (229, 1), (13, 50), (16, 32), (7, 0)])
def test_records_are_those_of_the_file(make_file, name, first, count):
    path = make_file()
    with open_sample(path, "data.train_file") as sample:
        table = sample.table(name, "data.input_map")
        records = table.read(first, count)
        assert (table.shape, table.num_jets) == (contents(path, name).shape, 230)
    assert records.dtype == contents(path, name).dtype
    assert records.tobytes() == contents(path, name)[first : first + count].tobytes()


def test_records_are_read_into_the_memory_that_is_given(make_file):
    with open_sample(make_file(), "data.train_file") as sample:
        table = sample.table("tracks", "data.input_map")
        memory = np.zeros((10, 6), table.dtype)
        assert table.read(3, 10, memory) is memory
        assert memory.tobytes() == table.read(3, 10).tobytes()


@pytest.mark.parametrize("options", [{}, {"compression": "gzip"}, {"compression": "lzf"}, hdf5plugin.Zstd()])
def test_any_compression_is_read(make_file, options):
    path = make_file()
    with h5py.File(path, "r+") as file:
        file.create_dataset("again", data=file["tracks"][:], chunks=(5, 6) if options else None, **options)
    with open_sample(path, "data.train_file") as sample:
        table = sample.table("again", "data.input_map")
        assert table.chunk == (5 if options else 1)
        assert table.read(0, 230).tobytes() == contents(path, "tracks").tobytes()


@pytest.mark.parametrize("step", [1, 7, 64, 238])
@pytest.mark.parametrize("name", NAMES)
def test_several_files_are_one_long_sample(make_file, name, step):
    paths = [make_file("a.h5", 100), make_file("b.h5", 1), make_file("c.h5", 137)]
    with open_sample(paths, "data.train_file") as sample:
        table = sample.table(name, "data.input_map")
        parts = [table.read(first, min(step, 238 - first)) for first in range(0, 238, step)]
    whole = np.concatenate([contents(path, name) for path in paths])
    assert np.concatenate(parts).tobytes() == whole.tobytes()


def test_more_files_than_may_be_open_are_read_in_any_order(make_file):
    paths = [make_file(f"{number}.h5", 10 + number) for number in range(7)]
    whole = np.concatenate([contents(path, "jets") for path in paths])
    with open_sample(paths, "data.train_file") as sample:
        table = sample.table("jets", "data.input_map")
        for first in (60, 0, 33, 85, 12):
            assert table.read(first, 5).tobytes() == whole[first : first + 5].tobytes()


def test_fields_may_have_another_order_in_another_file(make_file):
    paths = [make_file("a.h5", 20), make_file("b.h5", 30)]
    rewrite(paths[1], "tracks", lambda records: records[list(records.dtype.names[::-1])].copy())
    with open_sample(paths, "data.train_file") as sample:
        records = sample.table("tracks", "data.input_map").read(0, 50)
    for field in records.dtype.names:
        whole = np.concatenate([contents(path, "tracks")[field] for path in paths])
        np.testing.assert_array_equal(records[field], whole)


def test_a_jet_is_placed_in_its_file(make_file):
    paths = [make_file("a.h5", 20), make_file("b.h5", 30)]
    with open_sample(paths, "data.train_file") as sample:
        table = sample.table("jets", "data.input_map")
        assert table.place(19) == f"jet 19 of {paths[0]}"
        assert table.place(20) == f"jet 0 of {paths[1]}"
        assert table.where == f"dataset 'jets' of {paths[0]} (data.train_file), the first of 2 files"


def test_the_largest_chunk_of_several_files_counts(make_file):
    with open_sample([make_file("a.h5", chunk=16), make_file("b.h5", chunk=32)], "data.train_file") as sample:
        assert sample.table("jets", "data.input_map").chunk == 32


def test_attributes_are_those_of_the_first_file(make_file):
    paths = [make_file("a.h5"), make_file("b.h5")]
    for number, path in enumerate(paths):
        with h5py.File(path, "r+") as file:
            file["jets"].attrs["unique_jets"] = number
            if number:
                file["jets"].attrs["flavour_label"] = np.array(["bjets", "cjets", "ujets"], "S")
    with open_sample(paths, "data.train_file") as sample:
        attributes = sample.table("jets", "data.input_map").attrs
    assert attributes["unique_jets"] == 0
    assert list(attributes["flavour_label"]) == ["bjets", "cjets", "ujets"]


def test_files_with_other_class_names_are_not_one_sample(make_file):
    paths = [make_file("a.h5"), make_file("b.h5")]
    with h5py.File(paths[1], "r+") as file:
        file["jets"].attrs["flavour_label"] = ["bjets", "ujets", "cjets"]
    message = r"a\.h5.*b\.h5.*cannot be read as one sample: the class names of 'flavour_label' are .*'bjets', 'ujets'"
    with open_sample(paths, "data.train_file") as sample, pytest.raises(ValueError, match=message):
        sample.table("jets", "data.input_map")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (with_type("d0", "f8"), "field 'd0' is float32 in the first, float64 in the second"),
        (lambda records: records[["pt", "valid"]].copy(), "field 'hits' is missing in the second"),
        (lambda records: records[:, :4], r"the shapes are \(20, 6\) and \(30, 4\)"),
        (lambda records: records[:, 0], r"the shapes are \(20, 6\) and \(30,\)"),
    ],
)
def test_files_that_differ_are_not_one_sample(make_file, change, message):
    paths = [make_file("a.h5", 20), make_file("b.h5", 30)]
    rewrite(paths[1], "tracks", change)
    message = rf"dataset 'tracks' of \S+a\.h5 .*dataset 'tracks' of \S+b\.h5 .*{message}"
    with open_sample(paths, "data.train_file") as sample, pytest.raises(ValueError, match=message):
        sample.table("tracks", "data.input_map")


def test_a_field_that_only_a_later_file_has_is_told(make_file):
    paths = [make_file("a.h5", 20), make_file("b.h5", 30)]
    rewrite(paths[0], "jets", lambda records: records[["pt", "eta"]].copy())
    message = "field 'mass' is missing in the first"
    with open_sample(paths, "data.train_file") as sample, pytest.raises(ValueError, match=message):
        sample.table("jets", "data.input_map")


def test_a_file_that_is_damaged_inside_is_told_when_it_is_read(make_file):
    path = make_file()
    with h5py.File(path) as file:
        chunk = file["tracks"].id.get_chunk_info(3)
    with path.open("r+b") as file:
        file.seek(chunk.byte_offset)
        file.write(b"\xff" * chunk.size)
    with open_sample(path, "data.train_file") as sample:
        table = sample.table("tracks", "data.input_map")
        table.read(0, 16)
        with pytest.raises(ValueError, match=r"train\.h5 \(data\.train_file\) cannot be read: it is .*damaged"):
            table.read(0, 230)
