"""`pipeline.report.analysis.recovery`: a share of the baseline's loss, at equal compute, and nothing where nothing was
lost."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.report.analysis.evidence import outcomes
from pipeline.report.analysis.findings import find
from pipeline.report.analysis.matched_compute import levels
from pipeline.report.analysis.recovery import Recovery, recoveries
from pipeline.report.analysis.resampling import resampler
from pipeline.report.exports.metrics import metrics
from pipeline.report.text.recovery import recovery_sentences
from pipeline.report.text.verdicts import verdicts
from pipeline.statistics.intervals import Interval, resampling_weights
from tests.pipeline.report.synthetic import make_evidence, with_kl
from tests.pipeline.report.told import told

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
    assert row.levels == levels(plan, results, (row.method, row.reference)) and row.fractions[at] is not None

    def fraction(weights):
        def read(one):
            x = [0.0, *((1 - one.compute) @ weights)]
            return np.interp(row.levels[at], x, [results["dense"].score[0] @ weights, *(one.score @ weights)])

        dense = results["dense"].score[0] @ weights
        return (read(kl) - read(greedy)) / (dense - read(greedy))

    assert row.fractions[at].value == pytest.approx(fraction(np.full(samples, 1 / samples)), abs=ROUNDING)
    drawn = [fraction(weights) for weights in resampling_weights(samples, plan.bootstrap, plan.seed)]
    assert row.fractions[at].low == pytest.approx(np.quantile(drawn, 0.025), abs=ROUNDING)
    assert row.fractions[at].high == pytest.approx(np.quantile(drawn, 0.975), abs=ROUNDING)
    assert row.fractions[at].low < row.fractions[at].value < row.fractions[at].high


def test_the_dense_model_would_win_back_all_and_the_baseline_nothing(plan, evidence):
    results = outcomes(plan, evidence, "test")
    greedy, dense = results["greedy"], results["dense"]
    perfect = replace(greedy, score=np.repeat(dense.score[:1], len(plan.targets), axis=0))
    draws = resampler(plan, dense.score.shape[1])
    for score, value in ((perfect, 1.0), (greedy, 0.0)):
        known = [
            one for one in on(recoveries(plan, {**results, "kl": score}, draws), "kl").fractions if one is not None
        ]
        assert known and all(one == Interval(value, value, value) for one in known)


def test_nothing_is_said_where_the_baseline_may_lose_nothing(plan, evidence):
    results = outcomes(plan, evidence, "test")
    dense = results["dense"]
    lossless = replace(results["greedy"], score=np.repeat(dense.score[:1], len(plan.targets), axis=0))
    assert recoveries(plan, {**results, "greedy": lossless}, resampler(plan, dense.score.shape[1])) == []


def test_only_methods_that_win_something_back_are_named(plan):
    kl, greedy = plan.method("kl"), plan.method("greedy")
    half, lost = Interval(0.5, 0.4, 0.6), Interval(-0.1, -0.2, 0.0)
    rows = [
        Recovery(kl, greedy, (None, None, 0.4, 0.5), (None, None, half, None)),
        Recovery(plan.method("wina"), greedy, (None, None, 0.4, 0.5), (None, None, lost, lost)),
    ]
    assert recovery_sentences(plan, rows, 1234) == [
        "Of the accuracy that `greedy` loses against the dense model, `kl` wins back, at equal compute on 1,234 test "
        "samples: 50.0% [40.0, 60.0] at 50%."
    ]


def test_the_answer_and_the_metrics_hold_it(plan, evidence):
    findings = find(plan, evidence)
    row = on(findings.test.recoveries, "kl")
    assert row.wins and row.fractions[-1] is not None
    assert any("`kl` wins back, at equal compute" in told(one) for one in verdicts(plan, findings))
    assert metrics(plan, findings)["gap_recovered.kl.65.fraction"] == pytest.approx(row.fractions[-1].value, abs=1e-6)
