"""Router accuracy, regret and cost, against what the made-up experiment put in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.report.analysis.evidence import outcomes, split_samples
from pipeline.report.analysis.resampling import resampler
from pipeline.report.analysis.routers import regret_rows, router_rows
from tests.pipeline.report.synthetic import ROUTER_FLOPS

CLOSE = 1e-6  # FLOPs of about 1e8 per sample in float64: differences are exact to about 1e-8 of them


@pytest.fixture(scope="module")
def results(plan, evidence):
    return outcomes(plan, evidence, "test")


@pytest.fixture(scope="module")
def draws(plan, results):
    return resampler(plan, results["dense"].score.shape[1])


def test_the_cost_of_a_router_is_read_off_the_results(plan, results, draws):
    costs = {row.method.groups: row.flops for row in regret_rows(plan, results, draws)}
    for router, flops in ROUTER_FLOPS.items():
        assert costs[router] == pytest.approx(flops, rel=CLOSE)


def test_a_router_that_is_never_right_has_no_cost_to_read(plan, results, draws):
    wrong = replace(results["clustered_scores"], group=results["clustered_oracle"].group + 1)
    rows = {r.method.groups: r for r in regret_rows(plan, {**results, "clustered_scores": wrong}, draws)}
    assert rows["scores"].flops is None
    assert rows["scores"].fraction is None
    assert rows["embedding"].flops is not None


def test_regret_is_the_accuracy_of_oracle_groups_less_that_of_routed_groups(plan, results, draws):
    for row in regret_rows(plan, results, draws):
        gaps = results[row.oracle.name].score.mean(axis=1) - results[row.method.name].score.mean(axis=1)
        np.testing.assert_allclose([gap.value for gap in row.at_targets], gaps, atol=1e-9)
        assert row.mean.value == pytest.approx(gaps.mean(), abs=1e-9)


def test_accuracy_is_the_fraction_of_prompts_that_are_sent_to_their_group(plan, evidence, draws):
    order = split_samples(evidence, "test").index
    truth = evidence.assignments["activation"].set_index("sample_id").loc[order, "group"].to_numpy()
    for row in router_rows(plan, evidence, "test", draws):
        routed = evidence.routes[row.router].set_index("sample_id").loc[order, "group"].to_numpy()
        assert row.accuracy.value == pytest.approx(np.mean(truth == routed), abs=1e-9)
        assert row.largest == pytest.approx(np.bincount(truth).max() / len(truth))


def test_held_out_accuracy_is_that_of_routers_fitted_without_the_task_or_template(plan, evidence, draws):
    truth = evidence.assignments["activation"].set_index("sample_id")["group"]
    for row in router_rows(plan, evidence, "test", draws):
        rows = evidence.held_out[row.router]
        for label, accuracy in (("task", row.new_task), ("template", row.new_template)):
            held_out = rows[rows["label"] == label]
            hits = truth.loc[held_out["sample_id"]].to_numpy() == held_out["group"].to_numpy()
            assert accuracy.value == pytest.approx(hits.mean(), abs=1e-9)
            assert accuracy.low < accuracy.value < accuracy.high
        assert row.new_template.value == pytest.approx(row.accuracy.value, abs=1e-9) != row.new_task.value
    none = {name: rows.iloc[:0] for name, rows in evidence.held_out.items()}
    assert router_rows(plan, replace(evidence, held_out=none), "test", draws)[0].new_task is None
    train = resampler(plan, len(split_samples(evidence, "train")))
    assert router_rows(plan, evidence, "train", train)[0].new_task is None  # test samples alone are routed so
