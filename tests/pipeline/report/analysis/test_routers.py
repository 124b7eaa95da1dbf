"""Router accuracy, regret and cost, against what the made-up experiment put in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.report.analysis.evidence import split_samples
from pipeline.report.analysis.routers import regret_rows, router_rows, routing_cost
from pipeline.statistics.bootstrap import Interval
from tests.pipeline.report.synthetic import ROUTER_FLOPS

CLOSE = 1e-6  # FLOPs of about 1e8 per sample in float64: differences are exact to about 1e-8 of them


@pytest.fixture(scope="module")
def order(evidence):
    return split_samples(evidence, "test").index


@pytest.fixture(scope="module")
def regrets(plan, evidence, results, order, draws):
    return regret_rows(plan, evidence, results, order, draws)


def test_the_cost_of_a_router_is_what_known_groups_save_where_it_is_right(plan, evidence, results, order):
    dense = evidence.results["dense"].set_index("sample_id").loc[order, "dense_flops"].to_numpy()
    for row in router_rows(plan, evidence):
        routed, known = results[f"clustered_{row.router}"], results["clustered_oracle"]
        is_right = routed.group == known.group
        spent = ((routed.compute - known.compute) * dense)[is_right]
        assert row.flops == pytest.approx(spent.mean(), rel=CLOSE) == ROUTER_FLOPS[row.router]
        assert row.fraction == pytest.approx((row.flops / dense).mean(), rel=CLOSE)


def test_a_cost_is_that_of_the_samples_which_the_dense_model_was_run_on(plan, evidence):
    dense = evidence.results["dense"]
    few = replace(evidence, results={**evidence.results, "dense": dense[dense["sample_id"].str.startswith("facts/")]})
    rows = few.results["dense"].query("split == 'test'")
    expected = (ROUTER_FLOPS["scores"] / rows["dense_flops"]).mean()
    assert routing_cost(plan, few, "scores") == pytest.approx((ROUTER_FLOPS["scores"], expected))


def test_regret_is_the_accuracy_of_known_groups_less_that_of_routed_groups(results, regrets):
    for row in regrets:
        gaps = results["clustered_oracle"].score.mean(axis=1) - results[row.method.name].score.mean(axis=1)
        np.testing.assert_allclose([gap.value for gap in row.at_targets], gaps, atol=1e-9)
        assert row.mean.value == pytest.approx(gaps.mean(), abs=1e-9) and row.most == row.mean.high
        assert row.elsewhere == (results["clustered_oracle"].group != results[row.method.name].group)[0].mean()


def without_known_groups(plan):
    return replace(plan, methods=tuple(method for method in plan.methods if method.name != "clustered_oracle"))


def test_where_known_groups_were_not_run_regret_is_at_most_what_was_sent_elsewhere(
    plan, evidence, results, order, draws, regrets
):
    for row, known in zip(
        regret_rows(without_known_groups(plan), evidence, results, order, draws), regrets, strict=True
    ):
        assert row.mean is None and row.at_targets == (None,) * len(plan.targets)
        assert row.most == row.elsewhere == known.elsewhere > max(gap.value for gap in known.at_targets)


def test_a_router_that_is_always_right_has_no_regret_though_known_groups_were_not_run(
    plan, evidence, results, order, draws
):
    truth = evidence.assignments["activation"].set_index("sample_id").loc[order, "group"].to_numpy()
    routed = results["clustered_scores"]
    right = {**results, "clustered_scores": replace(routed, group=np.tile(truth, (len(routed.targets), 1)))}
    row = regret_rows(without_known_groups(plan), evidence, right, order, draws)[1]
    assert row.method.groups == "scores" and row.elsewhere == 0
    assert {row.mean, *row.at_targets} == {Interval(0.0, 0.0, 0.0)}


def test_accuracy_is_the_fraction_of_prompts_that_are_sent_to_their_group(plan, evidence):
    order = split_samples(evidence, "test").index
    truth = evidence.assignments["activation"].set_index("sample_id").loc[order, "group"].to_numpy()
    for row in router_rows(plan, evidence):
        routed = evidence.routes[row.router].set_index("sample_id").loc[order, "group"].to_numpy()
        assert row.accuracy.value == pytest.approx(np.mean(truth == routed), abs=1e-9)
        assert row.largest == pytest.approx(np.bincount(truth).max() / len(truth))


def test_held_out_accuracy_is_that_of_routers_fitted_without_the_task_or_template(plan, evidence):
    truth = evidence.assignments["activation"].set_index("sample_id")["group"]
    for row in router_rows(plan, evidence):
        rows = evidence.held_out[row.router]
        for label, accuracy in (("task", row.new_task), ("template", row.new_template)):
            held_out = rows[rows["label"] == label]
            hits = truth.loc[held_out["sample_id"]].to_numpy() == held_out["group"].to_numpy()
            assert accuracy.value == pytest.approx(hits.mean(), abs=1e-9)
            assert accuracy.low < accuracy.value < accuracy.high
        assert row.new_template.value == pytest.approx(row.accuracy.value, abs=1e-9) != row.new_task.value
    none = {name: rows.iloc[:0] for name, rows in evidence.held_out.items()}
    assert router_rows(plan, replace(evidence, held_out=none))[0].new_task is None
