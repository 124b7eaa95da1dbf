"""`wina_amp.allocation.loss.descent`: budgets met at every step, a known optimum found, interruptions unseen."""

from __future__ import annotations

import json

import numpy as np
import pytest

from wina_amp.allocation.loss.descent import State, allocation, descend, result, start

FRACTION = np.array([0.1, 0.3, 0.2, 0.4])
PRICE = np.array([0.3, 1.0, 2.0, 0.5])
BUDGET = 1e-9
"""Of the budget, in sparsity: the bisection's end."""


def _gradients(sparsity, _step):
    """Of the loss sum fraction * price * s^2 / 2, whose optimum has price * s equal everywhere."""
    return FRACTION * PRICE * sparsity


def _run(state, target=0.3, steps=200, gradients=_gradients, rate=0.1):
    return list(descend(state, FRACTION, target, gradients, steps=steps, rate=rate))


def test_every_step_meets_the_budget_and_the_end_is_the_optimum():
    states = _run(start(np.full(4, 0.3)))
    for state in states:
        assert FRACTION @ allocation(state.logits, FRACTION, 0.3) == pytest.approx(0.3, abs=BUDGET)
    expected = 0.3 / (FRACTION @ (1 / PRICE)) / PRICE
    np.testing.assert_allclose(result(states[-1], FRACTION, 0.3), expected, atol=0.01)  # of the last steps


def test_noise_averages_out():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.15, (400, 4)) * FRACTION
    states = _run(start(np.full(4, 0.3)), steps=400, gradients=lambda s, k: _gradients(s, k) + noise[k])
    expected = 0.3 / (FRACTION @ (1 / PRICE)) / PRICE
    np.testing.assert_allclose(
        result(states[-1], FRACTION, 0.3), expected, atol=0.08
    )  # noise half as large as the gradients


@pytest.mark.parametrize("stopped", [1, 57, 199])
def test_an_interrupted_descent_ends_where_a_whole_one_does(stopped: int):
    whole = _run(start(np.full(4, 0.3)))
    stored = json.loads(json.dumps(whole[stopped - 1].to_json()))
    resumed = _run(State.from_json(stored))
    assert len(resumed) == 200 - stopped
    assert np.array_equal(result(resumed[-1], FRACTION, 0.3), result(whole[-1], FRACTION, 0.3))


@pytest.mark.parametrize("target", [0.001, 0.25, 0.5, 0.999])
def test_an_allocation_meets_any_budget_and_keeps_the_order_of_its_logits(target: float):
    sparsity = allocation(np.array([-7.0, 0, 2, 7]), FRACTION, target)
    assert FRACTION @ sparsity == pytest.approx(target, abs=BUDGET)
    assert (np.diff(sparsity) >= 0).all() and (sparsity >= 0).all() and (sparsity <= 1).all()


def test_a_start_at_the_edges_can_leave_them():
    states = _run(start(np.array([0.0, 0.0, 1.0, 0.25])), steps=300)
    expected = 0.3 / (FRACTION @ (1 / PRICE)) / PRICE
    np.testing.assert_allclose(result(states[-1], FRACTION, 0.3), expected, atol=0.05)  # far away, fewer steps are left
