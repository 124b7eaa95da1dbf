"""Bootstrap draws of a split, shared by every number of the report: one set over samples, one over tasks.

Shared draws make all differences paired, and hundreds of means one matrix product. Row 0 of `weights` is the plain mean
(the estimate), the others are replicates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from pipeline.report.analysis.plan import Plan
from pipeline.statistics.bootstrap import Interval, resampling_weights, task_resampling_weights
from pipeline.statistics.significance import bootstrap_p

ROUNDING = 12
"""Decimals kept of an interval's ends: a difference of exactly 0 must not become 4e-19 and count as an effect."""
FEWEST_TASKS = 5
"""Tasks below which there is no bootstrap over tasks: too few draws differ."""


@dataclass(frozen=True)
class Resampler:
    """Estimates and percentile intervals from shared draws."""

    weights: Float[np.ndarray, "replicates_and_one samples"]
    confidence: float

    def intervals(self, values: Float[np.ndarray, "rows samples"]) -> list[Interval]:
        """The mean of every row with its interval."""
        return [self.interval(draws) for draws in values @ self.weights.T]

    def interval(self, draws: Float[np.ndarray, " replicates_and_one"]) -> Interval:
        """The interval of a statistic that was computed for the estimate (first) and for every replicate."""
        low, high = np.quantile(draws[1:], [(1 - self.confidence) / 2, (1 + self.confidence) / 2])
        return Interval(*(round(float(value), ROUNDING) for value in (draws[0], low, high)))

    def p_value(self, draws: Float[np.ndarray, " replicates_and_one"]) -> float:
        """Two-sided p-value of "the statistic is 0", from the same replicates as the interval."""
        return bootstrap_p(np.round(draws[1:], ROUNDING))


def resampler(plan: Plan, samples: int) -> Resampler:
    """Draws of samples, of which the split has `samples`."""
    return _resampler(plan, resampling_weights(samples, plan.bootstrap, plan.seed))


def task_resampler(plan: Plan, tasks: np.ndarray) -> Resampler | None:
    """Draws of tasks, then of samples within them; None where there are fewer than `FEWEST_TASKS` tasks."""
    if len(np.unique(tasks)) < FEWEST_TASKS:
        return None
    return _resampler(plan, task_resampling_weights(tasks, plan.bootstrap, plan.seed))


def mean_interval(plan: Plan, values: Float[np.ndarray, " samples"], tasks: np.ndarray | None = None) -> Interval:
    """The mean over samples, with the interval of the bootstrap over `tasks` if they are given and enough."""
    draws = None if tasks is None else task_resampler(plan, tasks)
    return (draws or resampler(plan, len(values))).intervals(values[None])[0]


def _resampler(plan: Plan, replicates: Float[np.ndarray, "replicates samples"]) -> Resampler:
    samples = replicates.shape[1]
    return Resampler(np.vstack([np.full((1, samples), 1 / samples), replicates]), plan.confidence)
