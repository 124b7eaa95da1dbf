"""The criterion for several targets, and every way of missing it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.report.analysis.accuracy import Comparison
from pipeline.report.text.targets import stands_out, target_sentences
from pipeline.statistics.bootstrap import Interval

ABOVE, BELOW, NEITHER = Interval(0.02, 0.01, 0.03), Interval(-0.02, -0.03, -0.01), Interval(0.0, -0.01, 0.01)


@pytest.fixture
def row(plan):
    """Makes a comparison from intervals target by target."""

    def make(name, *gaps):
        method = plan.method(name)
        levels = tuple(0.2 for _ in gaps)
        return Comparison(method, plan.method("greedy"), levels, gaps, NEITHER, None, p=1.0, p_corrected=1.0)

    return make


def criterion(routed, controls):
    return target_sentences(routed, controls)[-1].split(") ", 1)[1]


@pytest.mark.parametrize(
    ("gaps", "is_met"),
    [
        ((ABOVE, ABOVE, NEITHER), True),
        ((ABOVE, NEITHER, NEITHER), False),
        ((ABOVE, ABOVE, BELOW), False),
        ((ABOVE, ABOVE, None), True),
        ((NEITHER, NEITHER, NEITHER), False),
    ],
)
def test_two_targets_in_favour_and_none_against(row, gaps, is_met):
    assert stands_out(row("clustered_scores", *gaps)) == is_met
    said = criterion([row("clustered_scores", *gaps)], [row("random", NEITHER, NEITHER, NEITHER)])
    assert said == ("is met by `clustered_scores`." if is_met else "is not met.")


def test_random_groups_that_do_the_same_take_it_back_and_so_does_their_absence(row):
    good = row("clustered_scores", ABOVE, ABOVE, NEITHER)
    same, less = row("random", ABOVE, ABOVE, NEITHER), row("random", ABOVE, NEITHER, NEITHER)
    assert criterion([good], [same]) == "is not met: `random` does the same as `clustered_scores`."
    assert criterion([good], [less, replace(less, at_levels=(NEITHER,) * 3)]) == "is met by `clustered_scores`."
    assert criterion([good], []) == "is not met: `clustered_scores` would meet it, but no random groups were run."


def test_counts_of_routed_and_of_random_groups_are_said(row):
    routed = [row("clustered_scores", ABOVE, ABOVE, None), row("clustered_embedding", BELOW, ABOVE, NEITHER)]
    first, second, _ = target_sentences(routed, [row("random", NEITHER, BELOW, NEITHER)])
    assert "`clustered_scores` above zero at 2 and below at none of 2; `clustered_embedding` above zero at 1" in first
    assert first.endswith("and below at 1 of 3.")
    assert second == "The same of random groups: `random` above zero at none and below at 1 of 3."


def test_one_target_is_not_counted(row):
    assert target_sentences([row("clustered_scores", ABOVE)], []) == []
