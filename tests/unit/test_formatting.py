"""How numbers and durations are printed."""

import math

import pytest

from src.formatting import duration, figure


def test_numbers_have_four_significant_digits_and_below_a_tenth_three():
    values = [0.9, 0.98764, 12.0, 1234.5, 0.0, 0.05704, 0.09999, 0.0057, 1.5e-7, 123456.0, -0.98764, math.nan, None]
    expected = [
        "0.9000",
        "0.9876",
        "12.00",
        "1234",
        "0.000",
        "0.0570",
        "0.1000",
        "0.00570",
        "1.50e-07",
        "1.235e+05",
        "-0.9876",
    ]
    assert [figure(value) for value in values] == [*expected, "nan", ""]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3, "0s"),
        (7.4, "7s"),
        (119, "119s"),
        (120, "2m"),
        (330, "5m30s"),
        (600 + 59, "10m"),
        (3 * 3600 - 1, "179m"),
        (3 * 3600 + 20 * 60 + 5, "3h20m"),
        (8 * 3600 + 1200, "8h"),
        (47 * 3600, "47h"),
        (5 * 86400 + 3 * 3600, "5d3h"),
        (12 * 86400 + 3600, "12d"),
        (math.inf, ""),
        (None, ""),
    ],
)
def test_durations_have_two_units_only_while_the_first_is_small(seconds: float | None, text: str):
    assert duration(seconds) == text
