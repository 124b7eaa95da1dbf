"""Sentences about differences task by task name the worst and the best task, and those that are claimed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.report.analysis.task_differences import TaskComparison, TaskGap
from pipeline.report.text.profiles import task_sentence
from pipeline.statistics.bootstrap import Interval


@pytest.fixture
def comparison(plan):
    gaps = [(-0.2, 0.001), (-0.1, 0.4), *[(0.01, 1.0)] * 13, (0.1, 0.2)]
    rows = tuple(TaskGap(f"task{i}", 48, Interval(gap, gap - 0.05, gap + 0.05), p) for i, (gap, p) in enumerate(gaps))
    return TaskComparison(plan.method("clustered_embedding"), plan.method("greedy"), (0.21, 0.3, 0.4, 0.56), rows)


def test_the_worst_and_the_best_task_and_the_claimed_ones_are_named(plan, comparison):
    sentence = task_sentence(plan, comparison)
    assert sentence.startswith("`clustered_embedding` minus `greedy` (at 79 to 44% of the dense FLOPs)")
    worst, best = "task0 \N{MINUS SIGN}20.0 [\N{MINUS SIGN}25.0, \N{MINUS SIGN}15.0]", "task15 +10.0 [5.0, 15.0]"
    assert f"worst on {worst}" in sentence and f"best on {best}" in sentence
    assert "16 tasks" in sentence and "none above" in sentence and "1 (task0) below" in sentence


def test_too_few_replicates_to_claim_any_difference_are_admitted(plan, comparison):
    sentence = task_sentence(replace(plan, bootstrap=200), comparison)
    assert "200 replicates are too few" in sentence and "16" in sentence
