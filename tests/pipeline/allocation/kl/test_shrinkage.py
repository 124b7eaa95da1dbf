"""`pipeline.allocation.kl.shrinkage`: budgets met, never worse than pooled on held-out texts, interruptions unseen."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import pytest

from pipeline.allocation.kl.shrinkage import FOLDS, NEGLIGIBLE, STRENGTHS, Group, specialise, work
from pipeline.allocation.loss import descent

COSTS = [300, 100, 100, 300, 500]
SHARE = np.array(COSTS) / sum(COSTS)
POOLED = {t: np.full(len(COSTS), t) for t in (0.3, 0.5, 0.7, 0.8)}
TEXTS = 40
STEPS = 30
BUDGET = 1e-9
ROUNDING = 1e-6
"""Of a sum of logarithms of float64 sums."""


class Texts:
    """Texts whose losses are quadratic, with sensitivities around the group's; noise makes every text another."""

    def __init__(self, sensitivity, noise, texts=TEXTS, limit=10**9, seed=0):
        rng = np.random.default_rng(seed)
        self.price = 10 * np.asarray(sensitivity) * np.exp(noise * rng.normal(size=(texts, len(COSTS))))
        self.left = limit

    def losses(self, fold, sparsity):
        self._spend()
        return self.price[fold::FOLDS] @ (SHARE * sparsity**2)

    def mean(self, sparsity):
        return float((self.price @ (SHARE * sparsity**2)).mean())

    def gradients_on(self, kept):
        def gradients(sparsity, _step):
            self._spend()
            return 2 * self.price[kept].mean(axis=0) * SHARE * sparsity

        return gradients

    def _spend(self):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt


class Memory(dict):
    """A store that keeps JSON, as files do."""

    def get(self, name):
        return json.loads(self[name]) if name in self else None

    def put(self, name, value):
        self[name] = json.dumps(value)


def _run(texts: Texts, store=None, number=TEXTS, **options):
    folds = [partial(texts.losses, fold) for fold in range(FOLDS)]
    group = Group(POOLED, COSTS, folds, texts.gradients_on, texts=number, steps=STEPS, rate=0.1)
    return specialise(group, Memory() if store is None else store, **options)


def test_a_group_unlike_the_pooled_one_goes_its_own_way_and_gains_by_it():
    texts = Texts([4, 1, 1, 0.2, 1], noise=0.1)
    found = _run(texts)
    assert [one.target for one in found] == sorted(POOLED)
    for one in found:
        assert one.strength >= 0.75
        assert SHARE @ one.sparsity == pytest.approx(one.target, abs=BUDGET)
        held_out = texts.price[sorted(POOLED).index(one.target) % FOLDS :: FOLDS]
        assert one.loss == pytest.approx((held_out @ (SHARE * one.sparsity**2)).mean())
        assert one.loss < 0.9 * (held_out @ (SHARE * POOLED[one.target] ** 2)).mean()


def test_groups_whose_texts_have_nothing_in_common_stay_closer_to_the_pooled_allocation():
    def mean_strength(sensitivity, noise):
        every = (Texts(sensitivity, noise, texts=16, seed=seed) for seed in range(10))
        return np.mean([_run(one, number=16)[0].strength for one in every])

    assert mean_strength(np.ones(len(COSTS)), noise=1.0) < 0.4 < 0.8 < mean_strength([4, 1, 1, 0.2, 1], noise=0.2)


@pytest.mark.parametrize("noise", [0.1, 1.0, 2.5])
def test_on_held_out_texts_no_group_is_worse_than_pooled(noise: float):
    texts, store = Texts([2, 1, 1, 0.5, 1], noise=noise, texts=16), Memory()
    found = _run(texts, store, number=16)
    chosen = STRENGTHS.index(found[0].strength)
    votes = np.zeros(len(STRENGTHS))
    for position, target in enumerate(sorted(POOLED)):  # the slow sum of the docstring
        state = descent.State.from_json(store.get(f"own-{target:g}"))
        own = descent.result(state, SHARE, target)
        for number, strength in enumerate(STRENGTHS):
            logit = (1 - strength) * np.log(target / (1 - target)) + strength * np.log(own / (1 - own))
            between = descent.allocation(logit, SHARE, target)
            held_out = range(position % FOLDS, 16, FOLDS)
            total = sum(float(texts.price[text] @ (SHARE * between**2)) for text in held_out)
            pooled = sum(float(texts.price[text] @ (SHARE * POOLED[target] ** 2)) for text in held_out)
            votes[number] += np.log(total / pooled)
    assert votes[chosen] == pytest.approx(votes.min()) and votes[chosen] <= ROUNDING
    if chosen == 0:
        assert all(np.array_equal(one.sparsity, POOLED[one.target]) for one in found)


def test_where_the_pooled_allocation_loses_next_to_nothing_the_group_keeps_it_and_does_not_vote():
    texts, store, done = Texts([4, 1, 1, 0.2, 1], noise=0.1), Memory(), []
    fraction = NEGLIGIBLE / texts.mean(POOLED[0.5])  # between the losses at 0.3 and at 0.7
    texts.price *= fraction
    found = {one.target: one for one in _run(texts, store, advance=done.append)}
    assert found[0.3].sparsity is POOLED[0.3] and "own-0.3" not in store
    assert found[0.7].sparsity is not POOLED[0.7] and found[0.7].strength >= 0.75
    assert sum(done) == work(len(POOLED), STEPS)


def test_a_group_too_small_to_hold_texts_out_is_pooled():
    texts = Texts([4, 1, 1, 0.2, 1], noise=0.1, texts=2 * FOLDS - 1)
    done = []
    found = _run(texts, number=2 * FOLDS - 1, advance=done.append)
    assert all(one.strength == 0 and one.sparsity is POOLED[one.target] and one.loss > 0 for one in found)
    assert sum(done) == work(len(POOLED), STEPS)


@pytest.mark.parametrize("limit", [3, STEPS + 2, 3 * STEPS])
def test_an_interrupted_run_ends_where_a_whole_one_does(limit: int):
    whole, store, done = _run(Texts([4, 1, 1, 0.2, 1], 0.5)), Memory(), []
    with pytest.raises(KeyboardInterrupt):
        _run(Texts([4, 1, 1, 0.2, 1], 0.5, limit=limit), store)
    again = _run(Texts([4, 1, 1, 0.2, 1], 0.5), store, advance=done.append)
    for one, expected in zip(again, whole, strict=True):
        np.testing.assert_array_equal(one.sparsity, expected.sparsity)
        assert (one.strength, one.loss) == (expected.strength, expected.loss)
    assert sum(done) == work(len(POOLED), STEPS)
