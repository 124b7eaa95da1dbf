"""Where a difference comes from: two methods compared task by task at equal realised compute.

Both methods run at the settings (between two targets) at which each saves a level's share of the dense FLOPs ON ALL
TASKS TOGETHER, as in `pipeline/report/analysis/accuracy.py`, and every sample's score is read there; the pair's levels
are averaged. A task that saves less than others at the same setting is therefore not moved to another setting.

Guarantee: the tasks' differences, weighted by their samples, add up to the difference of the whole split.

Intervals resample the task's own samples at these settings; p-values are corrected for the number of tasks (Holm).
The worst and the best task are picked by their estimates: without correction they would look extreme by chance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from pipeline.report.analysis.evidence import Outcome
from pipeline.report.analysis.matched_compute import Levels, levels, saving_curve
from pipeline.report.analysis.plan import Method, Plan
from pipeline.report.analysis.resampling import resampler
from pipeline.statistics.bootstrap import Interval
from pipeline.statistics.matched_compute import Curve
from pipeline.statistics.significance import holm

FEWEST = 2
"""Tasks below which there is nothing to tell apart."""


@dataclass(frozen=True)
class TaskGap:
    """One task: the difference of the two methods, and its p-value after correction for the number of tasks."""

    task: str
    samples: int
    gap: Interval
    p_corrected: float


@dataclass(frozen=True)
class TaskComparison:
    """`method` minus `reference` on every task at the pair's `levels`, ascending: the worst task for `method` first."""

    method: Method
    reference: Method
    levels: Levels
    rows: tuple[TaskGap, ...]

    def claimed(self, alpha: float, sign: int) -> list[TaskGap]:
        """The tasks on which the method is shown to be better (`sign` 1) or worse (-1)."""
        return [row for row in self.rows if row.p_corrected < alpha and sign * row.gap.value > 0]


def task_comparisons(
    plan: Plan,
    tasks: np.ndarray,
    results: Mapping[str, Outcome],
    pairs: Sequence[tuple[Method, Method]],
) -> list[TaskComparison]:
    """The comparison of every pair; none where there are fewer than `FEWEST` tasks or the pair has no level.

    Args:
        plan: the plan.
        tasks: the task of every sample.
        results: method -> its outcome on these samples.
        pairs: (method, reference).
    """
    names = np.unique(tasks)
    dense = results[plan.dense.name]
    found: list[TaskComparison] = []
    for method, reference in pairs if len(names) >= FEWEST else ():
        at = levels(plan, results, (method, reference))
        known = [level for level in at if level is not None]
        if known:
            gaps = _sample_gaps(dense, results[method.name], results[reference.name], known)
            rows = [_task(plan, str(name), gaps[tasks == name]) for name in names]
            corrected = holm([row.p_corrected for row in rows])
            rows = [replace(row, p_corrected=p) for row, p in zip(rows, corrected, strict=True)]
            found.append(TaskComparison(method, reference, at, tuple(sorted(rows, key=lambda row: row.gap.value))))
    return found


def _task(plan: Plan, name: str, gaps: Float[np.ndarray, " samples"]) -> TaskGap:
    draws = resampler(plan, len(gaps))
    replicates = draws.weights @ gaps
    return TaskGap(name, len(gaps), draws.interval(replicates), draws.p_value(replicates))  # corrected by the caller


def _sample_gaps(dense: Outcome, first: Outcome, second: Outcome, at: Sequence[float]) -> Float[np.ndarray, " samples"]:
    """Every sample's difference, averaged over the levels."""
    one, other = saving_curve(dense, first), saving_curve(dense, second)
    return np.mean([_read(one, level) - _read(other, level) for level in at], axis=0)


def _read(curve: Curve, level: float) -> Float[np.ndarray, " samples"]:
    """Every sample's score at the setting that saves `level` on average over samples."""
    saving = curve.sparsity.mean(axis=1)
    left = int(np.clip(np.searchsorted(saving, level, side="right") - 1, 0, len(saving) - 2))
    fraction = (level - saving[left]) / (saving[left + 1] - saving[left])
    return (1 - fraction) * curve.score[left] + fraction * curve.score[left + 1]
