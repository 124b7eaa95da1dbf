"""`pipeline.allocation.exchange`: losses fall, the budget stays, an interrupted search ends where a whole one does."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

from pipeline.allocation.exchange import LARGEST_STEP, State, search, start

SHARE = np.array([36864, 12288, 12288, 36864, 98304, 98304, 98304]) / 393216
ROUNDING = 1e-9
"""Float64 sums of a few hundred moves."""


class Quadratic:
    """s^T A s with A positive definite: projections interact, and the best allocation is known in closed form."""

    def __init__(self, seed: int):
        rng = np.random.default_rng(seed)
        root = np.diag(rng.uniform(0.8, 1.5, len(SHARE))) + rng.uniform(-0.15, 0.15, (len(SHARE), len(SHARE)))
        self.matrix = root.T @ root
        self.asked: list[np.ndarray] = []

    def loss(self, sparsity: np.ndarray) -> float:
        self.asked.append(sparsity.copy())
        return float(sparsity @ self.matrix @ sparsity)

    def best(self, target: float) -> float:
        """Minimum over all allocations of the budget, those outside [0, 1] included: a lower bound."""
        inverse = np.linalg.solve(self.matrix, SHARE)
        return target**2 / float(SHARE @ inverse)


def _run(objective: Quadratic, state: State, evaluations: int = 100_000) -> list[State]:
    return list(search(state, SHARE, objective.loss, evaluations=evaluations, smallest_portion=0.0005))


@pytest.mark.parametrize("seed", range(4))
def test_losses_never_rise_the_budget_stays_and_the_best_allocation_is_nearly_found(seed: int):
    objective = Quadratic(seed)
    first = start(np.full(len(SHARE), 0.4), objective.loss, portion=0.02)
    states = [first, *_run(objective, first)]
    losses = [state.loss for state in states]
    assert losses == sorted(losses, reverse=True) and losses[-1] < losses[0]
    for state in states:
        assert np.average(state.sparsity, weights=SHARE) == pytest.approx(0.4, abs=ROUNDING)
        assert min(state.sparsity) >= 0 and max(state.sparsity) <= 1
        assert state.loss == pytest.approx(float(np.array(state.sparsity) @ objective.matrix @ state.sparsity))
    assert states[-1].is_done and not any(state.is_done for state in states[:-1])
    # 5%: moves shift whole portions between pairs, which is coarser than the best allocation.
    assert losses[-1] <= 1.05 * objective.best(0.4)


def test_no_candidate_leaves_the_box_or_moves_one_projection_further_than_the_largest_step():
    objective = Quadratic(1)
    first = start(np.array([0.95, 0.0, 1.0, 0.3, 0.2, 0.5, 0.6]), objective.loss, portion=0.3)
    states = [first, *_run(objective, first, evaluations=60)]
    for state, following in itertools.pairwise(states):
        assert np.abs(np.subtract(following.sparsity, state.sparsity)).max() <= LARGEST_STEP + ROUNDING
    assert all(np.all((asked >= 0) & (asked <= 1)) for asked in objective.asked)


def test_a_search_that_goes_on_from_a_stored_state_ends_where_a_whole_one_does():
    objective = Quadratic(2)
    first = start(np.full(len(SHARE), 0.5), objective.loss, portion=0.02)
    whole = _run(objective, first)
    stored = State.from_json(json.loads(json.dumps(whole[1].to_json())))
    assert stored == whole[1]
    assert _run(objective, stored)[-1] == whole[-1]


def test_the_search_stops_at_its_evaluations_and_after_the_sweep_in_progress():
    objective = Quadratic(3)
    first = start(np.full(len(SHARE), 0.5), objective.loss, portion=0.02)
    states = _run(objective, first, evaluations=2)
    assert len(states) == 1 and states[0].is_done
    assert states[0].evaluations == len(objective.asked)


def test_rebase_is_told_the_allocation_whose_neighbours_are_asked_for():
    objective = Quadratic(0)
    seen: list[np.ndarray] = []
    first = start(np.full(len(SHARE), 0.5), objective.loss, portion=0.02)
    states = list(search(first, SHARE, objective.loss, evaluations=60, smallest_portion=0.0, rebase=seen.append))
    expected = [first, *states[:-1]]
    assert all(np.array_equal(base, state.sparsity) for base, state in zip(seen, expected, strict=True))
