"""The primary comparison: few methods on all test samples, by the same rules as everything else, from findings to page.

The experiment of `synthetic.py` with a second configuration; all methods have the first samples of a task, and `kl`,
its routed and its random groups have all samples at the two sparsest targets.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pipeline.evaluate.first_samples import among_first
from pipeline.report.analysis.evidence import evaluated_samples, outcomes
from pipeline.report.analysis.findings import find
from pipeline.report.exports.metrics import metrics
from pipeline.report.exports.plots import plot_tables
from pipeline.report.page.page import render
from pipeline.report.text.cards import ONE_FIT, cards
from pipeline.report.text.rules import rules
from pipeline.statistics.bootstrap import Interval, resampling_weights
from tests.pipeline.report.synthetic import make_evidence, with_draws, with_kl, with_limits
from wina_amp.errors import UserError

FIRST, ALL = 8, 30
TARGETS = (0.5, 0.65)
METHODS = ("kl", "kl_embedding", "kl_random")
EXACT = 1e-9
"""Sums of the same numbers in another order."""


def with_primary(methods=METHODS, make=with_kl):
    return make(splits=("test",), limits={"test": FIRST}, primary=methods, primary_targets=TARGETS)


def make_primary(plan):
    return with_limits(plan, make_evidence(2, ALL, plan=plan))


@pytest.fixture(scope="module")
def plan():
    return with_primary()


@pytest.fixture(scope="module")
def evidence(plan):
    return make_primary(plan)


@pytest.fixture(scope="module")
def findings(plan, evidence):
    return find(plan, evidence)


def rq2(plan, findings):
    return cards(plan, findings)[0]


def test_all_other_findings_are_those_of_a_report_on_the_shared_samples_alone(plan, evidence, findings):
    first = evidence.samples[among_first(evidence.samples, plan.limits)]
    results = {n: rows[rows["sample_id"].isin(first["sample_id"])] for n, rows in evidence.results.items()}
    small = find(with_kl(splits=("test",)), replace(evidence, samples=first, results=results))
    assert findings.test.samples == small.test.samples == FIRST * 16
    for name in (
        "points",
        "gains",
        "differences",
        "controls",
        "refit_variance",
        "regrets",
        "tasks",
        "task_differences",
    ):
        assert getattr(findings.test, name) == getattr(small.test, name)
    assert small.primary is None and findings.primary is not None
    assert findings.primary.samples == ALL * 16


def test_the_primary_gains_are_those_of_a_slow_comparison_on_the_union_of_both_parts(plan, evidence, findings):
    primary = findings.primary
    assert {row.method.name for row in primary.gains} == {"kl_embedding", "kl_random"}
    for row in primary.gains:
        saving, gap, (low, high) = _slow(plan, evidence, row.method.name, 0.65)
        assert row.savings[-1] == pytest.approx(saving, abs=EXACT)
        interval = row.at_targets[-1]
        assert (interval.value, interval.low, interval.high) == pytest.approx((gap, low, high), abs=EXACT)


def _slow(plan, evidence, name, target):
    """The matched saving at a target, the difference of mean scores there and its interval, replicate by replicate."""
    order = sorted(sample for sample in evidence.samples["sample_id"] if "/test/" in sample)
    dense = evidence.results["dense"].set_index("sample_id").loc[order, "score"].to_numpy()
    scores, saved = {}, {}
    for method in (name, "kl"):
        rows = [evidence.results[method].query("target == @at").set_index("sample_id").loc[order] for at in TARGETS]
        scores[method] = [dense, *(table["score"].to_numpy() for table in rows)]
        saved[method] = [0 * dense, *((1 - table["flops"] / table["dense_flops"]).to_numpy() for table in rows)]
    saving = min(saved[method][1 + TARGETS.index(target)].mean() for method in (name, "kl"))

    def read(method, weights):
        """On the straight line through the replicate's two points around the saving, or its last two."""
        x, y = ([float(weights @ values) for values in table[method]] for table in (saved, scores))
        left = 0 if saving < x[1] else 1
        return y[left] + (saving - x[left]) / (x[left + 1] - x[left]) * (y[left + 1] - y[left])

    def gap(weights):
        return read(name, weights) - read("kl", weights)

    gaps = [gap(weights) for weights in resampling_weights(len(order), plan.bootstrap, plan.seed)]
    low, high = np.quantile(gaps, [(1 - plan.confidence) / 2, (1 + plan.confidence) / 2])
    return saving, gap(np.full(len(order), 1 / len(order))), (low, high)


def test_holm_counts_the_primary_pairs_alone(findings):
    family = findings.primary.gains
    smallest = min(row.p for row in family)
    assert min(row.p_corrected for row in family) == pytest.approx(min(1, len(family) * smallest))
    assert len([row for row in findings.test.gains if row.reference.name == "kl"]) > len(family)


