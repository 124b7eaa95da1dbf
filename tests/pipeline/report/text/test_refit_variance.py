"""Sentences about refit variance give gains in standard deviations of draws, and admit when these are not known."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.report.analysis.refit_variance import RefitVariance, Scale
from pipeline.report.text.refit_variance import qualifier, refit_variance_sentences
from tests.pipeline.report.synthetic import with_draws

DRAWS = (-0.001, 0.0, 0.004)


@pytest.fixture(scope="module")
def plan():
    return with_draws()


@pytest.fixture
def row(plan):
    """Makes the refit variance of a routed method from its gain and those of the draws."""

    def make(gain, draws=DRAWS, name="clustered_embedding"):
        methods = tuple(plan.method(draw) for draw in ("random", "random1", "random2")[: len(draws)])
        return RefitVariance(plan.method(name), plan.method("greedy"), methods, (0.2,) * 4, Scale(gain, draws))

    return make


def test_gains_are_given_in_standard_deviations_with_the_number_that_is_needed(plan, row):
    small, large = row(0.01), row(0.03, name="clustered_scores")
    deviation = 100 * np.std(DRAWS, ddof=1)
    measured, needed = refit_variance_sentences(plan, [small, large])
    own = measured.split("`clustered_embedding`")[1].split(";")[0]
    for part in (f"{1 / deviation:.1f} times", "(0.26 points)", f"{0.9 / deviation:.1f} standard deviations above"):
        assert part in own
    assert "3 draws" in measured and "5.0 standard deviations" in needed and "95%" in needed
    assert needed.endswith(": ruled out for `clustered_scores`, not ruled out for `clustered_embedding`.")
    assert qualifier(plan, [small]) == "refit variance not ruled out" and qualifier(plan, [small, large]) == ""


def test_a_negative_gain_is_a_loss_and_equal_draws_give_no_scale(plan, row):
    assert "the loss of `clustered_embedding`" in refit_variance_sentences(plan, [row(-0.01)])[0]
    assert "gain the same" in refit_variance_sentences(plan, [row(0.01, (0.0, 0.0, 0.0))])[0]


@pytest.mark.parametrize(("draws", "reason"), [((0.01,), "only one draw"), ((), "no random groups")])
def test_with_fewer_than_two_draws_refit_variance_is_not_known(plan, row, draws, reason):
    unknown = row(0.01, draws)
    (sentence,) = refit_variance_sentences(plan, [unknown])
    assert "not known" in sentence and reason in sentence
    assert qualifier(plan, [unknown]) == "refit variance not known"
    assert refit_variance_sentences(plan, []) == []
