"""One function decides from intervals, says no as readily as yes, and never takes a wide interval for a no."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.report.text.decision import RELEVANT, decide
from pipeline.statistics.bootstrap import Interval

ENDS = st.tuples(st.floats(-0.2, 0.2), st.floats(-0.2, 0.2)).map(sorted)


def interval(low: float, high: float) -> Interval:
    return Interval((low + high) / 2, low, high)


@pytest.mark.parametrize(
    ("intervals", "tone", "words"),
    [
        pytest.param([(0.007, 0.018), (0.001, 0.026)], "yes", "Yes", id="both above zero"),
        pytest.param(
            [(0.007, 0.018), (-0.002, 0.029)], "open", "Undecided: between −0.2 and +2.9 points", id="tasks no"
        ),
        pytest.param([(-0.007, 0.009), (-0.011, 0.013)], "no", "No: smaller than 1.3 points", id="narrow around zero"),
        pytest.param([(-0.03, 0.05)], "open", "Undecided: between −3.0 and +5.0 points", id="wide around zero"),
        pytest.param([(-0.03, -0.01)], "no", "No: worse", id="below zero"),
        pytest.param([(0.0, 0.0)], "no", "No: no gain at all", id="exactly equal"),
    ],
)
def test_the_decision_follows_from_all_intervals(intervals, tone, words):
    decision = decide([interval(*ends) for ends in intervals])
    assert (decision.tone, decision.words) == (tone, words)


@given(st.lists(ENDS, min_size=1, max_size=3))
def test_a_gain_is_claimed_only_above_zero_and_denied_only_where_every_relevant_one_is_ruled_out(ends):
    tone = decide([interval(*pair) for pair in ends]).tone
    low, high = min(pair[0] for pair in ends), max(pair[1] for pair in ends)
    assert (tone == "yes") == (low > 0)
    assert (tone == "no") == (low <= 0 and high < RELEVANT)
