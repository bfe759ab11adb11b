import csv

import pytest

from salt.loggers import CSVLogger


@pytest.fixture
def log(tmp_path):
    """Log the value of each step with a logger of its own; an extra column where asked."""

    def run(steps, value=1.0, **more):
        logger = CSVLogger(str(tmp_path))
        for step in steps:
            logger.log_metrics({"loss": value, **more}, step=step)
        logger.finalize("success")

    return run


@pytest.fixture
def lines(tmp_path):
    def read():
        with (tmp_path / "metrics.csv").open() as file:
            return [(int(line["step"]), float(line["loss"])) for line in csv.DictReader(file)]

    return read


def test_a_resumed_run_goes_on_with_the_file(log, lines):
    log([0, 1])
    log([2, 3], 2.0)
    assert lines() == [(0, 1.0), (1, 1.0), (2, 2.0), (3, 2.0)]


def test_steps_that_are_done_again_take_the_place_of_the_old_ones(log, lines):
    log([0, 1, 2, 3])
    log([2, 3, 4], 2.0)
    assert lines() == [(0, 1.0), (1, 1.0), (2, 2.0), (3, 2.0), (4, 2.0)]


def test_columns_that_are_new_are_added(log, lines, tmp_path):
    log([0])
    log([1], 2.0, more=3.0)
    assert lines() == [(0, 1.0), (1, 2.0)]
    with (tmp_path / "metrics.csv").open() as file:
        assert [line["more"] for line in csv.DictReader(file)] == ["", "3.0"]


def test_a_line_that_a_kill_cut_off_is_left_out(log, lines, tmp_path):
    log([0, 1])
    with (tmp_path / "metrics.csv").open("a") as file:
        file.write("3.")
    log([2], 2.0)
    assert lines() == [(0, 1.0), (1, 1.0), (2, 2.0)]


def test_nothing_else_lies_there(log, tmp_path):
    log([0])
    log([1])
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.csv"]
