"""Differences at matched compute against a slow transcription, and the truth built into the made-up experiment."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.report.analysis.accuracy import compare, operating_points
from pipeline.report.analysis.evidence import outcomes, split_samples
from pipeline.report.analysis.matched_compute import matched_savings
from pipeline.report.analysis.pairs import baseline_pairs, gain_pairs
from pipeline.report.analysis.resampling import FEWEST_TASKS, task_resampler
from pipeline.statistics.significance import holm
from tests.pipeline.report.slow import read_slowly
from wina_amp.errors import UserError

ROUNDING = 1e-9  # intervals are rounded to 12 decimals; sums of a few hundred floats err by less than this


def test_differences_equal_a_slow_transcription(plan, results, draws):
    first, second = plan.method("clustered_oracle"), plan.method("greedy")
    (row,) = compare(plan, results, [(first, second)], draws)
    dense = results["dense"]
    assert row.savings == matched_savings(plan, results, (first, second)) and len(row.savings) == len(plan.targets)
    for saving, gap in zip(row.savings, row.at_targets, strict=True):
        gaps = [
            read_slowly(dense, results[first.name], saving, w) - read_slowly(dense, results[second.name], saving, w)
            for w in draws.weights
        ]
        low, high = np.quantile(gaps[1:], [0.025, 0.975])
        np.testing.assert_allclose([gap.value, gap.low, gap.high], [gaps[0], low, high], atol=ROUNDING)


def test_the_bootstrap_over_tasks_equals_a_slow_transcription_and_has_the_same_estimate(plan, evidence, results, draws):
    first, second = plan.method("clustered_oracle"), plan.method("greedy")
    task_draws = task_resampler(plan, split_samples(evidence, "test")["task"].to_numpy())
    assert task_draws is not None
    (row,) = compare(plan, results, [(first, second)], draws, task_draws)
    dense = results["dense"]
    gaps = [
        np.mean(
            [
                read_slowly(dense, results[first.name], at, w) - read_slowly(dense, results[second.name], at, w)
                for at in row.savings
            ]
        )
        for w in task_draws.weights[:200]
    ]
    first_draws = replace(task_draws, weights=task_draws.weights[:200])
    (few,) = compare(plan, results, [(first, second)], draws, first_draws)
    assert few.over_tasks is not None and row.over_tasks is not None
    np.testing.assert_allclose(
        [few.over_tasks.value, few.over_tasks.low, few.over_tasks.high],
        [gaps[0], *np.quantile(gaps[1:], [0.025, 0.975])],
        atol=ROUNDING,
    )
    assert row.over_tasks.value == row.mean.value


def test_p_values_are_of_the_interval_s_replicates_and_corrected_over_the_pairs_compared_together(plan, results, draws):
    (pairs,) = gain_pairs(plan)
    rows = compare(plan, results, pairs, draws)
    assert [row.p_corrected for row in rows] == holm([row.p for row in rows])
    assert all(row.mean.low > 0 or row.mean.high < 0 for row in rows if row.is_claimed(plan.alpha))
    alone = compare(plan, results, pairs[:1], draws)[0]
    assert alone.p == alone.p_corrected == rows[0].p
    assert alone.over_tasks is None


def test_too_few_tasks_have_no_second_interval(plan):
    assert task_resampler(plan, np.arange(20) % (FEWEST_TASKS - 1)) is None
    draws = task_resampler(plan, np.arange(20) % FEWEST_TASKS)
    assert draws is not None and draws.weights.shape == (plan.bootstrap + 1, 20)


def test_a_method_does_not_differ_from_itself(plan, results, draws):
    method = plan.method("wina")
    (row,) = compare(plan, results, [(method, method)], draws)
    assert {(gap.value, gap.low, gap.high) for gap in (*row.at_targets, row.mean)} == {(0.0, 0.0, 0.0)}


def test_a_method_that_saves_nothing_is_left_out_and_the_rest_is_compared_as_before(plan, results, draws):
    idle = {**results, "teal": replace(results["teal"], compute=np.ones_like(results["teal"].compute))}
    pairs = baseline_pairs(plan)
    after = {row.method.name: row for row in compare(plan, idle, pairs, draws)}
    assert "teal" not in after
    before = {row.method.name: row for row in compare(plan, results, pairs, draws)}
    assert after["wina"].at_targets == before["wina"].at_targets and after["wina"].mean == before["wina"].mean


def test_a_costly_method_changes_its_own_comparisons_and_no_other(plan, results, draws):
    cheap = results["clustered_scores"]
    costly = {**results, "clustered_scores": replace(cheap, compute=cheap.compute + 0.12)}
    pairs = gain_pairs(plan)[0]
    for before, after in zip(compare(plan, results, pairs, draws), compare(plan, costly, pairs, draws), strict=True):
        if before.method.name == "clustered_scores":
            assert max(after.savings) == pytest.approx(max(before.savings) - 0.12, abs=0.01)  # targets met to 0.01
        else:
            assert (before.savings, before.at_targets, before.p) == (after.savings, after.at_targets, after.p)


def test_a_built_in_gain_is_found_and_random_groups_gain_nothing(plan, results, draws):
    rows = {row.method.name: row for row in compare(plan, results, gain_pairs(plan)[0], draws)}
    means = {name: row.mean for name, row in rows.items()}
    assert means["clustered_oracle"].low > 0
    assert means["random"].low <= 0 <= means["random"].high
    assert rows["clustered_oracle"].is_better(plan.alpha)
    assert not rows["random"].is_better(plan.alpha)


def test_a_method_with_fewer_targets_is_compared_at_those_and_nowhere_else(plan, evidence, draws):
    short = replace(plan.method("teal"), is_limited=True)
    limited = replace(plan, methods=tuple(short if method.name == "teal" else method for method in plan.methods))
    results, profiles = evidence.results["teal"], evidence.profiles["teal"]
    cut = replace(
        evidence,
        results={**evidence.results, "teal": results[results["target"] <= 0.4]},
        profiles={**evidence.profiles, "teal": profiles[profiles["target"] <= 0.4]},
    )
    cut_results = outcomes(limited, cut, "test")
    assert cut_results["teal"].targets.tolist() == [0.25, 0.4]
    (row,) = compare(limited, cut_results, [(short, plan.method("greedy"))], draws)
    assert [gap is not None for gap in row.at_targets] == [True, True, False, False]
    assert [saving is not None for saving in row.savings] == [True, True, False, False]
    values = [gap.value for gap in row.at_targets if gap is not None]
    assert row.mean.value == pytest.approx(np.mean(values), abs=ROUNDING)
    with pytest.raises(UserError, match="results missing"):  # results that its profile set promises must be there
        outcomes(limited, replace(cut, profiles=evidence.profiles), "test")


def test_operating_points_are_means_of_the_samples(plan, evidence, results, draws):
    points = {(p.method.name, p.target): p for p in operating_points(plan, results, draws)}
    rows = evidence.results["greedy"]
    rows = rows[(rows["split"] == "test") & (rows["target"] == 0.65)]
    point = points["greedy", 0.65]
    assert point.accuracy.value == pytest.approx(rows["score"].mean(), abs=ROUNDING)
    assert point.compute == pytest.approx((rows["flops"] / rows["dense_flops"]).mean(), abs=ROUNDING)
    dense = points["dense", 0.0].accuracy.value
    assert point.loss.value == pytest.approx(dense - point.accuracy.value, abs=ROUNDING)
    assert point.loss.low < point.loss.value < point.loss.high
    sparsity = rows["realised_sparsity"].to_numpy()
    assert (point.sparsity, point.deviation) == pytest.approx((sparsity.mean(), sparsity.std()), abs=ROUNDING)
    assert point.spread == pytest.approx(np.quantile(sparsity, [0.05, 0.95]), abs=ROUNDING)
