import h5py
import numpy as np
import pytest

from salt.data.sources import open_sample


@pytest.fixture
def sources(make_file):
    return [make_file("one.h5", 20), make_file("two.h5", 30)]


def make_virtual(path, sources, num_jets=50, relative=True):
    """A file whose datasets are those of the sources, one after the other."""
    with h5py.File(path, "w") as file:
        for name in ("jets", "tracks"):
            with h5py.File(sources[0]) as head:
                layout = h5py.VirtualLayout((num_jets, *head[name].shape[1:]), head[name].dtype)
            first = 0
            for source in sources:
                with h5py.File(source) as part:
                    shape = part[name].shape
                origin = source.name if relative else source
                layout[first : first + shape[0]] = h5py.VirtualSource(origin, name, shape)
                first += shape[0]
            file.create_virtual_dataset(name, layout)
    return path


def read(path, name="tracks"):
    with open_sample(path, "data.train_file") as sample:
        table = sample.table(name, "data.input_map")
        return table.read(0, table.num_jets)


def test_a_virtual_dataset_gives_the_records_of_its_sources(tmp_path, sources):
    records = read(make_virtual(tmp_path / "all.h5", sources))
    parts = [read(source) for source in sources]
    assert records.tobytes() == np.concatenate(parts).tobytes()


def test_a_virtual_dataset_of_virtual_datasets_is_read(tmp_path, sources):
    inner = make_virtual(tmp_path / "inner.h5", sources)
    assert read(make_virtual(tmp_path / "outer.h5", [inner])).tobytes() == read(inner).tobytes()


def test_a_virtual_file_that_moved_with_its_sources_is_read(tmp_path, sources):
    path = make_virtual(tmp_path / "all.h5", sources, relative=False)
    (tmp_path / "moved").mkdir()
    for each in [*sources, path]:
        each.rename(tmp_path / "moved" / each.name)
    assert read(tmp_path / "moved" / "all.h5")["pt"].any()


@pytest.mark.parametrize("relative", [True, False])
def test_a_source_that_is_missing_is_found_out(tmp_path, sources, relative):
    path = make_virtual(tmp_path / "all.h5", sources, relative=relative)
    sources[1].unlink()
    message = r"dataset 'tracks' of \S+all\.h5 \(data\.train_file\) is virtual, .*missing: .*two\.h5 \(looked for"
    with pytest.raises(FileNotFoundError, match=message):
        read(path)


def test_a_missing_source_of_a_source_is_found_out(tmp_path, sources):
    inner = make_virtual(tmp_path / "inner.h5", sources)
    outer = make_virtual(tmp_path / "outer.h5", [inner])
    sources[0].unlink()
    with pytest.raises(FileNotFoundError, match=r"inner\.h5 .*is virtual, .*missing: one\.h5"):
        read(outer)


def test_a_source_that_became_shorter_is_found_out(tmp_path, sources, make_file):
    path = make_virtual(tmp_path / "all.h5", sources)
    make_file("two.h5", 29)
    with pytest.raises(ValueError, match=r"takes more records of dataset 'tracks' of \S+two\.h5 than"):
        read(path)


def test_a_source_whose_part_is_no_longer_there_is_found_out(tmp_path, make_file):
    source = make_file("one.h5", 20)
    with h5py.File(source) as part, h5py.File(tmp_path / "some.h5", "w") as file:
        layout = h5py.VirtualLayout((5,), part["jets"].dtype)
        layout[:] = h5py.VirtualSource("one.h5", "jets", (20,))[10:15]
        file.create_virtual_dataset("jets", layout)
    expected = read(source, "jets")[10:15]
    assert read(tmp_path / "some.h5", "jets").tobytes() == expected.tobytes()
    make_file("one.h5", 14)
    with pytest.raises(ValueError, match=r"takes more records of dataset 'jets' of \S+one\.h5 than the \(14,\)"):
        read(tmp_path / "some.h5", "jets")


def test_a_source_without_the_dataset_is_found_out(tmp_path, sources):
    path = make_virtual(tmp_path / "all.h5", sources)
    with h5py.File(sources[1], "r+") as file:
        del file["tracks"]
    with pytest.raises(ValueError, match=r"takes records of dataset '/?tracks' of \S+two\.h5: there is none"):
        read(path)


def test_a_source_that_is_cut_short_is_found_out(tmp_path, sources):
    path = make_virtual(tmp_path / "all.h5", sources)
    with sources[1].open("r+b") as file:
        file.truncate(sources[1].stat().st_size // 2)
    with pytest.raises(ValueError, match=r"two\.h5 \(data\.train_file\) cannot be read: it is cut short"):
        read(path)


def test_records_without_any_source_are_found_out(tmp_path, sources):
    path = make_virtual(tmp_path / "all.h5", sources, num_jets=51)
    with pytest.raises(ValueError, match=r"is virtual, and only 300 of its 306 records have a source"):
        read(path)


def test_a_change_of_a_source_is_a_change_of_the_virtual_file(tmp_path, sources, make_file):
    path = make_virtual(tmp_path / "all.h5", sources)
    with open_sample(path, "data.train_file") as sample:
        before = sample.files[0]
    make_file("two.h5", 31)
    with open_sample(path, "data.train_file") as sample:
        after = sample.files[0]
    assert (before.path, before.size) == (after.path, after.size)
    assert before.modified != after.modified
