"""`wina_amp.allocation.greedy.lazy`: fewer errors, the same path where steps add up, nearly the same errors
elsewhere."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.wina_amp.allocation.blocks import BINS, random_model, score_counts, texts
from wina_amp.allocation.calibration.cost import Meter
from wina_amp.allocation.greedy.blockwise import block_paths
from wina_amp.allocation.greedy.lazy import AGE, Lazy
from wina_amp.allocation.greedy.search import Exact, search, sparsity_grids

FEWER = 0.75
"""Fraction of the exact search's evaluations; measured: 0.5 to 0.7."""
INTERACTING = 1e-3
"""Measured: 1e-4."""
TINY_BLOCKS = 0.02
"""Random blocks of 32 features on 60 tokens, where one feature is much: single ratios are from 0.95 to 1.06."""
COSTS = (36864, 12288, 12288, 36864, 98304, 98304, 98304)


class Squares:
    """A squared error that is quadratic in the sparsities; `mixed` is how much projections interact."""

    def __init__(self, grids, mixed=0.0, seed=0):
        rng = np.random.default_rng(seed)
        self.grids, self.evaluations = grids, 0
        half = rng.normal(size=(len(grids), len(grids)))
        self.form = np.diag(rng.uniform(0.2, 2, len(grids))) + mixed * half @ half.T

    def errors(self, choices):
        self.evaluations += len(choices)
        sparsities = [np.array([grid[n] for grid, n in zip(self.grids, taken, strict=True)]) for taken in choices]
        return [math.sqrt(max(0.0, float(s @ self.form @ s))) for s in sparsities]


def _both(grids, costs, stop, make):
    lazy, exact = make(), make()
    paths = [search(grids, costs, stop, lazy, Lazy), search(grids, costs, stop, exact, Exact)]
    return paths, lazy.evaluations / exact.evaluations


@pytest.mark.parametrize("seed", range(5))
def test_where_additions_only_grow_the_path_is_that_of_the_exact_search(seed) -> None:
    grids = sparsity_grids(COSTS, 0.05)
    (lazy, exact), fraction = _both(grids, COSTS, 0.8, lambda: Squares(grids, seed=seed))
    assert np.array_equal(lazy.sparsity, exact.sparsity) and np.array_equal(lazy.error, exact.error)
    assert fraction < FEWER


@pytest.mark.parametrize("seed", range(5))
def test_where_projections_interact_errors_stay_the_same(seed) -> None:
    grids = sparsity_grids(COSTS, 0.025)
    (lazy, exact), fraction = _both(grids, COSTS, 0.8, lambda: Squares(grids, mixed=0.05, seed=seed))
    for target in (0.25, 0.4, 0.5, 0.65, 0.8):
        assert lazy.at(target)[1] == pytest.approx(exact.at(target)[1], rel=INTERACTING)
    assert fraction < FEWER


def test_a_step_that_has_become_the_best_is_found_when_its_addition_is_too_old() -> None:
    class Thaw:
        """The second projection is dear until the first has taken AGE / 2 steps, then free."""

        def errors(self, choices):
            return [math.sqrt(a + (0 if a >= AGE // 2 else 100) * b) for a, b in choices]

    grids = sparsity_grids((1, 1), 0.005)
    path = search(grids, (1, 1), 0.2, Thaw(), Lazy)
    first = int(np.argmax(path.sparsity[:, 1] > 0))
    assert AGE // 2 < first <= AGE + 1


def test_ties_go_to_the_first_projection_and_a_broken_error_is_refused() -> None:
    class Flat:
        def errors(self, choices):
            return [0.0] * len(choices)

    assert search(sparsity_grids((1, 1), 0.5), (1, 1), 0.5, Flat(), Lazy).sparsity[-1].tolist() == [1, 0]

    class Broken:
        def errors(self, choices):
            return [0.0 if taken == (0, 0) else float("nan") for taken in choices]

    with pytest.raises(ValueError, match="must be finite"):
        search(sparsity_grids((1, 1), 0.5), (1, 1), 0.5, Broken(), Lazy)


def test_errors_of_real_blocks_are_hardly_higher_on_average_at_fewer_evaluations() -> None:
    ratios = []
    for kind in ("llama", "phi3", "gemma3_text"):
        loaded = random_model(kind)
        counts = score_counts(loaded, "wina")
        options = {"bins": BINS, "criterion": "wina", "stop": 0.65, "step": 0.1, "dense_prefix": 1, "budget": 200}
        meters = {is_lazy: Meter() for is_lazy in (False, True)}
        exact, lazy = (
            list(block_paths(loaded, texts(), counts, **options, is_lazy=is_lazy, meter=meter))
            for is_lazy, meter in meters.items()
        )
        for exact_block, lazy_block in zip(exact, lazy, strict=True):
            ratios += [
                lazy_block.path.at(target)[1] / exact_block.path.at(target)[1] for target in (0.25, 0.4, 0.5, 0.65)
            ]
        assert meters[True].cost.evaluations < FEWER * meters[False].cost.evaluations
    assert np.mean(ratios) < 1 + TINY_BLOCKS
