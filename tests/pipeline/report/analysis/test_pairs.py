"""Every comparison is made once, on its own configuration where possible."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.report.analysis.pairs import baseline_pairs, check_replicates, control_pairs, gain_pairs
from pipeline.statistics.significance import bootstrap_p
from tests.pipeline.report.synthetic import with_kl
from wina_amp.errors import UserError
from wina_amp.names import ACTIVATION_RANDOM_SCHEMES


def names(pairs):
    return {(method.name, reference.name) for method, reference in pairs}


def test_grouped_methods_are_compared_with_the_pooled_one_of_their_configuration_one_family_each():
    greedy, kl = gain_pairs(with_kl())
    grouped = ("clustered_oracle", "clustered_embedding", "clustered_scores", "task", "random")
    assert names(greedy) == {(name, "greedy") for name in grouped}
    assert names(kl) == {(name, "kl") for name in ("kl_oracle", "kl_embedding", "kl_random")}


def test_no_pair_is_compared_twice_and_every_sparse_method_is_compared_with_the_baseline_once():
    plan = with_kl()
    gains = [pair for pairs in gain_pairs(plan) for pair in pairs]
    differences = baseline_pairs(plan)
    assert not set(gains) & set(differences)
    compared = [method for method, reference in gains + differences if reference.name == plan.baseline]
    assert sorted(method.name for method in compared) == sorted(m.name for m in plan.sparse if m.name != plan.baseline)


def test_a_configuration_without_a_pooled_method_has_no_gains_but_is_compared_with_the_baseline():
    plan = with_kl()
    plan = replace(plan, methods=tuple(method for method in plan.methods if method.name != "kl"))
    assert len(gain_pairs(plan)) == 1
    assert ("kl_embedding", "greedy") in names(baseline_pairs(plan))


def test_controls_pair_grouped_methods_with_random_groups_of_the_same_configuration():
    greedy, kl = control_pairs(with_kl())
    grouped = ("clustered_oracle", "clustered_embedding", "clustered_scores", "task")
    assert names(greedy) == {(name, "random") for name in grouped}
    assert names(kl) == {("kl_oracle", "kl_random"), ("kl_embedding", "kl_random")}


def test_another_kind_of_mask_is_another_configuration(plan):
    topk = replace(plan.method("random"), name="exact", mask="topk")
    wide = replace(plan, methods=(*plan.methods, topk))
    assert len(control_pairs(wide)) == 1 and ("exact", "greedy") in names(baseline_pairs(wide))


def test_every_draw_of_the_random_control_is_a_control(plan):
    draws = [
        replace(plan.method("random"), name=name, scheme=name, profile=name) for name in ACTIVATION_RANDOM_SCHEMES[1:]
    ]
    wide = replace(plan, methods=(*plan.methods, *draws))
    (pairs,) = control_pairs(wide)
    assert {control.name for _, control in pairs} == set(ACTIVATION_RANDOM_SCHEMES)
    assert not any(method.is_control for method, _ in pairs)


def test_replicates_that_cannot_resolve_a_corrected_p_value_are_refused(plan):
    message = (
        r"p-value below 0\.05, corrected for 5 comparisons\. Found: 100.*`report\.bootstrap`.*set it to 20\d or more"
    )
    with pytest.raises(UserError, match=message):
        check_replicates(replace(plan, bootstrap=100))
    check_replicates(replace(plan, bootstrap=201))
    check_replicates(replace(plan, bootstrap=100, methods=plan.methods[:4]))  # two comparisons
    assert 5 * bootstrap_p(np.ones(201)) < plan.alpha
