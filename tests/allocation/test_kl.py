"""`pipeline.allocation.kl`: budgets met, never worse than its start, the same whether interrupted or not."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pipeline.allocation import descent
from pipeline.allocation.kl import LEVELS, NEGLIGIBLE, Descent, at_target, curve, kl, settled, work
from pipeline.allocation.knapsack import allocate

COSTS = [36864, 12288, 12288, 36864, 98304, 98304, 98304]
TARGETS = (0.25, 0.5, 0.75)
ROUNDING = 1e-9
"""The end of the bisection that meets budgets."""


class Interacting:
    """Losses that add up and interact; raises KeyboardInterrupt after a number of losses."""

    costs = COSTS

    def __init__(self, limit: int = 10**9):
        rng = np.random.default_rng(3)
        self.slope = rng.uniform(0.2, 2, len(COSTS))
        self.mixed = rng.uniform(0, 1, (len(COSTS), len(COSTS)))
        self.left = limit

    def loss(self, sparsity: np.ndarray) -> float:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return float(self.slope @ sparsity**2 + sparsity**2 @ self.mixed @ sparsity**2)

    def slopes(self, sparsity: np.ndarray, _step: int) -> np.ndarray:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        mixed = (self.mixed + self.mixed.T) @ sparsity**2
        return 2 * sparsity * (self.slope + mixed)


class Memory(dict):
    """A store that keeps JSON, as files do."""

    def get(self, name):
        return json.loads(self[name]) if name in self else None

    def put(self, name, value):
        self[name] = json.dumps(value)


def _run(objective: Interacting, store: Memory, steps: int = 60):
    return list(kl(objective, objective, objective.slopes, TARGETS, store, steps=steps, rate=0.1))


def test_every_target_is_met_at_a_loss_that_the_descent_lowers():
    objective = Interacting()
    found, plain = _run(objective, Memory()), _run(Interacting(), Memory(), steps=0)
    assert [one.target for one in found] == sorted(TARGETS)
    for one, start in zip(found, plain, strict=True):
        assert np.average(one.sparsity, weights=COSTS) == pytest.approx(one.target, abs=ROUNDING)
        assert one.loss == pytest.approx(objective.loss(one.sparsity))
        assert one.loss < start.loss


def test_a_descent_that_ends_above_its_start_is_not_taken():
    objective = Interacting()
    uphill = kl(objective, objective, lambda s, k: -objective.slopes(s, k), TARGETS, Memory(), steps=60, rate=0.1)
    for one, start in zip(uphill, _run(Interacting(), Memory(), steps=0), strict=True):
        np.testing.assert_array_equal(one.sparsity, start.sparsity)
        assert one.loss == start.loss


class Prefers(Interacting):
    """Loses by the distance from the allocation it likes."""

    def __init__(self, liked: np.ndarray) -> None:
        super().__init__()
        self.liked = liked

    def loss(self, sparsity: np.ndarray) -> float:
        return float(np.abs(sparsity - self.liked).sum())


def test_start_end_and_the_mean_with_the_neighbours_are_chosen_from_by_the_judge():
    objective, share = Interacting(), np.array(COSTS) / sum(COSTS)
    curves = [curve(objective, number, Memory()) for number in range(len(COSTS))]
    descents = [
        at_target(objective, curves, objective.slopes, target, Memory(), steps=60, rate=0.1) for target in TARGETS
    ]
    logits = [np.log(one.end) - np.log1p(-one.end) for one in descents]
    around = np.clip(logits, -descent.LIMIT, descent.LIMIT)
    for place, one in enumerate(descents):
        choices = [one.start, one.end]
        if place == 1:
            choices.append(descent.allocation(around.mean(axis=0), share, one.target))
        for liked in choices:
            judge = Prefers(liked)
            found = settled(judge, descents, place, Memory())
            np.testing.assert_allclose(found.sparsity, liked, atol=ROUNDING)
            assert found.loss == judge.loss(found.sparsity) <= min(map(judge.loss, choices)) + ROUNDING
            assert np.average(found.sparsity, weights=COSTS) == pytest.approx(found.target, abs=ROUNDING)
        assert min(np.abs(a - b).max() for i, a in enumerate(choices) for b in choices[:i]) > 1e-3  # they do differ


def test_the_mean_is_only_asked_for_between_two_neighbours_of_a_descent():
    objective = Interacting()
    still = [Descent(target, one, one) for target, one in ((0.25, np.full(7, 0.25)), (0.5, np.full(7, 0.5)))]
    for place, one in enumerate(still):
        found = settled(objective, [*still, Descent(0.75, np.full(7, 0.75), np.full(7, 0.75))], place, Memory())
        np.testing.assert_array_equal(found.sparsity, one.start)
        assert found.loss == pytest.approx(objective.loss(one.start))


def test_a_start_that_loses_next_to_nothing_is_kept_as_it_is():
    objective, asked = Interacting(), []
    start = allocate(np.array(LEVELS), np.array([curve(objective, p, Memory()) for p in range(len(COSTS))]), COSTS, 0.5)
    for factor, descends in ((0.9, False), (1.1, True)):
        scale = factor * NEGLIGIBLE / Interacting().loss(start)
        scaled = Interacting()
        scaled.loss = lambda sparsity, scale=scale: scale * Interacting().loss(sparsity)
        asked.clear()
        (found,) = kl(
            scaled, scaled, lambda s, k: asked.append(k) or objective.slopes(s, k), [0.5], Memory(), steps=9, rate=0.1
        )
        assert bool(asked) == descends
        if not descends:
            np.testing.assert_allclose(found.sparsity, start, atol=ROUNDING)


def test_progress_adds_up_to_the_announced_work_interrupted_or_not():
    for limit in (10**9, 63 + 75):
        store, done = Memory(), []
        objective = Interacting(limit)
        try:
            list(kl(objective, objective, objective.slopes, TARGETS, store, steps=30, rate=0.1, advance=done.append))
        except KeyboardInterrupt:
            done.clear()
            again = Interacting()
            list(kl(again, again, again.slopes, TARGETS, store, steps=30, rate=0.1, advance=done.append))
        assert sum(done) == work(len(COSTS), len(TARGETS), 30)


def test_without_steps_it_is_the_knapsack_on_the_curves_of_single_projections():
    objective = Interacting()
    curves = np.array([[objective.loss(np.eye(len(COSTS))[p] * level) for level in LEVELS] for p in range(len(COSTS))])
    for one in _run(objective, Memory(), steps=0):
        expected = allocate(np.array(LEVELS), curves, COSTS, one.target)
        np.testing.assert_array_equal(one.sparsity, expected)


@pytest.mark.parametrize("limit", [12, 30, 63 + 25, 63 + 140])
def test_an_interrupted_run_goes_on_and_ends_where_a_whole_one_does(limit: int):
    whole = _run(Interacting(), Memory())
    store = Memory()
    with pytest.raises(KeyboardInterrupt):
        _run(Interacting(limit), store)
    again = Interacting()
    for one, expected in zip(_run(again, store), whole, strict=True):
        np.testing.assert_array_equal(one.sparsity, expected.sparsity)
        assert one.loss == expected.loss
    total = Interacting()
    _run(total, Memory())
    assert again.left > total.left  # what was kept was not measured again
