"""RQ2 and RQ4 in numbers: accuracy and compute of every method, and differences at equal realised compute.

Methods hit their targets by different amounts, so equal *targets* are not equal compute. Each method's accuracy is
therefore a piecewise-linear function of the FLOPs it really saved (masked linears, attention, lm_head, scoring and
router counted), from the dense model through its targets, and two methods are read at the same saving
(`pipeline.statistics.matched_compute`). The savings a pair is read at are its own, one per target
(`pipeline/report/analysis/matched_compute.py`): what else was evaluated does not move them. A method whose masks reach
only a part of the weights has no result at the sparsest targets, and its pairs have no level there.

Every interval resamples samples, with the same draws for all methods: all differences are paired. The mean over levels
is the headline: it has a second interval that redraws tasks as well, and a p-value that is corrected for the number of
methods it was compared with (Holm).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from pipeline.report.analysis.evidence import Outcome
from pipeline.report.analysis.matched_compute import Levels, Reader, levels, mean_gap
from pipeline.report.analysis.plan import Method, Plan
from pipeline.report.analysis.resampling import Resampler
from pipeline.statistics.bootstrap import Interval
from pipeline.statistics.significance import holm

SPREAD = (0.05, 0.95)


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
    """`method` minus `reference` at equal realised compute: at every target of the plan the difference at the pair's
    level (`levels`, a saving), None where there is none, and the mean over the others.

    Of the mean, `over_tasks` is the interval that redraws tasks, too (None: too few tasks), `p` the p-value from the
    same replicates as its interval, and `p_corrected` that after Holm's correction over all pairs compared together.
    """

    method: Method
    reference: Method
    levels: Levels
    at_levels: tuple[Interval | None, ...]
    mean: Interval
    over_tasks: Interval | None
    p: float
    p_corrected: float

    @property
    def half_widths(self) -> tuple[float | None, ...]:
        """Half of the interval at every level, a share of samples: a difference of that size is resolved there."""
        return tuple(None if gap is None else (gap.high - gap.low) / 2 for gap in self.at_levels)

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


def compare(
    plan: Plan,
    results: Mapping[str, Outcome],
    pairs: list[tuple[Method, Method]],
    draws: Resampler,
    task_draws: Resampler | None = None,
) -> list[Comparison]:
    """The comparison of every (method, reference) pair at its own levels; pairs without a level are left out. The pairs
    are one family: p-values are corrected for their number.
    """
    reader = Reader(plan, results, draws)
    again = Reader(plan, results, task_draws) if task_draws else None
    found: list[Comparison] = []
    for method, reference in pairs:
        at = levels(plan, results, (method, reference))
        if any(level is not None for level in at):
            gaps = reader.gaps(method, reference, at)
            mean = mean_gap(gaps)
            found.append(
                Comparison(
                    method,
                    reference,
                    levels=at,
                    at_levels=tuple(None if gap is None else draws.interval(gap) for gap in gaps),
                    mean=draws.interval(mean),
                    over_tasks=again.draws.interval(mean_gap(again.gaps(method, reference, at))) if again else None,
                    p=draws.p_value(mean),
                    p_corrected=1.0,  # until all are known
                )
            )
    corrected = holm([row.p for row in found])
    return [replace(row, p_corrected=p) for row, p in zip(found, corrected, strict=True)]
