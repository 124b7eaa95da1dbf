"""`wina_amp.allocation.kl.knapsack`: budgets met exactly, and the best allocation for convex curves."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linprog

from wina_amp.allocation.kl.knapsack import allocate, lower_hull

LEVELS = np.array([0.0, 0.2, 0.5, 0.7, 0.9, 1.0])
COSTS = (36864, 12288, 98304, 98304)
ROUNDING = 1e-9
"""Float64 and the tolerance of the linear program's solver, on losses of order 1."""


def _curves(seed: int) -> np.ndarray:
    """Rising losses, not convex."""
    return np.cumsum(np.random.default_rng(seed).exponential(size=(len(COSTS), len(LEVELS))), axis=1)


def _on_hulls(sparsity: np.ndarray, curves: np.ndarray) -> float:
    return sum(float(np.interp(s, *lower_hull(LEVELS, row))) for s, row in zip(sparsity, curves, strict=True))


def _best_on_hulls(curves: np.ndarray, target: float) -> float:
    """The same problem as a linear program: a convex mixture of hull corners for every projection."""
    hulls = [lower_hull(LEVELS, row) for row in curves]
    price = np.concatenate([y for _, y in hulls])
    fractions = np.asarray(COSTS) / sum(COSTS)
    budget = np.concatenate([x * fraction for (x, _), fraction in zip(hulls, fractions, strict=True)])
    owner = np.concatenate([np.full(len(x), number) for number, (x, _) in enumerate(hulls)])
    equal = np.vstack([budget, *(owner == number for number in range(len(hulls)))])
    done = linprog(price, A_eq=equal, b_eq=[target, *[1.0] * len(hulls)], bounds=(0, None))
    assert done.success
    return float(done.fun)


@pytest.mark.parametrize("target", [0.0, 0.25, 0.5, 0.75, 1.0])
@pytest.mark.parametrize("seed", range(5))
def test_the_budget_is_met_and_no_allocation_of_it_has_a_lower_sum_of_hulls(seed: int, target: float):
    curves = _curves(seed)
    curves[:, 0] = 0
    found = allocate(LEVELS, curves, COSTS, target)
    assert np.average(found, weights=COSTS) == pytest.approx(target, abs=ROUNDING)
    assert np.all((found >= 0) & (found <= 1))
    assert _on_hulls(found, curves) == pytest.approx(_best_on_hulls(curves, target), abs=ROUNDING)


def test_a_higher_target_lowers_no_sparsity():
    curves = _curves(7)
    found = np.stack([allocate(LEVELS, curves, COSTS, target) for target in np.linspace(0, 1, 21)])
    assert np.all(np.diff(found, axis=0) >= -ROUNDING)


def test_a_free_projection_is_masked_first_and_ties_go_to_the_first():
    flat = np.zeros((3, 2))
    assert allocate(np.array([0.0, 1.0]), flat, (1, 1, 2), 0.5).tolist() == [1.0, 1.0, 0.0]
    dear = np.array([[0.0, 1.0], [0.0, 0.0], [0.0, 1.0]])
    assert allocate(np.array([0.0, 1.0]), dear, (1, 1, 2), 0.25).tolist() == [0.0, 1.0, 0.0]


def test_the_hull_is_convex_rises_and_lies_below_the_monotone_envelope():
    losses = np.array([0.01, -0.02, 0.3, 0.1, 2.0, 1.5])
    x, y = lower_hull(LEVELS, losses)
    slopes = np.diff(y) / np.diff(x)
    assert np.all(np.diff(slopes) > 0) and np.all(slopes >= 0)
    assert np.all(np.interp(LEVELS, x, y) <= np.maximum.accumulate(np.maximum(losses, 0)) + ROUNDING)


def test_impossible_requests_are_refused():
    curves = _curves(0)
    with pytest.raises(ValueError, match=r"target must be in \[0, 1\], got 1\.2"):
        allocate(LEVELS, curves, COSTS, 1.2)
    with pytest.raises(ValueError, match="the grid must rise from 0 to 1"):
        allocate(LEVELS[1:], curves[:, 1:], COSTS, 0.5)
    curves[1, 2] = np.nan
    with pytest.raises(ValueError, match="must be finite"):
        allocate(LEVELS, curves, COSTS, 0.5)
