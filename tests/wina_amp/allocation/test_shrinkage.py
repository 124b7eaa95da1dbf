"""`wina_amp.allocation.shrinkage`: budgets met, never worse than pooled on held-out texts, interruptions unseen."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import pytest

from wina_amp.allocation.calibration.cost import weight_fractions
from wina_amp.allocation.kl.kl import named, stored_descent
from wina_amp.allocation.loss import descent
from wina_amp.allocation.shrinkage import FOLDS, NEGLIGIBLE, STRENGTHS, Group, shrink

FRACTION = weight_fractions([300, 100, 100, 300, 500])
POOLED = {t: np.full(len(FRACTION), t) for t in (0.3, 0.5, 0.7, 0.8)}
TEXTS = 40
STEPS = 30
BUDGET = 1e-9
ROUNDING = 1e-6
"""Of a sum of logarithms of float64 sums."""


class Texts:
    """Texts whose losses are quadratic, with sensitivities around the group's; noise makes every text another."""

    def __init__(self, sensitivity, noise, texts=TEXTS, limit=10**9, seed=0):
        rng = np.random.default_rng(seed)
        self.price = 10 * np.asarray(sensitivity) * np.exp(noise * rng.normal(size=(texts, len(FRACTION))))
        self.left = limit

    def losses(self, fold, sparsity):
        self._spend()
        return self.price[fold::FOLDS] @ (FRACTION * sparsity**2)

    def mean(self, sparsity):
        return float((self.price @ (FRACTION * sparsity**2)).mean())

    def gradients_on(self, kept):
        def gradients(sparsity, _step):
            self._spend()
            return 2 * self.price[kept].mean(axis=0) * FRACTION * sparsity

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


def _run(texts: Texts, store=None, number=TEXTS, pooled=POOLED, **options):
    folds = [partial(texts.losses, fold) for fold in range(FOLDS)]
    held_out = {target: position % FOLDS for position, target in enumerate(sorted(pooled))}

    def own(target, store):
        gradients = texts.gradients_on([text for text in range(number) if text % FOLDS != held_out[target]])
        name = f"own-{target}-fold{held_out[target]}"
        return stored_descent(pooled[target], FRACTION, target, gradients, store, name, steps=STEPS, rate=0.1)

    return shrink(Group(pooled, own, folds, held_out, number), Memory() if store is None else store, **options)


def test_a_group_unlike_the_pooled_one_gets_its_own_allocation_and_gains_by_it():
    texts = Texts([4, 1, 1, 0.2, 1], noise=0.1)
    specialised = _run(texts)
    assert [own.target for own in specialised] == sorted(POOLED)
    for own in specialised:
        assert own.strength >= 0.75
        assert FRACTION @ own.sparsity == pytest.approx(own.target, abs=BUDGET)
        held_out = texts.price[sorted(POOLED).index(own.target) % FOLDS :: FOLDS]
        assert own.loss == pytest.approx((held_out @ (FRACTION * own.sparsity**2)).mean())
        assert own.loss < 0.9 * (held_out @ (FRACTION * POOLED[own.target] ** 2)).mean()


def test_groups_whose_texts_have_nothing_in_common_stay_closer_to_the_pooled_allocation():
    def mean_strength(sensitivity, noise):
        every = (Texts(sensitivity, noise, texts=16, seed=seed) for seed in range(10))
        return np.mean([_run(texts, number=16)[0].strength for texts in every])

    assert mean_strength(np.ones(len(FRACTION)), noise=1.0) < 0.4 < 0.8 < mean_strength([4, 1, 1, 0.2, 1], noise=0.2)


