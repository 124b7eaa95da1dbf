"""Findings about gradient clusters hold every test sample, and exist only where the scheme is in the plan."""

from __future__ import annotations

import numpy as np

from pipeline.report.analysis.findings import find
from pipeline.report.analysis.gradient import gradient_findings
from pipeline.report.page.page import render
from tests.pipeline.report.synthetic import make_evidence, make_plan

SCHEMES = ("global", "activation", "task", "random", "gradient", "gradient_random")


def test_every_sample_of_the_test_split_is_in_a_group_of_every_table():
    plan = make_plan(schemes=SCHEMES)
    evidence = make_evidence(4, 6, plan=plan)
    findings = gradient_findings(plan, evidence)
    assert findings is not None and findings.compositions
    groups = evidence.assignments["gradient"]
    sizes = np.bincount(groups["group"][groups["split"] == "test"])
    assert all(np.array_equal(table.counts.sum(axis=1), sizes) for table in findings.compositions)


def test_a_page_shows_gradient_clusters_only_where_they_are_in_the_plan():
    for schemes, is_shown in ((SCHEMES, True), (SCHEMES[:4], False)):
        plan = make_plan(schemes=schemes)
        evidence = make_evidence(4, 6, plan=plan)
        html, _ = render(plan, evidence, find(plan, evidence))
        assert ("3 gradient clusters" in html) == is_shown
