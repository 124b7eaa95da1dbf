"""Two methods compared task by task at matched compute: which tasks a difference comes from.

Both methods run at the settings (between two targets) at which each has the pair's saving ON ALL TASKS TOGETHER, as in
`pipeline/report/analysis/accuracy.py`; every sample's score is read there and averaged over targets. A task that saves
less than others at the same setting is therefore not moved to another setting.

Guarantee: the tasks' differences, weighted by their samples, add up to the difference of the whole split.

Intervals resample the task's own samples at these settings. p-values are corrected for the number of tasks (Holm):
uncorrected, the worst and the best task, which are chosen by their estimates, would look extreme by chance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from pipeline.report.analysis.evidence import Outcome
from pipeline.report.analysis.matched_compute import Savings, matched_savings, saving_curve
from pipeline.report.analysis.plan import Method, Plan
from pipeline.report.analysis.resampling import resampler
from pipeline.statistics.bootstrap import Interval
from pipeline.statistics.matched_compute import Curve
from pipeline.statistics.significance import holm

FEWEST = 2
"""Tasks below which there is nothing to compare."""


@dataclass(frozen=True)
class TaskGap:
    """One task: the difference of the two methods, and its p-value after correction for the number of tasks."""

    task: str
    samples: int
    gap: Interval
    p_corrected: float


@dataclass(frozen=True)
class TaskComparison:
    """`method` minus `reference` on every task at the pair's savings (`savings`), the worst task for `method` first."""

    method: Method
    reference: Method
    savings: Savings
    rows: tuple[TaskGap, ...]


def task_comparisons(
    plan: Plan, tasks: np.ndarray, results: Mapping[str, Outcome], pairs: Sequence[tuple[Method, Method]]
) -> list[TaskComparison]:
    """The comparison of every (method, reference) pair; none where there are fewer than `FEWEST` tasks or no matched
    savings. `tasks` names the task of every sample, in the order of the outcomes.
    """
    names, dense = np.unique(tasks), results[plan.dense.name]
    comparisons: list[TaskComparison] = []
    for method, reference in pairs if len(names) >= FEWEST else ():
        if (savings := matched_savings(plan, results, (method, reference))) is not None:
            first, second = (saving_curve(dense, results[name]) for name in (method.name, reference.name))
            known = [saving for saving in savings if saving is not None]
            gaps = np.mean([_scores_at(first, saving) - _scores_at(second, saving) for saving in known], axis=0)
            rows = [_task_gap(plan, str(name), gaps[tasks == name]) for name in names]
            corrected = holm([row.p_corrected for row in rows])
            rows = [replace(row, p_corrected=p) for row, p in zip(rows, corrected, strict=True)]
            rows.sort(key=lambda row: row.gap.value)
            comparisons.append(TaskComparison(method, reference, savings, tuple(rows)))
    return comparisons


def _task_gap(plan: Plan, name: str, gaps: Float[np.ndarray, " samples"]) -> TaskGap:
    draws = resampler(plan, len(gaps))
    replicates = draws.weights @ gaps
    return TaskGap(name, len(gaps), draws.interval(replicates), draws.p_value(replicates))  # corrected by the caller


def _scores_at(curve: Curve, saving: float) -> Float[np.ndarray, " samples"]:
    """Every sample's score at the setting that saves `saving` on average over samples."""
    means = curve.sparsity.mean(axis=1)
    left = int(np.clip(np.searchsorted(means, saving, side="right") - 1, 0, len(means) - 2))
    fraction = (saving - means[left]) / (means[left + 1] - means[left])
    return (1 - fraction) * curve.score[left] + fraction * curve.score[left + 1]