@pytest.mark.parametrize("noise", [0.1, 1.0, 2.5])
def test_on_held_out_texts_no_group_is_worse_than_pooled(noise: float):
    texts, store = Texts([2, 1, 1, 0.5, 1], noise=noise, texts=16), Memory()
    specialised = _run(texts, store, number=16)
    chosen = STRENGTHS.index(specialised[0].strength)
    log_ratios = np.zeros(len(STRENGTHS))
    for position, target in enumerate(sorted(POOLED)):  # the slow sum of the docstring
        state = descent.State.from_json(store.get(named(f"own-{target}-fold{position % FOLDS}", POOLED[target])))
        own = descent.result(state, FRACTION, target)
        for number, strength in enumerate(STRENGTHS):
            between = (1 - strength) * POOLED[target] + strength * own
            held_out = range(position % FOLDS, 16, FOLDS)
            total = sum(float(texts.price[text] @ (FRACTION * between**2)) for text in held_out)
            pooled = sum(float(texts.price[text] @ (FRACTION * POOLED[target] ** 2)) for text in held_out)
            log_ratios[number] += np.log(total / pooled)
    assert log_ratios[chosen] == pytest.approx(log_ratios.min()) and log_ratios[chosen] <= ROUNDING
    if chosen == 0:
        assert all(np.array_equal(shrunk.sparsity, POOLED[shrunk.target]) for shrunk in specialised)


def test_where_the_pooled_allocation_loses_next_to_nothing_the_group_keeps_it_and_does_not_count():
    texts, store, done = Texts([4, 1, 1, 0.2, 1], noise=0.1), Memory(), []
    fraction = NEGLIGIBLE / texts.mean(POOLED[0.5])  # between the losses at 0.3 and at 0.7
    texts.price *= fraction
    by_target = {own.target: own for own in _run(texts, store, advance=done.append)}
    assert by_target[0.3].sparsity is POOLED[0.3] and not any(name.startswith("own-0.3") for name in store)
    assert by_target[0.7].sparsity is not POOLED[0.7] and by_target[0.7].strength >= 0.75
    assert sum(done) == len(POOLED)


def test_a_group_too_small_to_hold_texts_out_is_pooled():
    texts = Texts([4, 1, 1, 0.2, 1], noise=0.1, texts=2 * FOLDS - 1)
    done = []
    specialised = _run(texts, number=2 * FOLDS - 1, advance=done.append)
    assert all(own.strength == 0 and own.sparsity is POOLED[own.target] and own.loss > 0 for own in specialised)
    assert sum(done) == len(POOLED)


@pytest.mark.parametrize("limit", [3, STEPS + 2, 3 * STEPS])
def test_an_interrupted_run_ends_where_a_whole_one_does(limit: int):
    whole, store, done = _run(Texts([4, 1, 1, 0.2, 1], 0.5)), Memory(), []
    with pytest.raises(KeyboardInterrupt):
        _run(Texts([4, 1, 1, 0.2, 1], 0.5, limit=limit), store)
    again = _run(Texts([4, 1, 1, 0.2, 1], 0.5), store, advance=done.append)
    for resumed, expected in zip(again, whole, strict=True):
        np.testing.assert_array_equal(resumed.sparsity, expected.sparsity)
        assert (resumed.strength, resumed.loss) == (expected.strength, expected.loss)
    assert sum(done) == len(POOLED)


@pytest.mark.tried("keys", "recomputed")
@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({0.2: 0.2}, id="a lower target, which moves every fold"),
        pytest.param({0.7: 0.69}, id="another pooled allocation at a target"),
        pytest.param({0.5000001: 0.5}, id="a target that differs in the seventh digit"),
    ],
)
def test_values_kept_with_other_pooled_allocations_give_what_none_kept_would(changed: dict[float, float]):
    store = Memory()
    _run(Texts([4, 1, 1, 0.2, 1], 0.5), store)
    pooled = POOLED | {target: np.full(len(FRACTION), level) for target, level in changed.items()}
    kept = _run(Texts([4, 1, 1, 0.2, 1], 0.5), store, pooled=pooled)
    for resumed, expected in zip(kept, _run(Texts([4, 1, 1, 0.2, 1], 0.5), pooled=pooled), strict=True):
        np.testing.assert_array_equal(resumed.sparsity, expected.sparsity)
        assert (resumed.strength, resumed.loss) == (expected.strength, expected.loss)
