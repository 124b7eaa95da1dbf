"""RQ2 and RQ4 in numbers: accuracy and compute of every method, and differences at equal realised compute.

Methods hit their targets by different amounts, so equal *targets* are not equal compute. Each method's accuracy is
therefore a piecewise-linear function of the FLOPs it really saved (masked linears, attention, lm_head, scoring and
router counted), from the dense model through its targets, and two methods are read at the same saving
(`pipeline.statistics`). The savings they are read at, `levels`, are the same for all methods: per target, the smallest
mean saving that any method reached there, so nobody is extrapolated. A method whose masks reach only a part of the
weights has no result at the sparsest targets, and is compared at the levels that it reaches.

Every interval resamples samples, with the same draws for all methods: all differences are paired.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pipeline.report.evidence import Outcome
from pipeline.report.plan import Method, Plan
from pipeline.report.resampling import Resampler
from pipeline.statistics import Curve, Interval, score_at

SPREAD = (0.05, 0.95)
ROUNDING = 1e-12
"""A level is the mean saving of some method, and a mean of the same numbers may differ in the last bits."""


@dataclass(frozen=True)
class Point:
    """One method at one target on one split. `loss` is dense accuracy minus this accuracy; `spread` the 5th and 95th
    percentile of realised sparsity over samples; `compute` the share of dense FLOPs that remain.
    """

    method: Method
    target: float
    accuracy: Interval
    loss: Interval
    sparsity: float
    spread: tuple[float, float]
    compute: float


@dataclass(frozen=True)
class Comparison:
    """`method` minus `reference` at equal realised compute: at each level, None where one of them does not reach it,
    and the mean over the others."""

    method: Method
    reference: Method
    at_levels: tuple[Interval | None, ...]
    mean: Interval


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


def compare(
    plan: Plan, results: Mapping[str, Outcome], pairs: list[tuple[Method, Method]], draws: Resampler
) -> list[Comparison]:
    """The comparison of every (method, reference) pair at the common levels; pairs without a common level are left
    out.
    """
    common = levels(plan, results)
    names = {method.name for pair in pairs for method in pair}
    read = {name: _read(results[plan.dense.name], results[name], common, draws.weights) for name in names}
    found: list[Comparison] = []
    for method, reference in pairs:
        pairs_at = list(zip(read[method.name], read[reference.name], strict=True))
        gaps = [None if first is None or second is None else first - second for first, second in pairs_at]
        known = [gap for gap in gaps if gap is not None]
        if known:
            at_levels = tuple(None if gap is None else draws.interval(gap) for gap in gaps)
            found.append(Comparison(method, reference, at_levels, draws.interval(np.mean(known, axis=0))))
    return found


def baseline_pairs(plan: Plan) -> list[tuple[Method, Method]]:
    """Every sparse method against the pooled baseline."""
    baseline = plan.method(plan.baseline)
    return [(method, baseline) for method in plan.sparse if method.name != baseline.name]


def control_pairs(plan: Plan) -> list[tuple[Method, Method]]:
    """Every method with informative groups against random groups of the same sizes with the same criterion, allocation
    and mask.
    """
    return [
        (method, control)
        for control in plan.sparse
        if control.is_control
        for method in plan.sparse
        if not method.is_pooled
        and not method.is_control
        and (method.criterion, method.allocation, method.mask) == (control.criterion, control.allocation, control.mask)
    ]


def _read(dense: Outcome, outcome: Outcome, common: tuple[float, ...], weights: np.ndarray) -> list[np.ndarray | None]:
    """Scores at every level, estimate and replicates; None where the method saves less than that at every target."""
    curve = _curve(dense, outcome)
    if curve is None:
        return [None] * len(common)
    reach = curve.sparsity.mean(axis=1)[-1] + ROUNDING
    return [score_at(curve, level, weights) if level <= reach else None for level in common]


def _curve(dense: Outcome, outcome: Outcome) -> Curve | None:
    score, saving = [dense.score[0]], [np.zeros_like(dense.score[0])]
    for row, compute in zip(outcome.score, outcome.compute, strict=True):
        if (1 - compute).mean() > saving[-1].mean():  # a target that saves no more than the one before adds no point
            score.append(row)
            saving.append(1 - compute)
    return Curve(np.array(score), np.array(saving)) if len(score) > 1 else None
