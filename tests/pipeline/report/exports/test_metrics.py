"""metrics.json: few headline numbers, named after questions, of held-out samples."""

from __future__ import annotations

import math

import pytest

from pipeline.report.analysis.findings import find
from pipeline.report.exports.metrics import metrics
from tests.pipeline.report.synthetic import make_evidence, make_plan
from tests.pipeline.report.timings import timed

MOST = 20
"""Columns that a table on a screen can have."""


def test_metrics_are_few_finite_numbers_with_names_that_do_not_depend_on_methods(plan, findings):
    numbers = metrics(plan, findings)
    assert all(isinstance(value, int | float) and math.isfinite(value) for value in numbers.values())
    assert len(numbers) <= MOST
    assert not {part for name in numbers for part in name.split(".")} & {method.name for method in plan.sparse}


def test_gains_are_those_that_decide_in_points(plan, findings):
    numbers, gain = metrics(plan, findings), findings.deciding_gain
    for name, interval in (("gain.mean", gain.mean.value), ("gain.low", gain.mean.low), ("gain.high", gain.mean.high)):
        assert numbers[name] == pytest.approx(100 * interval, abs=1e-6)
    assert numbers["gain.tasks_low"] == pytest.approx(100 * gain.over_tasks.low, abs=1e-6)


def test_accuracies_are_of_the_test_split_at_the_sparsest_target(plan, evidence, findings):
    rows = evidence.results["greedy"]
    rows = rows[(rows["split"] == "test") & (rows["target"] == 0.65)]
    assert metrics(plan, findings)["accuracy.baseline"] == pytest.approx(rows["score"].mean(), abs=1e-6)


def test_what_was_not_measured_has_no_metric(plan, evidence, findings):
    assert "speedup" not in metrics(plan, findings)
    assert "speedup" in metrics(plan, find(plan, timed(plan, evidence)))
    pooled = make_plan(schemes=("global",), routers={}, methods=make_plan().methods[:4])
    bare = metrics(pooled, find(pooled, make_evidence(2, 4, plan=pooled)))
    assert not [name for name in bare if name.split(".")[0] in ("gain", "router", "regret")]
