"""The plot files repeat the findings, one tidy table per plot."""

from __future__ import annotations

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


def test_comparisons_have_the_compute_at_which_they_were_made_and_end_in_their_mean(plan, findings, tables):
    rows = tables["comparisons"]
    assert (rows["low"] <= rows["high"]).all()
    shown = rows[(rows["split"] == "test") & (rows["method"] == "wina")]
    (comparison,) = [row for row in findings.test.differences if row.method.name == "wina"]
    assert shown["target"].tolist() == [*plan.targets, "mean"]
    assert shown["compute"].tolist()[:-1] == pytest.approx([1 - saving for saving in comparison.savings])
    assert shown["difference"].tolist()[-1] == pytest.approx(100 * comparison.mean.value)


def test_routers_have_the_accuracy_and_cost_of_the_findings(findings, tables):
    rows = tables["routers"].set_index("router")
    for row in findings.test.routers:
        assert rows.loc[row.router, "accuracy"] == row.accuracy.value
    costs = {row.method.groups: row.fraction for row in findings.test.regrets}
    assert rows["cost"].to_dict() == pytest.approx(costs)
