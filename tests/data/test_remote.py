import importlib.util
import socket
import time

import h5py
import pytest

from salt.data import remote
from salt.data.sources import find_sources, open_sample


@pytest.fixture
def forget():
    """Forget the servers that were spoken to, as a new process would."""
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    yield s3fs.S3FileSystem.clear_instance_cache
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def elsewhere(bucket, forget, monkeypatch):
    """Have AWS_ENDPOINT_URL name a socket of this process, which says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")  # retries of what is given up go on, and draw random numbers
        yield silent


def contents(paths, name):
    with open_sample(paths, "data.train_file") as sample:
        return sample.table(name, "data.input_map").read(0, sample.num_jets).tobytes()


def test_a_file_on_s3_is_read_as_its_local_copy_is(bucket, make_file):
    path = make_file()
    bucket.put(str(path), "bucket/train.h5")
    for name in ("jets", "tracks", "flows_loose"):
        assert contents("s3://bucket/train.h5", name) == contents(path, name)


def test_a_pattern_on_s3_gives_sorted_urls(bucket, make_file):
    for name in ("b_2.h5", "b_1.h5", "a.h5", "b_1.txt", "b_3.h5/in.h5"):
        bucket.put(str(make_file()), f"bucket/run/{name}")
    assert find_sources("s3://bucket/run/b_*.h5", "data.train_file") == [
        "s3://bucket/run/b_1.h5",
        "s3://bucket/run/b_2.h5",
    ]


def test_files_on_s3_and_local_ones_are_one_sample(bucket, make_file):
    paths = [make_file("a.h5", 20), make_file("b.h5", 30)]
    bucket.put(str(paths[1]), "bucket/b.h5")
    assert contents([paths[0], "s3://bucket/*.h5"], "tracks") == contents(paths, "tracks")


def test_another_file_of_that_name_has_other_facts(bucket, make_file):
    bucket.put(str(make_file(change=lambda jets, *_: jets["pt"].fill(1))), "bucket/train.h5")
    before = remote.facts("s3://bucket/train.h5", "data.train_file")
    bucket.put(str(make_file(change=lambda jets, *_: jets["pt"].fill(2))), "bucket/train.h5")
    after = remote.facts("s3://bucket/train.h5", "data.train_file")
    assert before[0] > 0
    assert before[1]
    assert before[1] != after[1]


def test_a_file_that_came_after_the_last_look_is_found(bucket, make_file):
    path = str(make_file())
    bucket.put(path, "bucket/a.h5")
    find_sources("s3://bucket/*.h5", "data.train_file")
    other = bucket.__class__(skip_instance_cache=True)  # as another process
    other.put(path, "bucket/b.h5")
    assert find_sources("s3://bucket/*.h5", "data.train_file") == ["s3://bucket/a.h5", "s3://bucket/b.h5"]


@pytest.mark.parametrize("name", ["trian.h5", "trian_*.h5"])
def test_a_missing_file_on_s3_is_answered_with_the_nearest_names(bucket, make_file, name):
    bucket.put(str(make_file()), "bucket/run/train.h5")
    message = rf"no file s3://bucket/run/{name[:5]}.* \(data\.train_file\); in s3://bucket/run there are: train\.h5"
    with pytest.raises(FileNotFoundError, match=message):
        find_sources(f"s3://bucket/run/{name}", "data.train_file")


@pytest.mark.parametrize("name", ["train.h5", "*.h5"])
def test_a_missing_bucket_is_told(bucket, name):
    with pytest.raises(FileNotFoundError, match=r"s3://other/.* \(data\.train_file\): The specified bucket does not"):
        find_sources(f"s3://other/{name}", "data.train_file")


def test_a_folder_on_s3_is_answered_with_what_is_in_it(bucket, make_file):
    bucket.put(str(make_file()), "bucket/run/train.h5")
    with pytest.raises(FileNotFoundError, match=r"no file s3://bucket/run \(.*in s3://bucket/run there are: train\.h5"):
        find_sources("s3://bucket/run", "data.train_file")


def test_a_file_that_is_cut_short_on_s3_is_told(bucket, make_file):
    content = make_file().read_bytes()
    bucket.pipe("bucket/train.h5", content[: len(content) // 2])
    message = r"s3://bucket/train\.h5 \(data\.train_file\) cannot be read: .*cut short.*truncated file"
    with pytest.raises(ValueError, match=message):
        open_sample("s3://bucket/train.h5", "data.train_file")


def test_a_virtual_file_on_s3_is_told(bucket, make_file, tmp_path):
    with h5py.File(make_file()) as file:
        layout = h5py.VirtualLayout((230,), file["jets"].dtype)
        layout[:] = h5py.VirtualSource(file["jets"])
    with h5py.File(tmp_path / "all.h5", "w") as file:
        file.create_virtual_dataset("jets", layout)
    bucket.put(str(tmp_path / "all.h5"), "bucket/all.h5")
    with pytest.raises(ValueError, match=r"dataset 'jets' of s3://bucket/all\.h5 .*is virtual: its records are in"):
        contents("s3://bucket/all.h5", "jets")


def test_missing_credentials_are_told(bucket, forget, monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    message = r"s3://bucket/train\.h5 \(data\.train_file\) cannot be read: Unable to locate credentials; check"
    with pytest.raises(OSError, match=message):
        find_sources("s3://bucket/train.h5", "data.train_file")


def test_a_server_that_is_not_there_is_told_soon(elsewhere):
    elsewhere.close()
    start = time.monotonic()
    with pytest.raises(OSError, match=r"s3://bucket/train\.h5 \(data\.train_file\) cannot be read: .*AWS_ENDPOINT_URL"):
        find_sources("s3://bucket/train.h5", "data.train_file")
    assert time.monotonic() - start < 25


def test_a_server_that_says_nothing_is_not_waited_for(elsewhere, monkeypatch):
    assert remote.PATIENCE <= 20
    monkeypatch.setattr(remote, "PATIENCE", 1)
    start = time.monotonic()
    with pytest.raises(OSError, match=r"train\.h5 \(data\.train_file\) cannot be read: no answer in 1 seconds"):
        find_sources("s3://bucket/train.h5", "data.train_file")
    assert time.monotonic() - start < 5


def test_a_file_is_read_in_large_requests(bucket, make_file, monkeypatch):
    path = make_file(num_jets=5000)
    bucket.put(str(path), "bucket/train.h5")
    from s3fs.core import S3File

    requests, fetch = [], S3File._fetch_range

    def counted(file, start, end):
        requests.append(end - start)
        return fetch(file, start, end)

    monkeypatch.setattr(S3File, "_fetch_range", counted)
    monkeypatch.setattr(remote, "BLOCK", 2**17)
    assert contents("s3://bucket/train.h5", "tracks") == contents(path, "tracks")
    size = path.stat().st_size
    assert sum(requests) < 1.5 * size
    assert len(requests) < 2 * size / 2**17 + 4


def test_a_file_behind_http_is_read(s3_server, bucket, make_file):
    path = make_file()
    bucket.put(str(path), "bucket/train.h5")
    bucket.chmod("bucket/train.h5", "public-read")
    assert contents(f"{s3_server}/bucket/train.h5", "tracks") == contents(path, "tracks")
    with pytest.raises(FileNotFoundError, match=r"no file http://.*/bucket/val\.h5 \(data\.val_file\)"):
        find_sources(f"{s3_server}/bucket/val.h5", "data.val_file")


def test_a_file_in_memory_is_read(make_file):
    import fsspec

    memory, path = fsspec.filesystem("memory"), make_file()
    memory.pipe("/run/train.h5", path.read_bytes())
    try:
        assert contents("memory://run/*.h5", "tracks") == contents(path, "tracks")
    finally:
        memory.rm("/run", recursive=True)


def test_an_unknown_protocol_is_answered_with_the_nearest():
    with pytest.raises(
        ValueError, match=r"s4://bucket/a\.h5 \(data\.train_file\): Protocol not known: s4; nearest: .*s3"
    ):
        find_sources("s4://bucket/a.h5", "data.train_file")


@pytest.mark.skipif(importlib.util.find_spec("gcsfs") is not None, reason="gcsfs is installed")
def test_a_library_that_is_not_installed_is_told():
    with pytest.raises(ImportError, match=r"gs://bucket/a\.h5 \(data\.train_file\) needs a library .*gcsfs"):
        find_sources("gs://bucket/a.h5", "data.train_file")
