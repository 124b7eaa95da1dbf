"""Levels are the smallest saving of the methods that are compared, and of nobody else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.report.analysis.evidence import outcomes
from pipeline.report.analysis.matched_compute import Reader, are_alike, levels, mean_gap, plain_reader, saving_curve
from pipeline.report.analysis.resampling import resampler

ROUNDING = 1e-12  # means of a few hundred shares


@pytest.fixture(scope="module")
def results(plan, evidence):
    return outcomes(plan, evidence, "test")


def costing(outcome, fraction):
    """The same method with a router that costs `share` of the dense FLOPs."""
    return replace(outcome, compute=outcome.compute + fraction)


def test_a_pair_has_one_level_a_target_the_smaller_of_its_two_savings(plan, results):
    pair = plan.method("clustered_scores"), plan.method("greedy")
    found = levels(plan, results, pair)
    assert len(found) == len(plan.targets)
    for i, level in enumerate(found):
        savings = [float(np.mean(1 - results[method.name].compute[i])) for method in pair]
        assert level == pytest.approx(min(savings), abs=ROUNDING)


def test_nobody_is_read_past_what_it_reached_and_the_sparsest_target_is_looked_at(plan, results):
    for method in plan.sparse:
        for reference in plan.sparse:
            reached = [(1 - results[one.name].compute).mean(axis=1).max() for one in (method, reference)]
            assert max(levels(plan, results, (method, reference))) == pytest.approx(min(reached), abs=ROUNDING)


def test_a_costly_third_method_moves_no_level(plan, results):
    costly = {**results, "clustered_scores": costing(results["clustered_scores"], 0.12)}
    pair = plan.method("clustered_embedding"), plan.method("greedy")
    assert levels(plan, costly, pair) == levels(plan, results, pair)
    everybody = levels(plan, costly, plan.sparse)  # what levels common to all methods would be
    assert max(everybody) < max(levels(plan, costly, pair)) - 0.1


def test_a_target_at_which_a_method_saves_nothing_or_has_no_result_has_no_level(plan, results):
    dear = costing(results["wina"], 0.3)  # more than masks save at the first target
    short = replace(results["teal"], **{name: getattr(results["teal"], name)[:2] for name in vars(results["teal"])})
    found = {**results, "wina": dear, "teal": short}
    known = [level is not None for level in levels(plan, found, (plan.method("wina"), plan.method("greedy")))]
    assert known == [False, True, True, True]
    known = [level is not None for level in levels(plan, found, (plan.method("teal"), plan.method("greedy")))]
    assert known == [True, True, False, False]


def test_levels_are_alike_within_a_point_of_flops_and_at_the_same_targets():
    assert are_alike((0.2, None), (0.209, None))
    assert not are_alike((0.2, None), (0.22, None)) and not are_alike((0.2, None), (0.2, 0.3))


def test_a_method_that_saves_nothing_cannot_be_read(plan, results):
    with pytest.raises(ValueError, match="at least two points"):
        saving_curve(results["dense"], costing(results["wina"], 1.0))


def test_readings_are_interpolated_between_targets_for_the_estimate_and_every_replicate(plan, results):
    method, reference = plan.method("clustered_scores"), plan.method("greedy")
    costly = {**results, "clustered_scores": costing(results["clustered_scores"], 0.12)}
    draws = resampler(replace(plan, bootstrap=30), results["dense"].score.shape[1])
    at = levels(plan, costly, (method, reference))
    gaps = Reader(plan, costly, draws).gaps(method, reference, at)
    dense = results["dense"].score[0]

    def slowly(name, level, weights):
        x = [0.0, *(float(np.sum(weights * (1 - row))) for row in costly[name].compute)]
        y = [float(np.sum(weights * dense)), *(float(np.sum(weights * row)) for row in costly[name].score)]
        right = next((i for i in range(1, len(x)) if x[i] > level), len(x) - 1)
        fraction = (level - x[right - 1]) / (x[right] - x[right - 1])
        return y[right - 1] + fraction * (y[right] - y[right - 1])

    for level, gap in zip(at, gaps, strict=True):
        expected = [slowly(method.name, level, w) - slowly(reference.name, level, w) for w in draws.weights]
        np.testing.assert_allclose(gap, expected, atol=1e-10)
    plain = plain_reader(plan, costly).gaps(method, reference, at)
    assert mean_gap(plain)[0] == pytest.approx(mean_gap(gaps)[0], abs=ROUNDING)
