"""metrics.json is flat and finite; the plot files repeat the findings."""

from __future__ import annotations

import json
import math

import pandas as pd
import pytest

from pipeline.report.analysis.findings import find
from pipeline.report.exports.metrics import metrics
from pipeline.report.exports.plots import plot_tables
from pipeline.report.exports.write import write_report


@pytest.fixture(scope="module")
def findings(plan, evidence):
    return find(plan, evidence)


def test_metrics_are_flat_finite_numbers_with_stable_names(plan, findings):
    found = metrics(plan, findings)
    assert all(isinstance(value, int | float) and math.isfinite(value) for value in found.values())
    wanted = {
        "accuracy.dense", "accuracy.wina.50", "difference.clustered_scores.mean",
        "difference.clustered_scores.low", "difference.clustered_scores.high", "nmi.template", "ari.template",
        "sparsity.wina.50.mean", "sparsity.wina.50.sd", "sparsity.wina.50.low", "sparsity.wina.50.high",
        "difference.clustered_scores.p", "difference.clustered_scores.tasks_low", "purity.template", "nmi_p.template",
        "gain.clustered_scores.mean", "gain.clustered_scores.p", "gain.clustered_scores.levels_above",
        "gain.clustered_scores.levels_below", "gain.clustered_scores.compute_most", "difference.wina.compute_least",
        "refit_variance.clustered_scores.draws", "allocation.greedy.tokens", "allocation.wina.evaluations",
        "nmi_without_length.template", "router.scores.accuracy", "regret.clustered_scores.mean", "clusters.stability",
    }  # fmt: skip
    assert wanted <= set(found)


def test_metrics_are_of_the_test_split(plan, evidence, findings):
    rows = evidence.results["wina"]
    rows = rows[(rows["split"] == "test") & (rows["target"] == 0.5)]
    assert metrics(plan, findings)["accuracy.wina.50"] == pytest.approx(rows["score"].mean(), abs=1e-6)


def test_variants_are_one_row_for_every_clustering_and_label(plan, findings):
    rows = plot_tables(plan, findings)["variants"]
    assert len(rows) == len(findings.variants) * len(findings.test.agreements)
    assert not rows.duplicated(["variant", "block", "label"]).any() and rows["p_corrected"].between(0, 1).all()


def test_plot_tables_cover_both_splits_and_every_method(plan, findings):
    tables = plot_tables(plan, findings)
    assert set(tables["accuracy"]["split"]) == {"train", "test"}
    assert set(tables["accuracy"]["method"]) == {method.name for method in plan.methods}
    assert len(tables["confusion_scores"]) == findings.test.samples
    assert set(tables["task_differences"]["split"]) == {"train", "test"}
    gaps = tables["differences"]
    assert (gaps["low"] <= gaps["high"]).all()
    one = gaps[(gaps["split"] == "test") & (gaps["method"] == "wina")]
    (row,) = [row for row in findings.test.differences if row.method.name == "wina"]
    assert one["target"].tolist() == list(plan.targets)
    assert one["compute"].tolist() == pytest.approx([1 - level for level in row.levels])


@pytest.mark.usefixtures("unrendered")
def test_the_report_is_written_whole_and_twice_the_same(plan, evidence, tmp_path):
    for name in ("first", "second"):
        folder = tmp_path / name
        write_report(plan, evidence, report=folder / "report", metrics=folder / "metrics.json", plots=folder / "plots")
    written = {path.relative_to(tmp_path / "first") for path in (tmp_path / "first").rglob("*") if path.is_file()}
    assert {str(path) for path in written} >= {"report/report.html", "metrics.json", "plots/accuracy.csv"}
    for path in written:
        assert (tmp_path / "first" / path).read_bytes() == (tmp_path / "second" / path).read_bytes()
    assert json.loads((tmp_path / "first" / "metrics.json").read_text()) == metrics(plan, find(plan, evidence))
    assert len(pd.read_csv(tmp_path / "first" / "plots" / "accuracy.csv")) > 0
