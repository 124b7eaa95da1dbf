"""The gap recovered is a fraction of the baseline's loss at matched compute, and undefined where nothing was lost."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.report.analysis.evidence import outcomes
from pipeline.report.analysis.matched_compute import matched_savings
from pipeline.report.analysis.recovery import recoveries
from pipeline.report.analysis.resampling import resampler
from pipeline.statistics.bootstrap import Interval, resampling_weights
from tests.pipeline.report.slow import read_slowly
from tests.pipeline.report.synthetic import make_evidence, with_kl

ROUNDING = 1e-9


@pytest.fixture(scope="module")
def plan():
    return with_kl(splits=("test",))


@pytest.fixture(scope="module")
def evidence(plan):
    return make_evidence(2, 30, plan=plan)


def on(rows, name):
    return next(row for row in rows if row.method.name == name)


def test_fractions_are_a_slow_transcription_with_intervals_over_samples(plan, evidence):
    results = outcomes(plan, evidence, "test")
    samples = results["dense"].score.shape[1]
    row = on(recoveries(plan, results, resampler(plan, samples)), "kl")
    kl, greedy, at = results["kl"], results["greedy"], len(plan.targets) - 1
    saving = matched_savings(plan, results, (row.method, plan.method("greedy")))[at]

    def fraction(weights):
        better, baseline = (read_slowly(results["dense"], outcome, saving, weights) for outcome in (kl, greedy))
        return (better - baseline) / (results["dense"].score[0] @ weights - baseline)

    assert row.fractions[at].value == pytest.approx(fraction(np.full(samples, 1 / samples)), abs=ROUNDING)
    drawn = [fraction(weights) for weights in resampling_weights(samples, plan.bootstrap, plan.seed)]
    assert row.fractions[at].low == pytest.approx(np.quantile(drawn, 0.025), abs=ROUNDING)
    assert row.fractions[at].high == pytest.approx(np.quantile(drawn, 0.975), abs=ROUNDING)
    assert row.fractions[at].low < row.fractions[at].value < row.fractions[at].high


def test_dense_scores_recover_all_of_the_gap_and_the_baseline_s_own_nothing(plan, evidence):
    results = outcomes(plan, evidence, "test")
    greedy, dense = results["greedy"], results["dense"]
    perfect = replace(greedy, score=np.repeat(dense.score[:1], len(plan.targets), axis=0))
    draws = resampler(plan, dense.score.shape[1])
    for score, value in ((perfect, 1.0), (greedy, 0.0)):
        fractions = on(recoveries(plan, {**results, "kl": score}, draws), "kl").fractions
        assert set(fractions) <= {None, Interval(value, value, value)} != {None}


def test_the_gap_recovered_is_undefined_where_the_baseline_may_lose_nothing(plan, evidence):
    results = outcomes(plan, evidence, "test")
    dense = results["dense"]
    lossless = replace(results["greedy"], score=np.repeat(dense.score[:1], len(plan.targets), axis=0))
    assert recoveries(plan, {**results, "greedy": lossless}, resampler(plan, dense.score.shape[1])) == []
