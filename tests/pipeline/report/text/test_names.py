"""Display names follow from profile sets, never from ids, and no two methods share one."""

from __future__ import annotations

from dataclasses import replace

from pipeline.report.text.names import describe, display_name, role
from tests.pipeline.report.synthetic import with_kl


def test_a_name_says_criterion_allocation_and_groups():
    plan = with_kl()
    names = {method.name: display_name(plan, method) for method in plan.methods}
    assert names["dense"] == "Dense" and names["teal"] == "TEAL" and names["wina"] == "WINA"
    assert names["greedy"] == "WINA + greedy" and names["kl_embedding"] == "WINA + kl, routed clusters"
    assert names["random"] == "WINA + greedy, random groups" and names["task"] == "WINA + greedy, known groups by task"


def test_ids_tell_methods_apart_that_differ_in_their_router_only(plan):
    assert display_name(plan, plan.method("clustered_scores")) == "WINA + greedy, routed clusters (clustered_scores)"
    assert len({display_name(plan, method) for method in plan.methods}) == len(plan.methods)


def test_groups_that_take_pooled_sparsities_are_named_by_their_thresholds(plan):
    taking = replace(plan.method("clustered_embedding"), name="taking", takes_allocation=True)
    both = replace(plan, methods=(*plan.methods, taking))
    assert display_name(both, taking) == "WINA + greedy, thresholds by routed clusters"


def test_masks_are_named_where_they_are_no_thresholds(plan):
    exact = replace(plan.method("greedy"), name="exact", mask="topk")
    both = replace(plan, methods=(*plan.methods, exact))
    assert display_name(both, exact) == "WINA + greedy, top-k"
    assert display_name(both, plan.method("greedy")) == "WINA + greedy"


def test_a_description_names_all_parts_of_a_profile_set(plan):
    text = describe(plan, plan.method("task"))
    for part in (
        "L2 norm of its weight column",
        "above a calibrated threshold",
        "per task label",
        "greedily by output",
    ):
        assert part in text


def test_roles_follow_from_groups(plan):
    roles = {method.name: role(plan, method) for method in plan.methods}
    assert roles | {
        "dense": "reference", "greedy": "baseline", "wina": "pooled", "random": "control", "clustered_scores": "routed",
        "clustered_oracle": "oracle groups", "task": "label groups",
    } == roles  # fmt: skip
