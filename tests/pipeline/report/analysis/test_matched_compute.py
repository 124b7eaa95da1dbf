"""Matched savings are the smallest of the methods that are compared, and of no others."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from pipeline.report.analysis.matched_compute import Reader, matched_savings, saving_curve
from pipeline.report.analysis.resampling import resampler
from tests.pipeline.report.slow import read_slowly

ROUNDING = 1e-12  # means of a few hundred fractions


def costing(outcome, fraction):
    """The same method with a router that costs `fraction` of the dense FLOPs."""
    return replace(outcome, compute=outcome.compute + fraction)


def test_a_pair_has_one_saving_a_target_the_smaller_of_its_two(plan, results):
    pair = plan.method("clustered_scores"), plan.method("greedy")
    matched = matched_savings(plan, results, pair)
    assert len(matched) == len(plan.targets)
    for i, saving in enumerate(matched):
        savings = [float(np.mean(1 - results[method.name].compute[i])) for method in pair]
        assert saving == pytest.approx(min(savings), abs=ROUNDING)


def test_no_method_is_extrapolated_and_the_sparsest_target_is_compared(plan, results):
    for pair in itertools.product(plan.sparse, plan.sparse):
        reached = [(1 - results[method.name].compute).mean(axis=1).max() for method in pair]
        assert max(matched_savings(plan, results, pair)) == pytest.approx(min(reached), abs=ROUNDING)


def test_a_costly_third_method_does_not_change_the_savings_of_a_pair(plan, results):
    costly = {**results, "clustered_scores": costing(results["clustered_scores"], 0.12)}
    pair = plan.method("clustered_embedding"), plan.method("greedy")
    matched = matched_savings(plan, costly, pair)
    assert matched == matched_savings(plan, results, pair)
    common = matched_savings(plan, costly, plan.sparse)
    assert max(common) < max(matched) - 0.1


def test_targets_at_which_a_method_saves_nothing_or_has_no_result_are_not_compared(plan, results):
    costly = costing(results["wina"], 0.3)  # more than masks save at the first target
    short = replace(results["teal"], **{name: values[:2] for name, values in vars(results["teal"]).items()})
    changed = {**results, "wina": costly, "teal": short}
    for name, compared in (("wina", [False, True, True, True]), ("teal", [True, True, False, False])):
        matched = matched_savings(plan, changed, (plan.method(name), plan.method("greedy")))
        assert [saving is not None for saving in matched] == compared
    idle = {**results, "wina": costing(results["wina"], 1.0)}
    assert matched_savings(plan, idle, (plan.method("wina"), plan.method("greedy"))) is None


def test_a_method_that_saves_nothing_cannot_be_read(plan, results):
    with pytest.raises(ValueError, match="at least two points"):
        saving_curve(results["dense"], costing(results["wina"], 1.0))


def test_readings_are_interpolated_between_targets_for_the_estimate_and_every_replicate(plan, results):
    method, reference = plan.method("clustered_scores"), plan.method("greedy")
    costly = {**results, "clustered_scores": costing(results["clustered_scores"], 0.12)}
    draws = resampler(replace(plan, bootstrap=30), results["dense"].score.shape[1])
    matched = matched_savings(plan, costly, (method, reference))
    reader, dense, pair = Reader(plan, costly, draws), results["dense"], (costly[method.name], costly[reference.name])
    for saving, gap in zip(matched, reader.gaps(method, reference, matched), strict=True):
        slow = [[read_slowly(dense, outcome, saving, weights) for outcome in pair] for weights in draws.weights]
        expected = [first - second for first, second in slow]
        np.testing.assert_allclose(gap, expected, atol=1e-10)
    mean, estimate = (r.mean_gap(method, reference, matched) for r in (reader, Reader(plan, costly)))
    assert estimate.shape == (1,) and estimate[0] == pytest.approx(mean[0], abs=ROUNDING)
