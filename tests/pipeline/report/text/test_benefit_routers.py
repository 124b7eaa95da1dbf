"""Sentences about benefit routers state whether their choices gain, and are part of the answer to RQ3."""

from __future__ import annotations

from dataclasses import replace

import lxml.html
import pytest

from pipeline.report.analysis.findings import find
from pipeline.report.analysis.plan import Method
from pipeline.report.page.page import render
from pipeline.report.text.benefit_routers import benefit_router_sentences
from pipeline.report.text.methods import describe
from pipeline.report.text.verdicts import verdicts
from tests.pipeline.report.synthetic import METHODS, make_evidence, make_plan

ROUTED = Method("clustered_benefit", "clustered", "activation", "wina", "greedy", "benefit", "threshold")


@pytest.fixture(scope="module")
def plan():
    return make_plan(methods=(*METHODS, ROUTED), benefit_routers={"benefit": "activation"})


@pytest.fixture(scope="module")
def evidence(plan):
    return make_evidence(train=8, test=24, plan=plan)


@pytest.fixture(scope="module")
def findings(plan, evidence):
    return find(plan, evidence)


@pytest.mark.usefixtures("unrendered")
def test_the_answer_to_rq3_and_the_page_name_the_benefit_router_its_benefit_and_its_regret(plan, evidence, findings):
    (sentence,) = benefit_router_sentences(findings)
    assert verdicts(plan, findings)[2].sentences[-1] == sentence
    (row,), (regret,) = findings.benefit_routers, [r for r in findings.test.regrets if r.method == ROUTED]
    for part in ("`benefit`", f"{row.benefit.value:.3f}", f"{row.own.value:.3f}", f"`{regret.oracle.name}`"):
        assert part in sentence
    text = lxml.html.fromstring(render(plan, evidence, findings)[0]).text_content()
    assert describe(plan, ROUTED) in text and "(benefit)" in describe(plan, ROUTED)


@pytest.mark.parametrize(("change", "verb"), [(0.4, "gain"), (0.0, "not shown to differ"), (-0.4, "lose")])
def test_a_benefit_router_gains_or_loses_only_where_the_interval_excludes_zero(findings, change, verb):
    (row,) = findings.benefit_routers
    benefit = replace(row.benefit, value=change, low=change - 0.01, high=change + 0.01)
    (sentence,) = benefit_router_sentences(replace(findings, benefit_routers=[replace(row, benefit=benefit)]))
    verbs = [known for known in ("gain", "not shown to differ", "lose") if f" {known} " in sentence]
    assert verbs == [verb]
