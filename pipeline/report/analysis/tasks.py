"""Accuracy task by task: where sparsity hurts, and how far each task is above guessing.

Guessing gives `1 / number of choices` (its mean over the task's items) for multiple choice and 0 for free generation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.report.analysis.evidence import Outcome
from pipeline.report.analysis.plan import Plan
from pipeline.report.analysis.resampling import resampler
from pipeline.statistics.bootstrap import Interval


@dataclass(frozen=True)
class TaskRow:
    """One task on one split. `accuracy[method][i]` is at the plan's i-th target; None where the method has none."""

    task: str
    samples: int
    chance: float
    dense: Interval
    accuracy: Mapping[str, tuple[float | None, ...]]


def task_rows(plan: Plan, rows: pd.DataFrame, results: Mapping[str, Outcome]) -> list[TaskRow]:
    """One row per task, in alphabetical order; `rows` are the split's samples in the outcomes' order."""
    names = rows["task"].to_numpy(dtype=np.str_)
    chance = np.array([1 / len(choices) if len(choices) else 0.0 for choices in rows["choices"]])
    dense = results[plan.dense.name].score[0]
    found: list[TaskRow] = []
    for task in np.unique(names):
        mine = names == task
        interval = resampler(plan, int(mine.sum())).intervals(dense[None, mine])[0]
        accuracy = {method.name: _accuracies(plan, results[method.name], mine) for method in plan.sparse}
        found.append(TaskRow(str(task), int(mine.sum()), float(chance[mine].mean()), interval, accuracy))
    return found


def _accuracies(plan: Plan, outcome: Outcome, mine: np.ndarray) -> tuple[float | None, ...]:
    means = dict(zip(outcome.targets.tolist(), outcome.score[:, mine].mean(axis=1).tolist(), strict=True))
    return tuple(means.get(target) for target in plan.targets)
