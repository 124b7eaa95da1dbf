"""`wina_amp.allocation.greedy.search`: the published search, and budgets that are met exactly."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.reference.greedy import greedy
from wina_amp.allocation.greedy.search import Path, search, sparsity_grids

LLAMA = (36864, 12288, 12288, 36864, 98304, 98304, 98304)
ROUNDING = 1e-12
"""Float64, numbers of order 1, sums of seven."""


class Quadratic:
    """Errors that grow with the square of each sparsity, differently for each projection, with interactions."""

    def __init__(self, grids, seed=0):
        rng = np.random.default_rng(seed)
        self.grids = grids
        self.curvature = rng.uniform(0.2, 2, len(grids))
        self.mixed = rng.uniform(0, 0.3, (len(grids), len(grids)))

    def of(self, sparsity):
        s = np.asarray(sparsity)
        return float(self.curvature @ s**2 + s @ self.mixed @ s)

    def errors(self, choices):
        return [self.of([grid[n] for grid, n in zip(self.grids, taken, strict=True)]) for taken in choices]


@pytest.mark.parametrize("step", [0.05, 0.2, 0.7])
@pytest.mark.parametrize("costs", [LLAMA, (1, 1), (5, 3)])
def test_the_path_equals_the_slow_transcription_of_algorithm_1(costs, step) -> None:
    grids = sparsity_grids(costs, step)
    objective = Quadratic(grids)
    path = search(grids, costs, 0.8, objective)
    slow = greedy(costs, step, 0.8, objective.of)
    assert np.allclose(path.sparsity, [sparsity for sparsity, _ in slow], atol=ROUNDING)
    assert np.allclose(path.error, [error for _, error in slow], atol=ROUNDING)


@pytest.mark.parametrize("target", [0.0, 0.25, 0.4, 0.65, 0.8, 1.0])
def test_the_weighted_mean_of_an_allocation_is_the_target(target) -> None:
    grids = sparsity_grids(LLAMA, 0.2)
    path = search(grids, LLAMA, 1.0, Quadratic(grids))
    sparsity, error = path.at(target)
    assert np.average(sparsity, weights=LLAMA) == pytest.approx(target, abs=ROUNDING)
    assert np.all((sparsity >= 0) & (sparsity <= 1)) and np.isfinite(error)


def test_a_path_survives_json_to_the_last_bit() -> None:
    grids = sparsity_grids(LLAMA, 0.2)
    path = search(grids, LLAMA, 0.7, Quadratic(grids))
    again = Path.from_lists(json.loads(json.dumps(path.to_lists())))
    assert all(np.array_equal(getattr(path, name), getattr(again, name)) for name in ("sparsity", "mean", "error"))


def test_a_step_gates_the_same_number_of_weights_whichever_projection_takes_it() -> None:
    gated = {round(cost * grid[1]) for cost, grid in zip(LLAMA, sparsity_grids(LLAMA, 0.2), strict=True)}
    assert gated == {round(0.2 * LLAMA[0])}
    assert all(grid[0] == 0 and grid[-1] == 1 and np.all(np.diff(grid) > 0) for grid in sparsity_grids(LLAMA, 0.2))


def test_a_projection_that_costs_nothing_to_mask_is_masked_first() -> None:
    class Free:
        def errors(self, choices):
            return [float(taken[0] + taken[2]) for taken in choices]

    path = search(sparsity_grids((1, 1, 1), 0.25), (1, 1, 1), 1 / 3, Free())
    assert path.sparsity[-1].tolist() == [0, 1, 0]


def test_ties_go_to_the_first_projection() -> None:
    class Flat:
        def errors(self, choices):
            return [0.0] * len(choices)

    assert search(sparsity_grids((1, 1), 0.5), (1, 1), 0.5, Flat()).sparsity[-1].tolist() == [1, 0]


def test_a_target_past_the_path_and_a_broken_error_are_refused() -> None:
    grids = sparsity_grids(LLAMA, 0.2)
    path = search(grids, LLAMA, 0.3, Quadratic(grids))
    with pytest.raises(ValueError, match=r"has no allocation at 0\.6"):
        path.at(0.6)

    class Broken:
        def errors(self, choices):
            return [float("nan")] * len(choices)

    with pytest.raises(ValueError, match="must be finite"):
        search(grids, LLAMA, 0.3, Broken())
