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
from pipeline.report.analysis.plan import Method
from tests.pipeline.report.synthetic import with_kl
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
