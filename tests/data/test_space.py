import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from salt.data import space

GIGABYTE = 10**9

linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


@pytest.fixture
def group(tmp_path, monkeypatch):
    """Set the limit [bytes] of a control group that this process is in, its use, and what of that can be had back."""
    _, controllers, name = Path("/proc/self/cgroup").read_text().splitlines()[-1].split(":", 2)
    if controllers not in ("", "memory"):
        pytest.skip("no control group for memory here")
    monkeypatch.setattr(space, "CGROUPS", tmp_path)
    place = tmp_path / controllers / name.strip("/")
    place.mkdir(parents=True, exist_ok=True)
    limit_name, usage_name = space.V1 if controllers else ("memory.max", "memory.current")

    def limit(most, used, cached=0):
        (place / limit_name).write_text(f"{most}\n")
        (place / usage_name).write_text(f"{used}\n")
        (place / "memory.stat").write_text(f"anon 5\ninactive_file {cached}\n")

    return limit


@pytest.mark.parametrize(
    ("size", "words"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (734_700, "734.7 kB"), (2e9, "2.0 GB"), (3e15, "3000.0 TB")],
)
def test_sizes_have_units(size, words):
    assert space.in_words(size) == words


def test_the_space_of_a_folder_that_is_not_there_is_that_of_its_parent(tmp_path, monkeypatch):
    monkeypatch.setattr(space.shutil, "disk_usage", lambda path: SimpleNamespace(free=len(path.parts)))
    assert space.free_space(tmp_path / "a" / "b") == space.free_space(tmp_path) == (len(tmp_path.parts), "disk space")


def test_what_fits_is_no_error_and_what_does_not_names_sizes_place_and_key(tmp_path):
    space.require_space(tmp_path, 1, "a store", "data.store_dir")
    message = f"data.store_dir: a store needs 1000.0 TB, but {tmp_path} has .* of .* left; make room there, or choose"
    with pytest.raises(OSError, match=message):
        space.require_space(tmp_path, 10**15, "a store", "data.store_dir")


@linux
def test_memory_is_that_of_the_machine_at_most():
    total = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal"))
    assert 0 < space.available_memory() < int(total.split()[1]) * 1024


@linux
def test_a_batch_systems_limit_counts(group):
    group(most=GIGABYTE, used=GIGABYTE - 5000)
    assert space.available_memory() == 5000


@linux
def test_pages_of_files_that_were_read_can_be_had_back(group):
    group(most=GIGABYTE, used=GIGABYTE - 5000, cached=300)
    assert space.available_memory() == 5300


@linux
def test_no_limit_and_an_exceeded_one_are_understood(group):
    group(most="max", used=5)
    assert space.available_memory() > 5300
    group(most=10, used=20)
    assert space.available_memory() == 0


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="there is no /dev/shm")
def test_files_in_memory_take_memory(monkeypatch):
    monkeypatch.setattr(space, "available_memory", lambda: 1000)
    assert space.free_space(Path("/dev/shm")) == (900, "memory")
