"""Accuracy task by task, beside the accuracy of guessing: `1 / number of choices` (its mean over the task's items) for
multiple choice, 0 for free generation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.report.analysis.evidence import Outcome
from pipeline.report.analysis.plan import Plan
from pipeline.report.analysis.resampling import mean_interval
from pipeline.statistics.bootstrap import Interval


@dataclass(frozen=True)
class TaskRow:
    """One task on one split. `accuracy[method][i]` is at the plan's i-th target; None where the method has none."""

    task: str
    samples: int
    chance: float
    dense: Interval
    accuracy: Mapping[str, tuple[float | None, ...]]


def task_rows(plan: Plan, samples: pd.DataFrame, results: Mapping[str, Outcome]) -> list[TaskRow]:
    """One row per task, in alphabetical order; `samples` are in the outcomes' order."""
    tasks = samples["task"].to_numpy(dtype=np.str_)
    chance = np.array([1 / len(choices) if len(choices) else 0.0 for choices in samples["choices"]])
    rows: list[TaskRow] = []
    for task in np.unique(tasks):
        chosen = tasks == task
        own = {name: outcome.only(chosen) for name, outcome in results.items()}
        dense = mean_interval(plan, own[plan.dense.name].score[0])
        accuracy = {method.name: _accuracies(plan, own[method.name]) for method in plan.sparse}
        rows.append(TaskRow(str(task), int(chosen.sum()), float(chance[chosen].mean()), dense, accuracy))
    return rows


def _accuracies(plan: Plan, outcome: Outcome) -> tuple[float | None, ...]:
    means = dict(zip(outcome.targets.tolist(), outcome.score.mean(axis=1).tolist(), strict=True))
    return tuple(means.get(target) for target in plan.targets)
