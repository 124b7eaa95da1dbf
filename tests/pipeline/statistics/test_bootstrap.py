"""`pipeline.statistics.bootstrap`: parity with explicit resampling, and the coverage that intervals promise."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.statistics.bootstrap import mean_interval, resampling_weights, task_resampling_weights
from tests.reference.statistics import draws, task_bootstrap

ROUNDING = 1e-12
"""Float64 sums of at most a few hundred terms of size 1, taken in another order."""

DRAW = {"replicates": 400, "confidence": 0.95, "seed": 3}


def test_resampling_weights_are_counts_of_a_draw_with_replacement() -> None:
    weights = resampling_weights(7, 50, 11)
    counts = np.stack([np.bincount(draw, minlength=7) for draw in draws(7, 50, 11)])
    assert np.array_equal(weights, counts / 7)


def test_a_mean_interval_covers_the_true_mean_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    trials = [mean_interval(rng.random(80) < 0.7, replicates=300, confidence=0.9, seed=i) for i in range(300)]
    covered = np.mean([trial.low <= 0.7 <= trial.high for trial in trials])
    # 0.9 less the small-sample bias of percentile intervals, plus or minus 3 standard errors of 0.017.
    assert 0.83 < covered < 0.95


def test_means_of_the_same_weights_are_paired() -> None:
    """Hard and easy samples differ a lot, the methods by 0.1 everywhere: their difference has (almost) no width."""
    hard = np.random.default_rng(0).normal(0, 1, 200)
    weights = resampling_weights(200, 400, 3)
    assert (weights @ hard).std() > 0.05
    assert weights @ (hard + 0.1) - weights @ hard == pytest.approx(0.1, abs=ROUNDING)


def test_an_interval_of_equal_values_has_no_width() -> None:
    interval = mean_interval(np.zeros(50), **DRAW)
    assert (interval.value, interval.low, interval.high) == (0, 0, 0)


def test_values_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        mean_interval([0.0, np.nan], **DRAW)
    with pytest.raises(ValueError, match="confidence"):
        mean_interval([0.0, 1.0], replicates=10, confidence=1.0, seed=0)


def test_means_over_tasks_are_distributed_as_those_of_two_explicit_loops() -> None:
    rng = np.random.default_rng(0)
    tasks = np.repeat(["a", "b", "c", "d", "e"], [4, 9, 2, 15, 10])
    values = rng.normal(0, 1, 40) + np.repeat([0.0, 2.0, -1.0, 0.5, 3.0], [4, 9, 2, 15, 10])
    fast = task_resampling_weights(tasks, 4000, 1) @ values
    slow = task_bootstrap(values, tasks, 4000, 2)
    assert fast.std() > 0.4  # far from degenerate, so that the tolerances below mean something
    errors = 5 * slow.std() / np.sqrt(4000)
    assert fast.mean() == pytest.approx(slow.mean(), abs=errors)
    assert fast.std() == pytest.approx(slow.std(), rel=0.06)  # standard error of a deviation of 4,000: 1.1%, twice
    for fraction in (0.025, 0.25, 0.75, 0.975):
        assert np.quantile(fast, fraction) == pytest.approx(np.quantile(slow, fraction), abs=3 * errors)


def test_rows_of_the_bootstrap_over_tasks_sum_to_1_and_the_order_of_samples_does_not_matter_to_their_tasks() -> None:
    tasks = np.array([3, 1, 1, 3, 2, 2])
    weights = task_resampling_weights(tasks, 50, 0)
    assert weights.shape == (50, 6) and weights.sum(axis=1) == pytest.approx(1, abs=ROUNDING)
    by_task = np.stack([weights[:, tasks == task].sum(axis=1) for task in (1, 2, 3)], axis=1)
    assert by_task * 3 == pytest.approx(np.round(by_task * 3), abs=ROUNDING)  # whole tasks: 0, 1, 2 or 3 thirds


def test_with_one_task_the_bootstrap_over_tasks_is_the_bootstrap_over_samples() -> None:
    values = np.random.default_rng(0).normal(0, 1, 50)
    spread = [
        (task_resampling_weights(np.zeros(50), 4000, 0) @ values).std(),
        (resampling_weights(50, 4000, 1) @ values).std(),
    ]
    assert spread[0] == pytest.approx(spread[1], rel=0.06)


def test_an_interval_covers_the_mean_over_tasks_where_that_over_samples_does_not() -> None:
    """Twenty tasks whose true values differ: resampling samples pretends that they are the only tasks there are."""
    rng = np.random.default_rng(0)
    tasks = np.repeat(np.arange(20), 25)
    over_tasks, plain = task_resampling_weights(tasks, 400, 0), resampling_weights(500, 400, 0)
    covered = np.zeros(2)
    for _ in range(200):
        values = np.repeat(rng.normal(0, 1, 20), 25) + rng.normal(0, 1, 500)
        for i, weights in enumerate((over_tasks, plain)):
            low, high = np.quantile(weights @ values, [0.05, 0.95])
            covered[i] += low <= 0 <= high
    # 0.9 less three standard errors of 0.021; resampling tasks and samples errs to the wide side.
    assert covered[0] / 200 > 0.83
    assert covered[1] / 200 < 0.5


def test_no_sample_or_replicate_is_refused() -> None:
    for refused in (lambda: task_resampling_weights(np.array([]), 10, 0), lambda: resampling_weights(3, 0, 0)):
        with pytest.raises(ValueError, match="at least one sample and one replicate"):
            refused()
