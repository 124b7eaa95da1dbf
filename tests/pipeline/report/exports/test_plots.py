"""The plot files repeat the findings, one tidy table per plot."""

from __future__ import annotations

import pytest

from pipeline.report.exports.plots import plot_tables


@pytest.fixture(scope="module")
def tables(findings):
    return plot_tables(findings)


def test_plot_tables_cover_both_splits_and_every_method(plan, tables):
    assert set(tables["accuracy"]["split"]) == {"train", "test"}
    assert set(tables["accuracy"]["method"]) == {method.name for method in plan.methods}
    assert set(tables["task_differences"]["split"]) == {"train", "test"}


def test_comparisons_have_the_compute_at_which_they_were_made_and_end_in_their_mean(plan, findings, tables):
    rows = tables["comparisons"]
    assert (rows["low"] <= rows["high"]).all()
    shown = rows[(rows["split"] == "test") & (rows["method"] == "wina")]
    (comparison,) = [row for row in findings.test.differences if row.method.name == "wina"]
    assert shown["target"].tolist() == [*plan.targets, "mean"]
    assert shown["compute"].tolist()[:-1] == pytest.approx([1 - saving for saving in comparison.savings])
    assert shown["difference"].tolist()[-1] == pytest.approx(100 * comparison.mean.value)


def test_sparsities_have_a_row_for_every_block_of_every_method_and_target(plan, findings, tables):
    rows = tables["sparsity"]
    assert not rows.duplicated(["method", "target", "block"]).any()
    assert len(rows) == len(plan.sparse) * len(plan.targets) * len(findings.block_sparsities[0].values)
