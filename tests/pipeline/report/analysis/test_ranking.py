"""Pooled methods are put in order on one scale, which only those that can be chosen have a say in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.report.analysis.accuracy import compare
from pipeline.report.analysis.evidence import outcomes
from pipeline.report.analysis.findings import find
from pipeline.report.analysis.ranking import primary, ranked
from pipeline.report.analysis.resampling import resampler
from tests.pipeline.report.synthetic import make_evidence, with_kl


@pytest.fixture(scope="module")
def plan():
    return with_kl()


@pytest.fixture(scope="module")
def evidence(plan):
    return make_evidence(2, 24, plan=plan)


@pytest.fixture(scope="module")
def results(plan, evidence):
    return outcomes(plan, evidence, "test")


@pytest.fixture(scope="module")
def gains(plan, evidence):
    return find(plan, evidence).test.gains


def pooled(plan):
    return [method for method in plan.sparse if method.is_pooled]


def names(methods):
    return [method.name for method in methods]


def test_the_best_pooled_method_with_routed_groups_decides(plan, results, gains):
    assert names(ranked(plan, results, pooled(plan))) == ["kl", "greedy", "wina", "teal"]
    configuration = primary(plan, results, gains)
    assert configuration is not None and configuration.pooled == plan.method("kl")
    configuration = primary(plan, results, [row for row in gains if row.method.name != "kl_embedding"])
    assert configuration is not None and configuration.pooled == plan.method("greedy")
    assert primary(plan, results, []) is None


def test_a_method_that_has_fewer_levels_stands_behind_those_that_have_more(plan, results):
    short = replace(results["kl"], **{name: getattr(results["kl"], name)[:-1] for name in vars(results["kl"])})
    assert names(ranked(plan, {**results, "kl": short}, pooled(plan)))[-1] == "kl"
    idle = {**results, "kl": replace(results["kl"], compute=np.ones_like(results["kl"].compute))}
    assert names(ranked(plan, idle, pooled(plan))) == ["greedy", "wina", "teal", "kl"]


def line(outcome, savings, gradient):
    """A method whose accuracy is 1 - gradient x saving, at targets that save `savings`."""
    saving = np.repeat(np.array(savings)[:, None], outcome.score.shape[1], axis=1)
    return replace(outcome, compute=1 - saving, score=1 - gradient * saving)


def test_differences_from_the_baseline_at_levels_of_their_pairs_would_put_the_better_method_last(plan, results):
    """`kl` is the more accurate at EVERY saving, but its pair with `greedy` is read at lower savings, where the two
    differ less; so its mean difference from the baseline is the smaller one.
    """
    made = {**results, "dense": replace(results["dense"], score=np.ones_like(results["dense"].score))}
    made["greedy"] = line(results["greedy"], (0.2, 0.4, 0.6, 0.8), 1.0)
    made["wina"] = line(results["wina"], (0.2, 0.4, 0.6, 0.8), 0.5)
    made["kl"] = line(results["kl"], (0.1, 0.2, 0.3, 0.4), 0.4)
    draws = resampler(plan, results["dense"].score.shape[1])
    pairs = [(plan.method(name), plan.method("greedy")) for name in ("wina", "kl")]
    wina, kl = compare(plan, made, pairs, draws)
    assert wina.mean.value == pytest.approx(0.25) and kl.mean.value == pytest.approx(0.15)
    assert names(ranked(plan, made, [plan.method("wina"), plan.method("kl")])) == ["kl", "wina"]


def test_a_pooled_method_that_cannot_be_chosen_and_a_costly_router_have_no_say(plan, results, gains):
    """At high savings `kl` is better, at low ones `greedy`: whoever pulls levels down would choose."""
    made = {**results, "dense": replace(results["dense"], score=np.ones_like(results["dense"].score))}
    made["greedy"] = line(results["greedy"], (0.2, 0.4, 0.6, 0.8), 1.0)
    made["kl"] = line(results["kl"], (0.2, 0.4, 0.6, 0.8), 1.0)
    made["kl"].score[0], made["kl"].score[-1] = 0.7, 0.4
    chosen = [plan.method("greedy"), plan.method("kl")]
    assert names(ranked(plan, made, chosen)) == ["kl", "greedy"]
    made["teal"] = line(results["teal"], (0.05, 0.1, 0.15, 0.2), 3.0)
    made["clustered_scores"] = line(results["clustered_scores"], (0.05, 0.1, 0.15, 0.2), 1.0)
    assert names(ranked(plan, made, [*chosen, plan.method("teal")])) == ["greedy", "kl", "teal"]
    configuration = primary(plan, made, gains)
    assert configuration is not None and configuration.pooled == plan.method("kl")
