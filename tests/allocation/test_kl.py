"""`pipeline.allocation.kl`: budgets met, never worse than its start, the same whether interrupted or not."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from pipeline.allocation import descent
from pipeline.allocation.kl import LEVELS, NEGLIGIBLE, curve, kl, settled, work
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


def test_a_mean_with_the_neighbours_is_taken_where_the_judge_prefers_it_and_only_there():
    objective, share = Interacting(), np.array(COSTS) / sum(COSTS)
    ends = _run(objective, Memory())
    own = [replace(one, loss=1.0) for one in ends]
    logit = [np.clip(np.log(one.sparsity) - np.log1p(-one.sparsity), -descent.LIMIT, descent.LIMIT) for one in ends]
    mean = descent.allocation((logit[0] + logit[1] + logit[2]) / 3, share, TARGETS[1])
    assert not np.allclose(mean, ends[1].sparsity, atol=1e-3)

    class Prefers(Interacting):
        def __init__(self, liked: np.ndarray) -> None:
            super().__init__()
            self.liked = liked

        def loss(self, sparsity: np.ndarray) -> float:
            return float(np.abs(sparsity - self.liked).sum())

    for liked, expected in ((mean, mean), (ends[1].sparsity, ends[1].sparsity)):
        for place in range(3):
            found = settled(Prefers(liked), own, place, Memory())
            wanted = expected if place == 1 else ends[place].sparsity
            np.testing.assert_allclose(found.sparsity, wanted, atol=ROUNDING)
            assert found.loss == pytest.approx(np.abs(wanted - liked).sum(), abs=ROUNDING)
            assert np.average(found.sparsity, weights=COSTS) == pytest.approx(found.target, abs=ROUNDING)
    knapsack = replace(own[1], is_descent=False)
    kept = settled(Prefers(mean), [own[0], knapsack, own[2]], 1, Memory())
    np.testing.assert_array_equal(kept.sparsity, own[1].sparsity)


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
