"""The plot files repeat the findings, one tidy table per plot."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.report.exports.plots import plot_tables


@pytest.fixture(scope="module")
def tables(plan, findings):
    return plot_tables(plan, findings)


def test_variants_are_one_row_for_every_clustering_and_label(findings, tables):
    rows = tables["variants"]
    assert len(rows) == len(findings.variants) * len(findings.test.agreements)
    assert not rows.duplicated(["variant", "block", "label"]).any() and rows["p_corrected"].between(0, 1).all()


def test_plot_tables_cover_both_splits_and_every_method(plan, tables):
    assert set(tables["accuracy"]["split"]) == {"train", "test"}
    assert set(tables["accuracy"]["method"]) == {method.name for method in plan.methods}
    assert set(tables["task_differences"]["split"]) == {"train", "test"}


def test_differences_have_the_compute_at_which_they_were_made(plan, findings, tables):
    rows = tables["differences"]
    assert (rows["low"] <= rows["high"]).all()
    shown = rows[(rows["split"] == "test") & (rows["method"] == "wina")]
    (comparison,) = [row for row in findings.test.differences if row.method.name == "wina"]
    assert shown["target"].tolist() == list(plan.targets)
    assert shown["compute"].tolist() == pytest.approx([1 - saving for saving in comparison.savings])


def test_confusions_have_one_row_per_sample(findings, tables):
    (router,) = [row for row in findings.test.routers if row.router == "scores"]
    rows = tables["confusion_scores"]
    assert len(rows) == findings.test.samples
    counts = np.zeros_like(router.confusion)
    np.add.at(counts, (rows["actual"], rows["predicted"]), 1)
    np.testing.assert_array_equal(counts, router.confusion)
