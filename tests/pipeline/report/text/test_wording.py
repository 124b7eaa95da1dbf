"""How numbers are written."""

from __future__ import annotations

import pytest

from pipeline.report.text.wording import (
    compute_range,
    listed,
    method_names,
    number,
    p_equals,
    p_value,
    percent,
    points,
    points_interval,
    quantity,
    remaining_compute,
    target_name,
    target_names,
)
from pipeline.statistics.bootstrap import Interval


@pytest.mark.parametrize(
    ("value", "text"), [(0.013, "+1.3"), (-0.013, "\N{MINUS SIGN}1.3"), (0.0004, "0.0"), (-0.0004, "0.0"), (0, "0.0")]
)
def test_points_have_a_sign_unless_they_round_to_zero(value, text):
    assert points(value) == text


def test_an_interval_shows_signs_where_they_matter():
    assert points_interval(Interval(0.013, -0.004, 0.03)) == "+1.3 [\N{MINUS SIGN}0.4, 3.0]"


@pytest.mark.parametrize(
    ("value", "text", "equals"),
    [
        (0.0004, "<0.001", "p < 0.001"),
        (0.0123, "0.012", "p = 0.012"),
        (0.099, "0.099", "p = 0.099"),
        (0.456, "0.46", "p = 0.46"),
        (1.0, "1.00", "p = 1.00"),
    ],
)
def test_small_p_values_have_three_digits_and_none_is_zero(value, text, equals):
    assert (p_value(value), p_equals(value)) == (text, equals)


def test_numbers_targets_savings_and_quantities_read_naturally(plan):
    assert number(-0.001) == "0.00"
    assert number(-0.5) == "\N{MINUS SIGN}0.50" and percent(-0.257) == "\N{MINUS SIGN}25.7%"
    assert target_name(0.65) == "65%"
    assert target_name(0.125) == "12.5%"
    assert remaining_compute(0.434) == "57%"
    assert compute_range((0.061, 0.4, None)) == "94 to 60%" and compute_range((None, 0.434)) == "57%"
    assert quantity(48_000).startswith("48")
    assert quantity(12) == "12"
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert method_names([plan.method("teal"), plan.method("wina")]) == "`teal` and `wina`"
    assert target_names((0.25, 0.5)) == "25% and 50%"
