"""Differences at equal compute against a slow transcription, and the truth built into the made-up experiment."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.errors import UserError
from pipeline.report.accuracy import baseline_pairs, compare, control_pairs, levels, operating_points
from pipeline.report.evidence import outcomes
from pipeline.report.resampling import resampler

ROUNDING = 1e-9  # intervals are rounded to 12 decimals; sums of a few hundred floats err by less than this


@pytest.fixture(scope="module")
def results(plan, evidence):
    return outcomes(plan, evidence, "test")


@pytest.fixture(scope="module")
def draws(plan, results):
    return resampler(plan, results["dense"].score.shape[1])


def read_slowly(dense, outcome, saving, sample_weights):
    """Accuracy at a saving, one replicate: np.interp through the weighted means of each target."""
    x = [0.0] + [float(sum(sample_weights * (1 - row))) for row in outcome.compute]
    y = [float(sum(sample_weights * dense.score[0]))] + [float(sum(sample_weights * row)) for row in outcome.score]
    if saving <= x[-1]:
        return np.interp(saving, x, y)
    return y[-1] + (saving - x[-1]) * (y[-1] - y[-2]) / (x[-1] - x[-2])


def test_differences_equal_a_slow_transcription(plan, results, draws):
    first, second = plan.method("clustered_oracle"), plan.method("greedy")
    (row,) = compare(plan, results, [(first, second)], draws)
    dense = results["dense"]
    for level, found in zip(levels(plan, results), row.at_levels, strict=True):
        gaps = [
            read_slowly(dense, results[first.name], level, w) - read_slowly(dense, results[second.name], level, w)
            for w in draws.weights
        ]
        low, high = np.quantile(gaps[1:], [0.025, 0.975])
        np.testing.assert_allclose([found.value, found.low, found.high], [gaps[0], low, high], atol=ROUNDING)


def test_no_method_is_read_past_what_it_reached(plan, results):
    common = levels(plan, results)
    assert len(common) == len(plan.targets)
    for method in plan.sparse:
        reached = (1 - results[method.name].compute).mean(axis=1)
        assert common[-1] <= reached[-1] + ROUNDING


def test_a_method_does_not_differ_from_itself(plan, results, draws):
    method = plan.method("wina")
    (row,) = compare(plan, results, [(method, method)], draws)
    assert {(gap.value, gap.low, gap.high) for gap in (*row.at_levels, row.mean)} == {(0.0, 0.0, 0.0)}


def test_a_method_that_saves_nothing_is_left_out_and_the_rest_is_compared_at_no_level(plan, results, draws):
    idle = {**results, "teal": replace(results["teal"], compute=np.ones_like(results["teal"].compute))}
    rows = compare(plan, idle, baseline_pairs(plan), draws)
    assert rows == []


def test_a_built_in_gain_is_found_and_random_groups_gain_nothing(plan, results, draws):
    found = {row.method.name: row.mean for row in compare(plan, results, baseline_pairs(plan), draws)}
    assert found["clustered_oracle"].low > 0
    assert found["random"].low <= 0 <= found["random"].high


def test_a_method_with_fewer_targets_is_compared_at_the_levels_it_reaches_and_nowhere_else(plan, evidence, draws):
    short = replace(plan.method("teal"), is_limited=True)
    limited = replace(plan, methods=tuple(short if method.name == "teal" else method for method in plan.methods))
    results, profiles = evidence.results["teal"], evidence.profiles["teal"]
    cut = replace(
        evidence,
        results={**evidence.results, "teal": results[results["target"] <= 0.4]},
        profiles={**evidence.profiles, "teal": profiles[profiles["target"] <= 0.4]},
    )
    found = outcomes(limited, cut, "test")
    assert found["teal"].targets.tolist() == [0.25, 0.4]
    common = levels(limited, found)
    assert len(common) == len(plan.targets)
    (row,) = compare(limited, found, [(short, plan.method("greedy"))], draws)
    reached = (1 - found["teal"].compute).mean(axis=1).max()
    assert [gap is not None for gap in row.at_levels] == [level <= reached + ROUNDING for level in common]
    assert row.at_levels[0] is not None and row.at_levels[-1] is None
    values = [gap.value for gap in row.at_levels if gap is not None]
    assert row.mean.value == pytest.approx(np.mean(values), abs=ROUNDING)
    with pytest.raises(UserError, match="results missing"):  # results that its profile set promises must be there
        outcomes(limited, replace(cut, profiles=evidence.profiles), "test")


def test_controls_pair_grouped_methods_with_random_groups_of_the_same_allocation(plan):
    pairs = {(method.name, control.name) for method, control in control_pairs(plan)}
    names = ("clustered_oracle", "clustered_embedding", "clustered_scores", "task")
    assert pairs == {(name, "random") for name in names}


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
