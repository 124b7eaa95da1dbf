"""The minimum detectable difference is the widest half of an interval, never rounded down."""

from __future__ import annotations

import pytest

from pipeline.report.analysis.accuracy import Comparison
from pipeline.report.text.primary_comparison import resolution_sentences
from pipeline.statistics.bootstrap import Interval
from tests.pipeline.report.synthetic import make_plan


@pytest.mark.parametrize(
    ("halves", "resolved", "one_point"),
    [
        ((0.008, 0.0099), "1.0", "all of them"),
        ((0.008, 0.0101), "1.1", "50% only"),
        ((0.02, 0.021), "2.1", "none of them"),
    ],
)
def test_the_resolved_difference_and_the_targets_that_resolve_one_point_are_given(halves, resolved, one_point):
    plan = make_plan(targets=(0.5, 0.65))
    gaps = tuple(Interval(0.0, -half, half) for half in halves)
    pair = plan.method("clustered_scores"), plan.method("greedy")
    row = Comparison(*pair, (0.4, 0.5), gaps, Interval(0, -0.01, 0.01), None, p=1.0, p_corrected=1.0)
    (sentence,) = resolution_sentences(plan, [row])
    assert "`clustered_scores`" in sentence and "`greedy`" in sentence and "95%" in sentence
    assert f"difference of {resolved} points" in sentence and sentence.endswith(f"one of 1 point at {one_point}.")
