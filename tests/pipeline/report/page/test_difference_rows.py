"""Every difference is shown with the level of its pair, in a column of its target."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.report.analysis.findings import find
from pipeline.report.page.difference_rows import COLUMNS, difference_table
from pipeline.report.page.figures import difference_panel
from pipeline.report.text.wording import compute_range, remaining_compute, target_name
from tests.pipeline.report.synthetic import make_evidence, make_plan


@pytest.fixture(scope="module")
def costly():
    """The plan, and findings in which the `scores` router costs 12% of the dense FLOPs."""
    plan = make_plan(splits=("test",))
    evidence = make_evidence(2, 24, gain=0.2, plan=plan)
    rows = evidence.results["clustered_scores"]
    dear = rows.assign(flops=rows["flops"] + 0.12 * rows["dense_flops"])
    return plan, find(plan, replace(evidence, results={**evidence.results, "clustered_scores": dear}))


def test_columns_are_targets_and_every_cell_has_the_level_of_its_pair(costly):
    plan, findings = costly
    table = difference_table(plan, findings.test)
    assert table["columns"] == [*COLUMNS, *map(target_name, plan.targets)]
    shown = {(row["method"], row["reference"]): row["cells"] for row in table["rows"]}
    compared = [*findings.test.gains, *findings.test.controls, *findings.test.differences]
    assert len(shown) == len(table["rows"]) == len(compared)
    for row in compared:
        mean, *cells = shown[row.method.name, row.reference.name]
        assert mean["at"] == compute_range(row.savings)
        assert [cell["at"] for cell in cells[len(COLUMNS) - 1 :]] == [remaining_compute(level) for level in row.savings]
    cells = {name: shown[name, "greedy"][-1]["at"] for name in ("clustered_scores", "clustered_embedding")}
    assert cells == {"clustered_scores": "55%", "clustered_embedding": "44%"}


def test_a_pair_without_a_level_has_no_cell(costly):
    plan, findings = costly
    row = findings.test.gains[0]
    short = replace(row, savings=(*row.savings[:-1], None), at_targets=(*row.at_targets[:-1], None))
    table = difference_table(plan, replace(findings.test, gains=[short], controls=[], differences=[]))
    (found,) = table["rows"]
    assert found["cells"][-1] is None and found["heading"].startswith("Groups against the pooled")


def test_the_figure_names_the_usual_level_of_a_column_and_marks_a_pair_that_has_another(costly):
    plan, findings = costly
    svg = difference_panel(plan, findings.test.gains, "differences").svg
    assert svg.count("at 44%") == 1 == svg.count("at 55%")  # the head of the last column, the router's mark in it
