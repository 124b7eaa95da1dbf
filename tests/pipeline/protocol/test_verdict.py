"""`pipeline.protocol.verdict`: one rule for yes, no and undecided."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.protocol.verdict import NO, UNDECIDED, YES, verdict
from pipeline.statistics.bootstrap import Interval


@pytest.mark.parametrize(
    ("low", "value", "high", "words"),
    [
        (0.4, 1.6, 2.9, "yes: +1.6 points [0.4, 2.9]"),
        (0.2, 0.4, 0.6, "yes, smaller than 1: +0.4 points [0.2, 0.6]"),
        (-0.2, 0.1, 0.5, "no, smaller than 1: +0.1 points [-0.2, 0.5]"),
        (-2.0, -1.1, -0.3, "no, worse: -1.1 points [-2.0, -0.3]"),
        (-0.2, 0.7, 1.6, "undecided, 1 points not excluded: +0.7 points [-0.2, 1.6]"),
    ],
)
def test_every_answer_has_its_reason(low: float, value: float, high: float, words: str) -> None:
    found = verdict(Interval(value, low, high), 1.0)
    assert found.words == words and found.words.startswith(found.answer)


_NUMBER = st.floats(-10, 10)


@given(st.tuples(_NUMBER, _NUMBER, _NUMBER), st.floats(0.01, 5))
def test_an_answer_follows_from_where_zero_and_the_smallest_difference_lie(ends: tuple[float, ...], smallest: float):
    low, value, high = sorted(ends)
    answer = verdict(Interval(value, low, high), smallest).answer
    assert (answer == YES) == (low > 0)
    assert (answer == NO) == (low <= 0 and high < smallest)
    assert (answer == UNDECIDED) == (low <= 0 and high >= smallest)


@given(st.tuples(_NUMBER, _NUMBER, _NUMBER), st.floats(0, 3), st.floats(0.01, 5))
def test_a_wider_interval_never_turns_undecided_into_an_answer(ends: tuple[float, ...], more: float, smallest: float):
    low, value, high = sorted(ends)
    narrow, wide = Interval(value, low, high), Interval(value, low - more, high + more)
    if verdict(narrow, smallest).answer == UNDECIDED:
        assert verdict(wide, smallest).answer == UNDECIDED


def test_no_smallest_difference_or_no_interval_is_refused() -> None:
    for interval, smallest in ((Interval(0, -1, 1), 0.0), (Interval(2, -1, 1), 1.0)):
        with pytest.raises(ValueError, match="an interval around its value"):
            verdict(interval, smallest)
