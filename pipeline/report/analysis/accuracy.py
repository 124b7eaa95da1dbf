"""Accuracy and compute of every method, and differences between methods at matched compute (RQ2 and RQ4).

Equal targets are not equal compute, because methods miss them by different amounts. A method's accuracy is therefore
read as a piecewise-linear function of the FLOPs that it really saves (masked linears, attention, lm_head, scoring and
router counted), and two methods are compared at the same savings, one per target
(`pipeline/report/analysis/matched_compute.py`). A method whose masks reach only a part of the weights has no result at
the sparsest targets; its pairs are not compared there.

Every interval resamples samples, with the same draws for all methods, so all differences are paired. The mean over
targets is the headline: it has a second interval, from a bootstrap over tasks, and a p-value that is corrected for the
number of pairs that are compared together (Holm).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipeline.report.analysis.evidence import Outcome
from pipeline.report.analysis.matched_compute import Reader, Savings, matched_savings
from pipeline.report.analysis.plan import Method, Plan
from pipeline.report.analysis.resampling import Resampler
from pipeline.statistics.bootstrap import Interval
from pipeline.statistics.significance import holm

SPREAD = (0.05, 0.95)


@dataclass(frozen=True)
class Point:
    """One method at one target on one split. `loss` is dense accuracy minus this accuracy; `deviation` and `spread`
    are the standard deviation and the 5th and 95th percentile of realised sparsity over samples; `compute` is the
    fraction of dense FLOPs that remain.
    """

    method: Method
    target: float
    accuracy: Interval
    loss: Interval
    sparsity: float
    deviation: float
    spread: tuple[float, float]
    compute: float


@dataclass(frozen=True)
class Comparison:
    """`method` minus `reference` at matched compute.

    Attributes:
        savings: the saving at which the pair is compared, for every target of the plan; None where there is none.
        at_targets: the difference there.
        mean: the mean difference over those targets.
        over_tasks: the interval of the mean from the bootstrap over tasks; None with too few tasks.
        p: p-value of the mean, from the same replicates as its interval.
        p_corrected: `p` after Holm's correction over all pairs that are compared together.
    """

    method: Method
    reference: Method
    savings: Savings
    at_targets: tuple[Interval | None, ...]
    mean: Interval
    over_tasks: Interval | None
    p: float
    p_corrected: float

    def is_claimed(self, alpha: float) -> bool:
        """Whether the mean differs from 0, corrected for the number of comparisons."""
        return self.p_corrected < alpha

    def is_better(self, alpha: float) -> bool:
        """Whether `method` is claimed to be more accurate."""
        return self.is_claimed(alpha) and self.mean.value > 0


def operating_points(plan: Plan, results: Mapping[str, Outcome], draws: Resampler) -> list[Point]:
    """Accuracy, loss and compute of every method at every target, in the plan's order."""
    dense = results[plan.dense.name].score[:1]
    points: list[Point] = []
    for method in plan.methods:
        outcome = results[method.name]
        accuracy, loss = draws.intervals(outcome.score), draws.intervals(dense - outcome.score)
        for i, target in enumerate(outcome.targets):
            sparsity, compute = outcome.sparsity[i], outcome.compute[i]
            low, high = np.quantile(sparsity, SPREAD)
            realised = float(sparsity.mean()), float(sparsity.std()), (float(low), float(high))
            points.append(Point(method, float(target), accuracy[i], loss[i], *realised, float(compute.mean())))
    return points


def compare(
    plan: Plan,
    results: Mapping[str, Outcome],
    pairs: Sequence[tuple[Method, Method]],
    draws: Resampler,
    task_draws: Resampler | None = None,
) -> list[Comparison]:
    """The comparison of every (method, reference) pair that has matched savings. The pairs are one family: p-values are
    corrected for their number.
    """
    reader = Reader(plan, results, draws)
    task_reader = Reader(plan, results, task_draws)
    rows: list[Comparison] = []
    for pair in pairs:
        if (savings := matched_savings(plan, results, pair)) is not None:
            mean, gaps = reader.mean_gap(*pair, savings), reader.gaps(*pair, savings)
            at_targets = tuple(gap if gap is None else draws.interval(gap) for gap in gaps)
            over_tasks = task_draws.interval(task_reader.mean_gap(*pair, savings)) if task_draws else None
            p = draws.p_value(mean)
            rows.append(Comparison(*pair, savings, at_targets, draws.interval(mean), over_tasks, p, p_corrected=p))
    return [replace(row, p_corrected=p) for row, p in zip(rows, holm([row.p for row in rows]), strict=True)]
