"""Configurations and positions in them follow from profile sets and sources of groups, never from names."""

from __future__ import annotations

from dataclasses import replace

from pipeline.report.analysis.configurations import (
    CRITERION_NAMES,
    MASK_NAMES,
    configuration_name,
    configuration_of,
    configurations,
    group_kind,
)
from pipeline.report.analysis.findings import find
from pipeline.report.analysis.plan import Method
from pipeline.report.page.configuration_table import configuration_table
from pipeline.report.text.wording import compute_range
from tests.pipeline.report.synthetic import make_evidence, with_kl
from wina_amp.names import CRITERIA, MASKS


def test_a_configuration_holds_pooled_first_then_controls_label_oracle_and_routed_groups():
    plan = with_kl()
    assert [configuration_name(plan, configuration) for configuration in configurations(plan)] == [
        "TEAL, uniform", "WINA, uniform", "WINA, greedy", "WINA, kl",
    ]  # fmt: skip
    greedy = configurations(plan)[2]
    names = ["greedy", "random", "task", "clustered_oracle", "clustered_embedding", "clustered_scores"]
    assert [method.name for method in greedy.methods] == names
    assert greedy.pooled is plan.method("greedy") and [m.name for m in greedy.controls] == ["random"]


def test_method_names_do_not_matter():
    plan = with_kl()
    shuffled = [f"m{number}" for number in range(len(plan.methods))]
    renamed = tuple(replace(method, name=name) for method, name in zip(plan.methods, shuffled, strict=True))
    baseline = shuffled[[method.name for method in plan.methods].index(plan.baseline)]
    other = replace(plan, methods=renamed, baseline=baseline)
    kinds = [[group_kind(method) for method in configuration.methods] for configuration in configurations(plan)]
    renamed_kinds = [
        [group_kind(method) for method in configuration.methods] for configuration in configurations(other)
    ]
    assert renamed_kinds == kinds
    assert kinds[3] == ["pooled", "random groups", "oracle groups", "routed by embedding"]


def test_new_routers_and_schemes_are_described():
    routed = Method("x", "p", "activation", "wina", "kl", "benefit", "threshold")
    assert group_kind(routed) == "routed by benefit"
    assert group_kind(replace(routed, scheme="template", groups="assigned")) == "label groups (template)"
    assert group_kind(replace(routed, scheme="gradient", groups="assigned")) == "oracle groups (gradient)"
    assert group_kind(replace(routed, scheme="random2", groups="assigned")) == "random groups, draw 3"


def test_every_criterion_and_mask_has_a_name():
    assert set(CRITERION_NAMES) == set(CRITERIA) and set(MASK_NAMES) == set(MASKS)


def test_masks_are_named_only_where_they_differ(plan):
    exact = replace(plan.method("greedy"), name="exact", mask="topk")
    assert configuration_name(plan, configurations(plan)[0]) == "TEAL, uniform"
    wide = replace(plan, methods=(*plan.methods, exact))
    assert configuration_name(wide, configurations(wide)[-1]) == "WINA, greedy, top-k"
    assert configuration_of(wide, wide.method("task")).pooled == wide.method("greedy")
    assert configuration_of(wide, exact).pooled is exact


def test_the_table_of_configurations_shows_every_sparse_method_once_and_marks_the_best_of_a_column():
    plan = with_kl()
    test = find(plan, make_evidence(2, 12, plan=plan)).test
    table = configuration_table(plan, test)
    assert table is not None
    assert sorted(row["method"] for row in table["rows"]) == sorted(method.name for method in plan.sparse)
    assert sum(row["span"] for row in table["rows"] if row["configuration"]) == len(plan.sparse)
    for at, target in enumerate(plan.targets):
        accuracies = {
            p.method.name: p.accuracy.value for p in test.points if p.target == target and not p.method.is_dense
        }
        marked = [row["method"] for row in table["rows"] if row["cells"][at]["best"]]
        assert marked and all(accuracies[name] == max(accuracies.values()) for name in marked)
    pooled = [row for row in table["rows"] if row["kind"] == "pooled"]
    assert all(row["gain"] is None for row in pooled)
    spans = {row.method.name: compute_range(row.savings) for row in test.gains}
    assert {row["method"]: row["gain"]["at"] for row in table["rows"] if row not in pooled} == spans
