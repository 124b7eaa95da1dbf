"""Places on the table of configurations follow from profile sets and sources of groups, never from names."""

from __future__ import annotations

from dataclasses import replace

from pipeline.report.analysis.configurations import (
    CRITERION_NAMES,
    MASK_NAMES,
    configuration_name,
    configurations,
    group_kind,
    pooled_of,
)
from pipeline.report.analysis.findings import find
from pipeline.report.analysis.plan import Method
from pipeline.report.page.configuration_table import configuration_table
from pipeline.report.text.wording import level_span
from tests.pipeline.report.synthetic import make_evidence, with_kl
from wina_amp.names import CRITERIA, MASKS


def test_rungs_hold_pooled_first_then_controls_given_true_and_routed_groups():
    plan = with_kl()
    assert [configuration_name(plan, configuration) for configuration in configurations(plan)] == [
        "TEAL, uniform", "WINA, uniform", "WINA, greedy", "WINA, kl",
    ]  # fmt: skip
    greedy = configurations(plan)[2]
    names = ["greedy", "random", "task", "clustered_oracle", "clustered_embedding", "clustered_scores"]
    assert [method.name for method in greedy.methods] == names
    assert greedy.pooled is plan.method("greedy") and [m.name for m in greedy.controls] == ["random"]


def test_names_play_no_part():
    plan = with_kl()
    shuffled = [f"m{number}" for number in range(len(plan.methods))]
    renamed = tuple(replace(method, name=name) for method, name in zip(plan.methods, shuffled, strict=True))
    baseline = shuffled[[method.name for method in plan.methods].index(plan.baseline)]
    other = replace(plan, methods=renamed, baseline=baseline)
    kinds = [[group_kind(method) for method in configuration.methods] for configuration in configurations(plan)]
    assert [
        [group_kind(method) for method in configuration.methods] for configuration in configurations(other)
    ] == kinds
    assert kinds[3] == ["pooled", "random groups", "learned groups, true", "routed by embedding"]


def test_a_router_or_scheme_that_nobody_has_heard_of_has_a_place():
    gate = Method("x", "p", "activation", "wina", "kl", "benefit", "threshold")
    assert group_kind(gate) == "routed by benefit"
    assert group_kind(replace(gate, scheme="template", groups="assigned")) == "template groups, given"
    assert group_kind(replace(gate, scheme="random2", groups="assigned")) == "random groups, draw 3"


def test_every_criterion_and_mask_has_a_name():
    assert set(CRITERION_NAMES) == set(CRITERIA) and set(MASK_NAMES) == set(MASKS)


def test_masks_are_named_only_where_they_differ(plan):
    exact = replace(plan.method("greedy"), name="exact", mask="topk")
    assert configuration_name(plan, configurations(plan)[0]) == "TEAL, uniform"
    wide = replace(plan, methods=(*plan.methods, exact))
    assert [configuration_name(wide, configuration) for configuration in configurations(wide)][
        -1
    ] == "WINA, greedy, top-k"
    assert pooled_of(wide, wide.method("task")) == wide.method("greedy")
    assert pooled_of(wide, exact) is None is pooled_of(wide, wide.dense)


def test_the_ladder_shows_every_sparse_method_once_and_marks_the_best_of_a_column():
    plan = with_kl()
    test = find(plan, make_evidence(2, 12, plan=plan)).test
    table = configuration_table(plan, test)
    assert table is not None
    assert sorted(row["method"] for row in table["rows"]) == sorted(method.name for method in plan.sparse)
    assert sum(row["span"] for row in table["rows"] if row["configuration"]) == len(plan.sparse)
    for at, target in enumerate(plan.targets):
        found = {p.method.name: p.accuracy.value for p in test.points if p.target == target and not p.method.is_dense}
        marked = [row["method"] for row in table["rows"] if row["cells"][at]["best"]]
        assert marked and all(found[name] == max(found.values()) for name in marked)
    pooled = [row for row in table["rows"] if row["kind"] == "pooled"]
    assert all(row["gain"] is None for row in pooled)
    spans = {row.method.name: level_span(row.levels) for row in test.gains}
    assert {row["method"]: row["gain"]["at"] for row in table["rows"] if row not in pooled} == spans
