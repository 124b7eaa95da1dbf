"""`pipeline.statistics.hierarchical`: the same distribution as two explicit loops, and intervals that cover new
tasks."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.statistics.hierarchical import hierarchical_weights
from pipeline.statistics.intervals import resampling_weights
from tests.reference.statistics import task_bootstrap

ROUNDING = 1e-12


def test_means_are_distributed_as_those_of_two_explicit_loops() -> None:
    rng = np.random.default_rng(0)
    tasks = np.repeat(["a", "b", "c", "d", "e"], [4, 9, 2, 15, 10])
    values = rng.normal(0, 1, 40) + np.repeat([0.0, 2.0, -1.0, 0.5, 3.0], [4, 9, 2, 15, 10])
    fast = hierarchical_weights(tasks, 4000, 1) @ values
    slow = task_bootstrap(values, tasks, 4000, 2)
    assert fast.std() > 0.4  # far from degenerate, so that the tolerances below mean something
    errors = 5 * slow.std() / np.sqrt(4000)
    assert fast.mean() == pytest.approx(slow.mean(), abs=errors)
    assert fast.std() == pytest.approx(slow.std(), rel=0.06)  # standard error of a deviation of 4,000: 1.1%, twice
    for fraction in (0.025, 0.25, 0.75, 0.975):
        assert np.quantile(fast, fraction) == pytest.approx(np.quantile(slow, fraction), abs=3 * errors)


def test_rows_are_fractions_and_the_order_of_samples_does_not_matter_to_their_tasks() -> None:
    tasks = np.array([3, 1, 1, 3, 2, 2])
    weights = hierarchical_weights(tasks, 50, 0)
    assert weights.shape == (50, 6) and weights.sum(axis=1) == pytest.approx(1, abs=ROUNDING)
    by_task = np.stack([weights[:, tasks == task].sum(axis=1) for task in (1, 2, 3)], axis=1)
    assert by_task * 3 == pytest.approx(np.round(by_task * 3), abs=ROUNDING)  # whole tasks: 0, 1, 2 or 3 thirds


def test_with_one_task_it_is_the_bootstrap_over_samples() -> None:
    values = np.random.default_rng(0).normal(0, 1, 50)
    spread = [
        (hierarchical_weights(np.zeros(50), 4000, 0) @ values).std(),
        (resampling_weights(50, 4000, 1) @ values).std(),
    ]
    assert spread[0] == pytest.approx(spread[1], rel=0.06)


def test_an_interval_covers_the_mean_over_tasks_where_that_over_samples_does_not() -> None:
    """Twenty tasks whose true values differ: redrawing samples pretends that they are the only tasks there are."""
    rng = np.random.default_rng(0)
    tasks = np.repeat(np.arange(20), 25)
    hierarchical, plain = hierarchical_weights(tasks, 400, 0), resampling_weights(500, 400, 0)
    covered = np.zeros(2)
    for _ in range(200):
        values = np.repeat(rng.normal(0, 1, 20), 25) + rng.normal(0, 1, 500)
        for i, weights in enumerate((hierarchical, plain)):
            low, high = np.quantile(weights @ values, [0.05, 0.95])
            covered[i] += low <= 0 <= high
    # 0.9 less three standard errors of 0.021; redrawing both levels errs to the wide side.
    assert covered[0] / 200 > 0.83
    assert covered[1] / 200 < 0.5


def test_no_sample_or_replicate_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one sample and one replicate"):
        hierarchical_weights(np.array([]), 10, 0)
