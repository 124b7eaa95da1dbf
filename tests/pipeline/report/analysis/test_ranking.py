"""Pooled methods are ranked on one scale, which only methods that can be chosen influence."""

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


def test_a_method_with_fewer_targets_ranks_behind_those_with_more(plan, results):
    short = replace(results["kl"], **{name: values[:-1] for name, values in vars(results["kl"]).items()})
    assert names(ranked(plan, {**results, "kl": short}, pooled(plan)))[-1] == "kl"
    idle = {**results, "kl": replace(results["kl"], compute=np.ones_like(results["kl"].compute))}
    assert names(ranked(plan, idle, pooled(plan))) == ["greedy", "wina", "teal", "kl"]


def line(outcome, savings, gradient):
    """A method whose accuracy is 1 - gradient x saving, at targets that save `savings`."""
    saving = np.repeat(np.array(savings)[:, None], outcome.score.shape[1], axis=1)
    return replace(outcome, compute=1 - saving, score=1 - gradient * saving)


def test_differences_from_the_baseline_at_savings_of_their_pairs_would_put_the_better_method_last(plan, results):
    """`kl` is the more accurate at EVERY saving, but its pair with `greedy` is read at lower savings, where the two
    differ less; so its mean difference from the baseline is the smaller one.
    """
    changed = {**results, "dense": replace(results["dense"], score=np.ones_like(results["dense"].score))}
    changed["greedy"] = line(results["greedy"], (0.2, 0.4, 0.6, 0.8), 1.0)
    changed["wina"] = line(results["wina"], (0.2, 0.4, 0.6, 0.8), 0.5)
    changed["kl"] = line(results["kl"], (0.1, 0.2, 0.3, 0.4), 0.4)
    draws = resampler(plan, results["dense"].score.shape[1])
    pairs = [(plan.method(name), plan.method("greedy")) for name in ("wina", "kl")]
    wina, kl = compare(plan, changed, pairs, draws)
    assert wina.mean.value == pytest.approx(0.25) and kl.mean.value == pytest.approx(0.15)
    assert names(ranked(plan, changed, [plan.method("wina"), plan.method("kl")])) == ["kl", "wina"]


def test_pooled_methods_that_cannot_be_chosen_and_costly_routers_do_not_influence_the_choice(plan, results, gains):
    """At high savings `kl` is better, at low ones `greedy`: a method that lowers the common savings would decide."""
    changed = {**results, "dense": replace(results["dense"], score=np.ones_like(results["dense"].score))}
    changed["greedy"] = line(results["greedy"], (0.2, 0.4, 0.6, 0.8), 1.0)
    changed["kl"] = line(results["kl"], (0.2, 0.4, 0.6, 0.8), 1.0)
    changed["kl"].score[0], changed["kl"].score[-1] = 0.7, 0.4
    chosen = [plan.method("greedy"), plan.method("kl")]
    assert names(ranked(plan, changed, chosen)) == ["kl", "greedy"]
    changed["teal"] = line(results["teal"], (0.05, 0.1, 0.15, 0.2), 3.0)
    changed["clustered_scores"] = line(results["clustered_scores"], (0.05, 0.1, 0.15, 0.2), 1.0)
    assert names(ranked(plan, changed, [*chosen, plan.method("teal")])) == ["greedy", "kl", "teal"]
    configuration = primary(plan, changed, gains)
    assert configuration is not None and configuration.pooled == plan.method("kl")
