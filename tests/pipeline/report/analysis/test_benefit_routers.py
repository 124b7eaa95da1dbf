"""What benefit routers choose and bring, against what the made-up experiment put in, and in words."""

from __future__ import annotations

from dataclasses import replace

import lxml.html
import numpy as np
import pytest

from pipeline.report.analysis.benefit_routers import benefit_router_rows
from pipeline.report.analysis.evidence import split_samples
from pipeline.report.analysis.findings import find
from pipeline.report.analysis.plan import Method
from pipeline.report.exports.metrics import metrics
from pipeline.report.page.page import render
from pipeline.report.text.benefit_routers import benefit_router_sentences
from pipeline.report.text.verdicts import verdicts
from tests.pipeline.report.synthetic import DENSE_FLOPS_PER_TOKEN, GROUPS, METHODS, make_evidence, make_plan

GATED = Method("clustered_benefit", "clustered", "activation", "wina", "greedy", "benefit", "threshold")
OWN, OTHER = 0.3, -0.2
EXACT = 1e-9
"""Means of a few hundred numbers in float64."""


@pytest.fixture(scope="module")
def plan():
    return make_plan(methods=(*METHODS, GATED), benefit_routers={"benefit": "activation"})


@pytest.fixture(scope="module")
def evidence(plan):
    return make_evidence(train=8, test=24, plan=plan)


@pytest.fixture(scope="module")
def row(plan, evidence):
    return benefit_router_rows(plan, evidence)[0]


def _measured(evidence):
    """Test samples that were measured, with their groups, routes and tasks."""
    rows = evidence.benefits["benefit"]
    rows = rows[rows["split"] == "test"].set_index("sample_id")
    groups = evidence.assignments["activation"].set_index("sample_id")["group"].loc[rows.index]
    routes = evidence.routes["benefit"].set_index("sample_id")["group"].loc[rows.index]
    return rows, groups, routes, split_samples(evidence, "test")["task"].loc[rows.index]


def test_choices_bring_what_was_put_in_and_the_pooled_profile_nothing(evidence, row) -> None:
    _, groups, routes, _ = _measured(evidence)
    brought = np.where(routes == GROUPS, 0, np.where(routes == groups, OWN, OTHER))
    assert row.brings.value == pytest.approx(brought.mean(), abs=EXACT)
    assert row.brings.low < row.brings.value < row.brings.high
    assert row.own.value == pytest.approx(OWN, abs=EXACT)
    test = evidence.routes["benefit"].set_index("sample_id")["group"].loc[split_samples(evidence, "test").index]
    assert row.abstained.value == pytest.approx((test == GROUPS).mean(), abs=EXACT)


def test_without_routing_the_best_group_of_the_train_samples_is_taken_or_none(plan, evidence) -> None:
    table = evidence.benefits["benefit"]
    assert benefit_router_rows(plan, evidence)[0].constant.value == 0  # every group takes away from most samples
    better = table.assign(benefits=[np.array([0.0, 0.5, 0.1, 0.1]) for _ in range(len(table))])
    found = benefit_router_rows(plan, replace(evidence, benefits={"benefit": better}))[0]
    assert found.constant.value == pytest.approx(0.5, abs=EXACT)


def test_a_task_that_was_not_met_is_judged_by_the_routes_of_the_gate_that_has_not_met_it(plan, evidence, row) -> None:
    _, groups, routes, tasks = _measured(evidence)
    unmet = np.where(tasks == "sorting", (routes + 1) % GROUPS, routes)
    brought = np.where(unmet == GROUPS, 0, np.where(unmet == groups, OWN, OTHER))
    assert row.new_task.value == pytest.approx(brought.mean(), abs=EXACT) != row.brings.value
    assert row.new_template.value == pytest.approx(row.brings.value, abs=EXACT)
    none = evidence.held_out["benefit"].iloc[:0]
    assert benefit_router_rows(plan, replace(evidence, held_out={"benefit": none}))[0].new_task is None


def test_a_gate_costs_what_its_routes_say(evidence, row) -> None:
    tokens = split_samples(evidence, "test")["n_tokens"]
    assert row.flops == pytest.approx(900)
    assert row.fraction == pytest.approx((900 / (DENSE_FLOPS_PER_TOKEN * tokens)).mean())


def test_gates_are_on_the_page_in_the_verdict_and_in_the_metrics(plan, evidence, unrendered) -> None:
    findings = find(plan, evidence)
    html, _ = render(plan, evidence, findings)
    text = lxml.html.fromstring(html).text_content()
    assert (
        "Benefit routers, test split" in text
        and "a benefit router (gate) picks the group that it expects to do best" in text
    )
    (sentence,) = benefit_router_sentences(findings)
    assert sentence.startswith("`gate` leaves 2") and "its choices gain against always pooled" in sentence
    assert "`clustered_gate` has a regret of" in sentence
    answer = next(one for one in verdicts(plan, findings) if one.key == "RQ3")
    assert answer.sentences[-1] == sentence
    found = metrics(plan, findings)
    assert found["benefit_router.benefit.benefit"] == pytest.approx(findings.benefit_routers[0].brings.value, abs=1e-6)
    assert found["router.embedding.accuracy.new_task"] < found["router.embedding.accuracy"]


def test_a_gate_that_brings_nothing_is_said_not_to_gain_and_one_that_harms_to_lose(plan, evidence) -> None:
    findings = find(plan, evidence)
    (row,) = findings.benefit_routers
    for change, words in ((0.0, "are not shown to gain or lose"), (-0.4, "lose")):
        brings = replace(row.brings, value=change, low=change - 0.01, high=change + 0.01)
        (sentence,) = benefit_router_sentences(replace(findings, benefit_routers=[replace(row, brings=brings)]))
        assert f"its choices {words} against" in sentence


def test_a_gate_over_random_groups_is_a_control() -> None:
    method = Method("random_benefit", "random", "random", "wina", "greedy", "benefit", "threshold")
    assert method.is_control and not method.is_routed
