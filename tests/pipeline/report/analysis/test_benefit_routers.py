"""Benefits and costs of benefit routers, against the truth built into the made-up experiment."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.report.analysis.benefit_routers import benefit_router_rows
from pipeline.report.analysis.evidence import split_samples
from pipeline.report.analysis.plan import Method
from tests.pipeline.report.synthetic import DENSE_FLOPS_PER_TOKEN, GROUPS, METHODS, make_evidence, make_plan

ROUTED = Method("clustered_benefit", "clustered", "activation", "wina", "greedy", "benefit", "threshold")
OWN, OTHER = 0.3, -0.2
EXACT = 1e-9
"""Means of a few hundred numbers in float64."""


@pytest.fixture(scope="module")
def plan():
    return make_plan(methods=(*METHODS, ROUTED), benefit_routers={"benefit": "activation"})


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


def test_benefits_are_those_built_in_and_zero_for_the_pooled_profile(evidence, row) -> None:
    _, groups, routes, _ = _measured(evidence)
    benefits = np.where(routes == GROUPS, 0, np.where(routes == groups, OWN, OTHER))
    assert row.benefit.value == pytest.approx(benefits.mean(), abs=EXACT)
    assert row.benefit.low < row.benefit.value < row.benefit.high
    assert row.own.value == pytest.approx(OWN, abs=EXACT)
    test = evidence.routes["benefit"].set_index("sample_id")["group"].loc[split_samples(evidence, "test").index]
    assert row.abstained.value == pytest.approx((test == GROUPS).mean(), abs=EXACT)


def test_without_routing_the_best_group_of_the_train_samples_is_taken_or_none(plan, evidence) -> None:
    table = evidence.benefits["benefit"]
    # the benefit of every group is negative for most samples
    assert benefit_router_rows(plan, evidence)[0].constant.value == 0
    better = table.assign(benefits=[np.array([0.0, 0.5, 0.1, 0.1]) for _ in range(len(table))])
    row = benefit_router_rows(plan, replace(evidence, benefits={"benefit": better}))[0]
    assert row.constant.value == pytest.approx(0.5, abs=EXACT)


def test_held_out_tasks_are_scored_by_the_routes_of_the_benefit_router_fitted_without_them(plan, evidence, row) -> None:
    _, groups, routes, tasks = _measured(evidence)
    held_out = np.where(tasks == "sorting", (routes + 1) % GROUPS, routes)
    benefits = np.where(held_out == GROUPS, 0, np.where(held_out == groups, OWN, OTHER))
    assert row.new_task.value == pytest.approx(benefits.mean(), abs=EXACT) != row.benefit.value
    assert row.new_template.value == pytest.approx(row.benefit.value, abs=EXACT)
    none = evidence.held_out["benefit"].iloc[:0]
    assert benefit_router_rows(plan, replace(evidence, held_out={"benefit": none}))[0].new_task is None


def test_the_cost_of_a_benefit_router_is_that_of_its_routes(evidence, row) -> None:
    tokens = split_samples(evidence, "test")["n_tokens"]
    assert row.flops == pytest.approx(900)
    assert row.fraction == pytest.approx((900 / (DENSE_FLOPS_PER_TOKEN * tokens)).mean())


def test_a_benefit_router_over_random_groups_is_a_control() -> None:
    method = Method("random_benefit", "random", "random", "wina", "greedy", "benefit", "threshold")
    assert method.is_control and not method.is_routed
