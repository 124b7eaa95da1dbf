"""RQ2 and RQ4 in numbers: accuracy and compute of every method, and differences at equal realised compute.

Methods hit their targets by different amounts, so equal *targets* are not equal compute. Each method's accuracy is
therefore a piecewise-linear function of the FLOPs it really saved (masked linears, attention, lm_head, scoring and
router counted), from the dense model through its targets, and two methods are read at the same saving
(`pipeline.statistics`). The savings they are read at, `levels`, are the same for all methods: per target, the smallest
mean saving that any method reached there, so nobody is extrapolated. A method whose masks reach only a part of the
weights has no result at the sparsest targets, and is compared at the levels that it reaches.

Every interval resamples samples, with the same draws for all methods: all differences are paired. The mean over levels
is the headline: it has a second interval that redraws tasks as well, and a p-value that is corrected for the number of
methods it was compared with (Holm).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from pipeline.report.evidence import Outcome
from pipeline.report.plan import Method, Plan
from pipeline.report.resampling import Resampler
from pipeline.significance import holm
from pipeline.statistics import Curve, Interval, score_at

Readings = list[np.ndarray | None]
"""Scores at every level, estimate and replicates; None where a level is out of reach."""

SPREAD = (0.05, 0.95)
ROUNDING = 1e-12
"""A level is the mean saving of some method, and a mean of the same numbers may differ in the last bits."""


@dataclass(frozen=True)
class Point:
    """One method at one target on one split. `loss` is dense accuracy minus this accuracy; `deviation` and `spread`
    are the standard deviation and the 5th and 95th percentile of realised sparsity over samples: how evenly the method
    keeps its budget. `compute` is the share of dense FLOPs that remain.
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
    """`method` minus `reference` at equal realised compute: at each level, None where one of them does not reach it,
    and the mean over the others.

    Of the mean, `over_tasks` is the interval that redraws tasks, too (None: too few tasks), `p` the p-value from the
    same replicates as its interval, and `p_corrected` that after Holm's correction over all pairs compared together.
    """

    method: Method
    reference: Method
    at_levels: tuple[Interval | None, ...]
    mean: Interval
    over_tasks: Interval | None
    p: float
    p_corrected: float

    def is_claimed(self, alpha: float) -> bool:
        """Whether the mean differs from 0, corrected for the number of comparisons."""
        return self.p_corrected < alpha

    @property
    def above(self) -> int:
        """Levels whose interval is above 0, not corrected for their number."""
        return sum(gap is not None and gap.low > 0 for gap in self.at_levels)

    @property
    def below(self) -> int:
        """Levels whose interval is below 0, not corrected for their number."""
        return sum(gap is not None and gap.high < 0 for gap in self.at_levels)


def operating_points(plan: Plan, results: Mapping[str, Outcome], draws: Resampler) -> list[Point]:
    """Accuracy, loss and compute of every method at every target, in the plan's order."""
    dense = results[plan.dense.name].score[:1]
    found: list[Point] = []
    for method in plan.methods:
        outcome = results[method.name]
        accuracy, loss = draws.intervals(outcome.score), draws.intervals(dense - outcome.score)
        for i, target in enumerate(outcome.targets):
            low, high = np.quantile(outcome.sparsity[i], SPREAD)
            found.append(
                Point(
                    method=method,
                    target=float(target),
                    accuracy=accuracy[i],
                    loss=loss[i],
                    sparsity=float(outcome.sparsity[i].mean()),
                    deviation=float(outcome.sparsity[i].std()),
                    spread=(float(low), float(high)),
                    compute=float(outcome.compute[i].mean()),
                )
            )
    return found


def levels(plan: Plan, results: Mapping[str, Outcome]) -> tuple[float, ...]:
    """Savings (1 - remaining share of dense FLOPs) at which methods are compared, one per target, ascending."""
    least: dict[float, float] = {}
    for outcome in (results[method.name] for method in plan.sparse):
        for target, saving in zip(outcome.targets, 1 - outcome.compute.mean(axis=1), strict=True):
            least[target] = min(saving, least.get(target, np.inf))
    return tuple(float(level) for level in np.unique(list(least.values())) if level > 0)


def saving_curve(dense: Outcome, outcome: Outcome) -> Curve | None:
    """Scores against the share of dense FLOPs that was saved, dense first; None for a method that saves nothing."""
    score, saving = [dense.score[0]], [np.zeros_like(dense.score[0])]
    for row, compute in zip(outcome.score, outcome.compute, strict=True):
        if (1 - compute).mean() > saving[-1].mean():  # a target that saves no more than the one before adds no point
            score.append(row)
            saving.append(1 - compute)
    return Curve(np.array(score), np.array(saving)) if len(score) > 1 else None


def compare(
    plan: Plan,
    results: Mapping[str, Outcome],
    pairs: list[tuple[Method, Method]],
    draws: Resampler,
    task_draws: Resampler | None = None,
) -> list[Comparison]:
    """The comparison of every (method, reference) pair at the common levels; pairs without a common level are left
    out. The pairs are one family: p-values are corrected for their number.
    """
    common = levels(plan, results)
    names = {method.name for pair in pairs for method in pair}
    read = _read_all(plan, results, names, common, draws)
    again = _read_all(plan, results, names, common, task_draws) if task_draws else read
    found: list[Comparison] = []
    for method, reference in pairs:
        gaps = _gaps(read, method, reference)
        if any(gap is not None for gap in gaps):
            mean = _mean(gaps)
            found.append(
                Comparison(
                    method,
                    reference,
                    at_levels=tuple(None if gap is None else draws.interval(gap) for gap in gaps),
                    mean=draws.interval(mean),
                    over_tasks=task_draws.interval(_mean(_gaps(again, method, reference))) if task_draws else None,
                    p=draws.p_value(mean),
                    p_corrected=1.0,  # until all are known
                )
            )
    corrected = holm([row.p for row in found])
    return [replace(row, p_corrected=p) for row, p in zip(found, corrected, strict=True)]


def _gaps(read: Mapping[str, Readings], method: Method, reference: Method) -> Readings:
    pairs = zip(read[method.name], read[reference.name], strict=True)
    return [None if first is None or second is None else first - second for first, second in pairs]


def _mean(gaps: Readings) -> np.ndarray:
    return np.mean([gap for gap in gaps if gap is not None], axis=0)


def _read_all(
    plan: Plan, results: Mapping[str, Outcome], names: set[str], common: tuple[float, ...], draws: Resampler
) -> dict[str, Readings]:
    return {name: _read(results[plan.dense.name], results[name], common, draws.weights) for name in names}


def _read(dense: Outcome, outcome: Outcome, common: tuple[float, ...], weights: np.ndarray) -> Readings:
    """Scores at every level, estimate and replicates; None where the method saves less than that at every target."""
    curve = saving_curve(dense, outcome)
    if curve is None:
        return [None] * len(common)
    reach = curve.sparsity.mean(axis=1)[-1] + ROUNDING
    return [score_at(curve, level, weights) if level <= reach else None for level in common]
