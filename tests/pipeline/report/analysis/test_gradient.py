"""`pipeline.report.analysis.gradient`: what is said of the choice, who is in the groups; nothing where they were not
made."""

from __future__ import annotations

import numpy as np

from pipeline.report.analysis.findings import find
from pipeline.report.analysis.gradient import gradient_findings
from pipeline.report.exports.metrics import metrics
from pipeline.report.page.group_page import gradient_context
from pipeline.report.page.page import render
from pipeline.report.text.gradient import gradient_sentences
from tests.pipeline.report.synthetic import make_evidence, make_plan

SCHEMES = ("global", "activation", "task", "random", "gradient", "gradient_random")


def test_sentences_name_the_choice_the_largest_gain_and_the_other_groups_best_first():
    plan = make_plan(schemes=SCHEMES)
    found = gradient_findings(plan, make_evidence(4, 6, plan=plan))
    assert found is not None
    chosen, others = gradient_sentences(found)
    assert "Of 2 to 5 groups, 3 are the fewest" in chosen and "0.198 ± 0.003" in chosen
    assert "(0.200 ± 0.004, 5 groups)" in chosen
    names = ["groups by computation 0.250", "the groups by activation 0.150", "random groups of the same sizes -0.010"]
    places = [others.replace("\N{MINUS SIGN}", "-").index(name) for name in names]
    assert places == sorted(places)


def test_every_sample_of_the_test_split_is_in_a_group_of_every_table():
    plan = make_plan(schemes=SCHEMES)
    evidence = make_evidence(4, 6, plan=plan)
    found = gradient_findings(plan, evidence)
    assert found is not None and found.compositions
    groups = evidence.assignments["gradient"]
    sizes = np.bincount(groups["group"][groups["split"] == "test"])
    assert all(np.array_equal(one.counts.sum(axis=1), sizes) for one in found.compositions)


def test_the_page_and_the_metrics_have_it_only_where_the_scheme_was_made():
    for schemes, shown in ((SCHEMES, True), (SCHEMES[:4], False)):
        plan = make_plan(schemes=schemes)
        evidence = make_evidence(4, 6, plan=plan)
        findings = find(plan, evidence)
        html, _ = render(plan, evidence, findings)
        assert ("Gradient clusters" in html) == shown
        assert ("gradient.gain.3" in metrics(plan, findings)) == shown
    assert gradient_context(None) is None