def test_results_beyond_the_limit_of_a_method_that_is_not_primary_are_refused(plan, evidence):
    more = make_evidence(2, ALL, plan=plan).results["teal"]
    with pytest.raises(UserError, match=rf"results of {16 * (ALL - FIRST)} unknown samples.*teal\.parquet"):
        outcomes(plan, replace(evidence, results={**evidence.results, "teal": more}), "test")


@pytest.mark.parametrize("name", ["kl_random", "dense"])
def test_a_missing_primary_result_is_refused_with_its_sample_and_target(plan, evidence, name):
    part, rows = plan.primary_part, evidence.results[name]
    beyond = sorted(
        set(evaluated_samples(part, evidence, "test").index) - set(evaluated_samples(plan, evidence, "test").index)
    )
    is_missing = (rows["sample_id"] == beyond[0]) & (rows["target"] == rows["target"].max())
    broken = replace(evidence, results={**evidence.results, name: rows[~is_missing]})
    outcomes(plan, broken, "test")
    with pytest.raises(UserError, match=rf"1 results missing \({beyond[0]} at"):
        find(plan, broken)


def test_all_answers_are_from_the_primary_comparison_if_it_has_the_deciding_configuration(plan, findings):
    assert findings.answering is findings.primary
    assert f"{ALL * 16} samples" in rq2(plan, findings).sentences[0]
    assert "50 to 65% sparsity" in rq2(plan, findings).sentences[0]
    rq4 = next(card for card in cards(plan, findings) if card.key == "RQ4")
    computes = {f"{100 * point.compute:.0f}%" for point in findings.primary.points}
    assert rq4.number in computes
    assert any("primary comparison" in rule and "`kl`, `kl_embedding` and `kl_random`" in rule for rule in rules(plan))


def test_a_gain_counts_only_if_the_primary_comparison_shows_it(plan, findings):
    primary = findings.primary
    for sign, tag in ((1, ONE_FIT), (-1, "No: worse")):
        ends = Interval(0.02 * sign, *sorted((0.01 * sign, 0.03 * sign)))
        claimed = {"mean": ends, "over_tasks": ends, "p": 0.001, "p_corrected": 0.002}
        gains = [replace(row, **claimed) if row.method.is_routed else row for row in primary.gains]
        controls = [replace(row, **claimed) for row in primary.controls]
        changed = replace(primary, gains=gains, controls=controls)
        assert rq2(plan, replace(findings, primary=changed)).answer == tag
    claimed = {"mean": Interval(0.02, 0.01, 0.03), "p_corrected": 0.001}
    test = replace(findings.test, gains=[replace(row, **claimed) for row in findings.test.gains])
    shared = replace(findings, splits={"test": test})
    assert rq2(plan, shared).answer == rq2(plan, findings).answer


def test_primary_methods_of_another_configuration_do_not_answer():
    plan = with_primary(("greedy", "clustered_embedding", "random"))
    findings = find(plan, make_primary(plan))
    assert findings.test.deciding.pooled.name == "kl" and findings.answering is findings.test
    assert "128 samples" in rq2(plan, findings).sentences[0]


def test_refit_variance_is_from_the_primary_draws_if_there_are_some():
    draws = ("greedy", "clustered_embedding", "random", "random1", "random2")
    plan = with_primary(draws, make=with_draws)
    findings = find(plan, make_primary(plan))
    (scale,) = findings.primary.refit_variance.values()
    assert len(scale.draws) == 3 and scale.deviation is not None


def test_metrics_and_plot_data_have_the_primary_comparison(plan, findings):
    (gain,) = [row for row in findings.primary.gains if row.method.name == "kl_embedding"]
    assert metrics(plan, findings)["gain.mean"] == pytest.approx(100 * gain.mean.value, abs=1e-6)
    rows = plot_tables(findings)["comparisons"].query("split == 'primary'")
    pairs = rows.groupby(["method", "reference"]).size()
    assert set(pairs.index) == {("kl_embedding", "kl"), ("kl_random", "kl"), ("kl_embedding", "kl_random")}
    assert (pairs == len(TARGETS) + 1).all() and (rows["samples"] == ALL * 16).all()
    pd.testing.assert_series_equal(rows["half_width"], (rows["high"] - rows["low"]) / 2, check_names=False)
    mean = rows.query("target == 'mean' and method == 'kl_embedding' and reference == 'kl'")
    assert mean["p_corrected"].item() == gain.p_corrected


def test_the_page_says_how_many_samples_answer_and_how_many_every_method_has(plan, evidence, findings):
    html, _ = render(plan, evidence, findings)
    assert f"128 for every method, {ALL * 16} for the answers" in html
    without, _ = render(replace(plan, primary=(), primary_targets=()), evidence, replace(findings, primary=None))
    assert f"{ALL * 16} for the answers" not in without
