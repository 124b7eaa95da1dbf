"""metrics.json: a flat mapping of stable names to finite numbers of the test split."""

from __future__ import annotations

import math

import pytest

from pipeline.report.exports.metrics import metrics


def test_metrics_are_flat_finite_numbers_with_stable_names(plan, findings):
    numbers = metrics(plan, findings)
    assert all(isinstance(value, int | float) and math.isfinite(value) for value in numbers.values())
    wanted = {
        "accuracy.dense", "accuracy.wina.50", "difference.clustered_scores.mean",
        "difference.clustered_scores.low", "difference.clustered_scores.high", "nmi.template", "ari.template",
        "sparsity.wina.50.mean", "sparsity.wina.50.sd", "sparsity.wina.50.low", "sparsity.wina.50.high",
        "difference.clustered_scores.p", "difference.clustered_scores.tasks_low", "purity.template", "nmi_p.template",
        "gain.clustered_scores.mean", "gain.clustered_scores.p", "gain.clustered_scores.targets_above",
        "gain.clustered_scores.targets_below", "gain.clustered_scores.compute_most", "difference.wina.compute_least",
        "refit_variance.clustered_scores.draws", "allocation.greedy.tokens", "allocation.wina.evaluations",
        "nmi_without_length.template", "router.scores.accuracy", "regret.clustered_scores.mean", "clusters.stability",
    }  # fmt: skip
    assert wanted <= set(numbers)


def test_metrics_are_of_the_test_split(plan, evidence, findings):
    rows = evidence.results["wina"]
    rows = rows[(rows["split"] == "test") & (rows["target"] == 0.5)]
    assert metrics(plan, findings)["accuracy.wina.50"] == pytest.approx(rows["score"].mean(), abs=1e-6)
