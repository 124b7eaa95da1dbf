"""Differences of tasks add up to the difference of the split, and a task with an effect of its own is found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.report.analysis.accuracy import compare
from pipeline.report.analysis.evidence import split_samples
from pipeline.report.analysis.findings import find
from pipeline.report.analysis.resampling import resampler
from pipeline.report.analysis.task_differences import task_comparisons
from pipeline.statistics.significance import bootstrap_p, holm

ROUNDING = 1e-9  # intervals are rounded to 12 decimals; sums of a few hundred floats err by less than this


@pytest.fixture(scope="module")
def tasks(evidence):
    return split_samples(evidence, "test")["task"].to_numpy(dtype=np.str_)


def compared(plan, tasks, results, first="clustered_embedding", second="greedy"):
    pair = (plan.method(first), plan.method(second))
    (comparison,) = task_comparisons(plan, tasks, results, [pair])
    return comparison


def test_weighted_by_samples_they_add_up_to_the_difference_of_the_split(plan, tasks, results):
    for first, second in (("clustered_embedding", "greedy"), ("teal", "wina")):
        comparison = compared(plan, tasks, results, first, second)
        pair = (plan.method(first), plan.method(second))
        (whole,) = compare(plan, results, [pair], resampler(plan, len(tasks)))
        assert comparison.savings == whole.savings
        added = sum(row.samples * row.gap.value for row in comparison.rows) / len(tasks)
        assert added == pytest.approx(whole.mean.value, abs=ROUNDING)


def test_intervals_and_p_values_equal_a_slow_transcription(plan, tasks, results):
    comparison = compared(plan, tasks, results)
    dense = results["dense"]
    slow_p = {}
    for row in comparison.rows:
        members = np.flatnonzero(tasks == row.task)
        gaps = []
        for sample in members:
            by_target = [
                read_slowly(dense, results["clustered_embedding"], saving, sample)
                - read_slowly(dense, results["greedy"], saving, sample)
                for saving in comparison.savings
            ]
            gaps.append(np.mean(by_target))
        replicates = [float(weights @ np.array(gaps)) for weights in resampler(plan, len(members)).weights]
        low, high = np.quantile(replicates[1:], [0.025, 0.975])
        np.testing.assert_allclose(
            [row.gap.value, row.gap.low, row.gap.high], [np.mean(gaps), low, high], atol=ROUNDING
        )
        slow_p[row.task] = bootstrap_p(np.round(replicates[1:], 12))
    ordered = [slow_p[name] for name in sorted(slow_p)]
    corrected = dict(zip(sorted(slow_p), holm(ordered), strict=True))
    assert {row.task: row.p_corrected for row in comparison.rows} == pytest.approx(corrected)


def read_slowly(dense, outcome, saving, sample):
    """One sample's score, interpolated between the two targets whose mean savings are around `saving`."""
    x = [0.0, *(float(np.mean(1 - row)) for row in outcome.compute)]
    y = [float(dense.score[0, sample]), *(float(row[sample]) for row in outcome.score)]
    return np.interp(saving, x, y)


def test_the_task_that_a_method_is_bad_at_comes_first_and_is_claimed(plan, tasks, results):
    hurt = results["clustered_embedding"]
    spoiled = {**results, "clustered_embedding": replace(hurt, score=np.where(tasks == "facts", 0.0, hurt.score))}
    comparison = compared(plan, tasks, spoiled)
    assert comparison.rows[0].task == "facts"
    worse = [row.task for row in comparison.rows if row.p_corrected < plan.alpha and row.gap.value < 0]
    assert worse == ["facts"]
    assert [row.gap.value for row in comparison.rows] == sorted(row.gap.value for row in comparison.rows)


def test_one_task_or_no_matched_savings_give_no_comparison(plan, tasks, results):
    pairs = [(plan.method("teal"), plan.method("wina"))]
    assert task_comparisons(plan, np.full(len(tasks), "one"), results, pairs) == []
    idle = {**results, "teal": replace(results["teal"], compute=np.ones_like(results["teal"].compute))}
    assert task_comparisons(plan, tasks, idle, pairs) == []


def test_findings_compare_routed_with_pooled_and_the_two_best_pooled_methods(plan, evidence):
    comparisons = find(plan, evidence).test.task_differences
    pairs = [(comparison.method.name, comparison.reference.name) for comparison in comparisons]
    assert pairs == [("clustered_embedding", "greedy"), ("clustered_scores", "greedy"), ("greedy", "wina")]
