"""The scale of refit variance is the standard deviation between draws, at the savings of the method."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.report.analysis.accuracy import compare
from pipeline.report.analysis.configurations import configuration_of
from pipeline.report.analysis.evidence import outcomes
from pipeline.report.analysis.matched_compute import matched_savings
from pipeline.report.analysis.refit_variance import Scale, draws_of, needed, refit_variance
from pipeline.report.analysis.resampling import resampler
from tests.pipeline.report.slow import read_slowly
from tests.pipeline.report.synthetic import make_evidence, with_draws

ROUNDING = 1e-9  # sums of a few hundred floats


@pytest.fixture(scope="module")
def three():
    plan = with_draws()
    return plan, make_evidence(train=4, test=24, gain=0.2, plan=plan)


@pytest.fixture(scope="module")
def results(three):
    return outcomes(*three, "test")


def test_a_benefit_router_over_random_groups_is_no_independent_draw(three):
    plan, _ = three
    routed = replace(plan.method("random"), name="routed", groups="benefit_random")
    wide = replace(plan, methods=(*plan.methods, routed), benefit_routers={"benefit_random": "random"})
    configuration = configuration_of(wide, wide.method("greedy"))
    assert routed in configuration.controls
    assert [method.name for method in draws_of(configuration)] == ["random", "random1", "random2"]


def test_the_scale_equals_a_slow_transcription_at_matched_savings(three, results):
    plan, _ = three
    method, reference = plan.method("clustered_scores"), plan.method("greedy")
    draws = [plan.method(name) for name in ("random", "random1", "random2")]
    costly = {**results, method.name: replace(results[method.name], compute=results[method.name].compute + 0.12)}
    scale = refit_variance(plan, costly)[method]
    savings = matched_savings(plan, costly, (method, reference, *draws))
    samples = results["dense"].score.shape[1]

    def read(name, saving):
        return read_slowly(results["dense"], costly[name], saving, np.full(samples, 1 / samples))

    assert max(savings) < 0.6 - 0.12
    gains = [np.mean([read(m.name, at) - read(reference.name, at) for at in savings]) for m in (method, *draws)]
    assert scale.gain == pytest.approx(gains[0], abs=ROUNDING)
    mean = sum(gains[1:]) / 3
    deviation = (sum((gain - mean) ** 2 for gain in gains[1:]) / 2) ** 0.5
    assert scale.deviation == pytest.approx(deviation, abs=ROUNDING)
    assert scale.times == pytest.approx(gains[0] / deviation)
    assert scale.excess == pytest.approx((gains[0] - mean) / deviation)


def test_with_savings_that_agree_gain_and_draws_are_those_of_the_comparisons(three, results):
    plan, _ = three
    pairs = [
        (plan.method(name), plan.method("greedy")) for name in ("clustered_oracle", "random", "random1", "random2")
    ]
    means = [row.mean.value for row in compare(plan, results, pairs, resampler(plan, results["dense"].score.shape[1]))]
    scale = refit_variance(plan, results)[plan.method("clustered_oracle")]
    assert scale.gain == pytest.approx(means[0], abs=2e-3)  # targets are met within 0.01 of each other
    assert scale.draws == pytest.approx(means[1:], abs=2e-3)


@pytest.mark.parametrize(("draws", "deviations"), [(2, 15.6), (3, 4.97), (5, 3.04), (200, 1.98)])
def test_few_draws_need_many_deviations(draws, deviations):
    assert needed(draws, 0.95) == pytest.approx(deviations, abs=0.05)  # Student's table to two decimals


def test_one_more_draw_stays_below_what_is_needed_as_often_as_promised():
    drawn = np.random.default_rng(0).normal(0.3, 2.0, (20_000, 4))
    limits = drawn[:, :3].mean(axis=1) + needed(3, 0.9) * drawn[:, :3].std(axis=1, ddof=1)
    assert np.mean(drawn[:, 3] > limits) == pytest.approx(0.05, abs=0.005)  # three standard errors of 20,000 draws


def test_without_a_second_draw_refit_variance_is_unknown_and_equal_draws_have_no_scale():
    for scale in (Scale(0.02, ()), Scale(0.02, (0.01,))):
        assert (scale.deviation, scale.times, scale.excess, scale.is_beyond(0.95)) == (None, None, None, None)
    flat = Scale(0.02, (0.01, 0.01))
    assert (flat.deviation, flat.times, flat.excess) == (0.0, None, None)
    assert flat.is_beyond(0.95) is True and Scale(0.0, (0.01, 0.01)).is_beyond(0.95) is False
