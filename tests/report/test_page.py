"""Numbers in words."""

import numpy as np
import pytest

from salt.report.metrics import Ratios, Rejections
from salt.report.page import Cell, measured, ratio_cell, rejection_cell


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (325.31, 12.4, "325 ± 12"),
        (1081.2, 279.4, "1,081 ± 279"),
        (5.234, 0.061, "5.234 ± 0.061"),
        (0.93149, 0.00212, "0.9315 ± 0.0021"),
        (98.04, 1.24, "98.0 ± 1.2"),
        (0.931, float("nan"), "0.931"),
        (1.0, 0.0, "1"),
    ],
)
def test_a_value_is_written_to_the_digits_of_its_error(value, error, text):
    assert measured(value, error) == text


def test_a_limit_is_written_as_one():
    found = Rejections(np.array([1234.5]), np.array([np.nan]), np.array([True]))
    assert rejection_cell(found, 0) == Cell("> 1,234", "95 % limit: none passed")


@pytest.mark.parametrize(
    ("value", "low", "high", "cell"),
    [
        (1.5, 1.2, 1.9, Cell("1.50", "1.20 to 1.90")),
        (1.5, 1.2, np.inf, Cell("1.50", "1.20 to ∞")),
        (np.inf, 1.2, np.inf, Cell("> 1.20", "1.20 to ∞")),
        (np.inf, np.inf, np.inf, Cell("unknown", "too few jets passed")),
        (np.nan, np.nan, np.nan, Cell("unknown", "too few jets passed")),
    ],
)
def test_a_ratio_is_written_with_its_interval(value, low, high, cell):
    ratios = Ratios(*(np.array([number]) for number in (value, value, low, high)))
    assert ratio_cell(ratios, 0) == cell
