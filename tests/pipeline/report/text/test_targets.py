"""The criterion for several targets, and every way of missing it."""

from __future__ import annotations

import re
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
        savings = tuple(0.2 for _ in gaps)
        return Comparison(method, plan.method("greedy"), savings, gaps, NEITHER, None, p=1.0, p_corrected=1.0)

    return make


def is_met(routed, controls):
    """Whether the criterion is met, and the methods that its sentence names."""
    sentence = target_sentences(routed, controls)[-1]
    return " is met by " in sentence, re.findall(r"`(\w+)`", sentence)


@pytest.mark.parametrize(
    ("gaps", "expected"),
    [
        ((ABOVE, ABOVE, NEITHER), True),
        ((ABOVE, NEITHER, NEITHER), False),
        ((ABOVE, ABOVE, BELOW), False),
        ((ABOVE, ABOVE, None), True),
        ((NEITHER, NEITHER, NEITHER), False),
    ],
)
def test_the_criterion_is_two_targets_above_zero_and_none_below(row, gaps, expected):
    routed, control = row("clustered_scores", *gaps), row("random", NEITHER, NEITHER, NEITHER)
    assert stands_out(routed) == expected
    assert is_met([routed], [control]) == (expected, ["clustered_scores"] if expected else [])


def test_random_groups_that_meet_the_criterion_or_were_not_run_take_it_back(row):
    good = row("clustered_scores", ABOVE, ABOVE, NEITHER)
    same, less = row("random", ABOVE, ABOVE, NEITHER), row("random", ABOVE, NEITHER, NEITHER)
    assert is_met([good], [same]) == (False, ["random", "clustered_scores"])
    assert is_met([good], [less, replace(less, at_targets=(NEITHER,) * 3)]) == (True, ["clustered_scores"])
    assert is_met([good], []) == (False, ["clustered_scores"])


def test_targets_above_and_below_zero_are_counted_for_routed_and_for_random_groups(row):
    routed = [row("clustered_scores", ABOVE, ABOVE, None), row("clustered_embedding", BELOW, ABOVE, NEITHER)]
    of_routed, of_random, _ = target_sentences(routed, [row("random", NEITHER, BELOW, NEITHER)])
    counts = r"`(\w+)` above zero at (\w+) and below zero at (\w+) of (\d)"
    assert re.findall(counts, of_routed) == [
        ("clustered_scores", "2", "none", "2"),
        ("clustered_embedding", "1", "1", "3"),
    ]
    assert re.findall(counts, of_random) == [("random", "none", "1", "3")]


def test_one_target_is_not_counted(row):
    assert target_sentences([row("clustered_scores", ABOVE)], []) == []
