"""`pipeline.allocation.kl`: budgets met, never worse than its start, the same whether interrupted or not."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pipeline.allocation.kl import LEVELS, kl
from pipeline.allocation.knapsack import allocate

COSTS = [36864, 12288, 12288, 36864, 98304, 98304, 98304]
TARGETS = (0.25, 0.5, 0.75)
ROUNDING = 1e-9
"""Float64 sums of a few hundred moves."""


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

    def rebase(self, sparsity: np.ndarray) -> None:
        pass


class Memory(dict):
    """A store that keeps JSON, as files do."""

    def get(self, name):
        return json.loads(self[name]) if name in self else None

    def put(self, name, value):
        self[name] = json.dumps(value)


def _run(objective: Interacting, store: Memory, evaluations: int = 150):
    return list(kl(objective, TARGETS, store, step=0.1, evaluations=evaluations))


def test_every_target_is_met_at_a_loss_that_the_search_lowers():
    objective = Interacting()
    found, plain = _run(objective, Memory()), _run(Interacting(), Memory(), evaluations=1)
    assert [one.target for one in found] == sorted(TARGETS)
    for one, start in zip(found, plain, strict=True):
        assert np.average(one.sparsity, weights=COSTS) == pytest.approx(one.target, abs=ROUNDING)
        assert one.loss == pytest.approx(objective.loss(one.sparsity))
        assert one.loss < start.loss and start.evaluations == 1


def test_without_a_search_it_is_the_knapsack_on_the_curves_of_single_projections():
    objective = Interacting()
    curves = np.array([[objective.loss(np.eye(len(COSTS))[p] * level) for level in LEVELS] for p in range(len(COSTS))])
    for one in _run(objective, Memory(), evaluations=1):
        expected = allocate(np.array(LEVELS), curves, COSTS, one.target)
        np.testing.assert_array_equal(one.sparsity, expected)


@pytest.mark.parametrize("limit", [12, 30, 63 + 20, 63 + 200])
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
