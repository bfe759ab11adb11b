"""Times and memory, as Slurm writes them."""

import pytest

from salt.clusters.amounts import in_words, megabytes, seconds


@pytest.mark.parametrize(
    ("time", "number"),
    [
        ("30", 1800),
        ("30:10", 1810),
        ("04:00:00", 14400),
        ("1-0", 86400),
        ("2-12:30", 2 * 86400 + 12 * 3600 + 1800),
        ("1-01:01:01", 86400 + 3661),
    ],
)
def test_a_time_is_read_as_slurm_reads_it(time, number):
    assert seconds(time) == number


@pytest.mark.parametrize("time", ["4h", "", "1:2:3:4", "1-", "-5", "0", "0:00", "1-2:3:4:5", "12.5"])
def test_what_is_no_time_is_an_error_that_shows_how_to_write_one(time):
    with pytest.raises(ValueError, match="write it as 30 "):
        seconds(time)


@pytest.mark.parametrize(("number", "words"), [(3661, "01:01:01"), (90061, "1-01:01:01")])
def test_seconds_are_written_as_days_and_a_clock(number, words):
    assert in_words(number) == words


@pytest.mark.parametrize(
    ("memory", "number"), [("500", 500), ("500M", 500), ("16G", 16384), ("1T", 1048576), ("2gb", 2048), ("1K", 1)]
)
def test_memory_is_in_megabytes(memory, number):
    assert megabytes(memory) == number


@pytest.mark.parametrize("memory", ["", "G", "16 GB", "0", "0G", "1.5G", "-1"])
def test_what_is_no_memory_is_an_error(memory):
    with pytest.raises(ValueError, match="write it as 16G"):
        megabytes(memory)
