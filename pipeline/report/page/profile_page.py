"""The page's RQ2 section: configurations, differences, allocations, tasks, costs, and the same on the training
split."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.report.analysis.findings import Findings
from pipeline.report.analysis.plan import Plan
from pipeline.report.analysis.specialisation import PooledAllocation, Specialisation
from pipeline.report.analysis.task_differences import TaskComparison
from pipeline.report.page import difference_rows, figures, profile_figures, profile_rows, rows
from pipeline.report.page.configuration_table import configuration_table
from pipeline.report.text import primary_comparison, profiles
from pipeline.report.text.recovery import recovery_sentences
from pipeline.report.text.wording import listed, points, target_name

LEAST_SPAN = 0.05
"""Heat maps of differences reach their full shade at the largest difference shown, but not below this one: chance
differences must not look like structure."""


def profile_context(plan: Plan, findings: Findings) -> dict[str, Any]:
    """Everything the section shows; entries are empty or None where there is nothing to show."""
    test = findings.test
    learned = [item for item in findings.specialisations if item.is_learned]
    span = max([LEAST_SPAN, *(float(np.abs(item.shifts).max()) for item in learned)])
    return {
        "configurations": configuration_table(plan, test),
        "difference_figure": figures.difference_panel(plan, test.gains, "differences") if test.gains else None,
        "accuracy_figure": figures.accuracy_panel(plan, test.points, "Test split", "accuracy_test")
        if test.points
        else None,
        "differences": difference_rows.difference_table(plan, test),
        "primary": _primary(findings),
        "results": rows.result_rows(test),
        "pooled": _pooled(findings.pooled),
        "specialisations": [_specialisation(item, span) for item in learned],
        "span": points(span, 0).removeprefix("+"),
        "shifts": profile_rows.shift_rows(findings.specialisations),
        "task_differences": _tasks(plan, test.task_differences, "tasks"),
        "costs": profile_rows.cost_rows(plan, findings.costs),
        "train": _train(plan, findings),
    }


def _pooled(allocations: Sequence[PooledAllocation]) -> dict[str, Any]:
    """A heat map per configuration; configurations that give every projection the same sparsity are only named."""
    flat = [pooled.configuration for pooled in allocations if pooled.is_flat]
    targets = sorted({pooled.target for pooled in allocations})
    return {
        "figures": [
            profile_figures.sparsity_panel(
                pooled.values, pooled.projections, pooled.configuration, f"pooled_{pooled.profile}", 1.0, signed=False
            )
            for pooled in allocations
            if not pooled.is_flat
        ],
        "targets": listed([target_name(target) for target in targets]) if targets else "",
        "flat": f"Not drawn, because every projection has the same sparsity: {listed(flat)}." if flat else "",
    }


def _specialisation(item: Specialisation, span: float) -> dict[str, Any]:
    return {
        "profile": item.profile,
        "reference": item.reference,
        "target": target_name(item.target),
        "sentence": profile_rows.carriers(item),
        "figures": [
            profile_figures.sparsity_panel(
                shift, item.projections, f"group {group}", f"sparsity_{item.profile}_{group}", span, signed=True
            )
            for group, shift in enumerate(item.shifts)
        ],
    }


def _primary(findings: Findings) -> dict[str, Any] | None:
    """The primary comparison; None where there is none."""
    primary = findings.primary
    if primary is None or not primary.accuracies.points:
        return None
    plan, accuracies = primary.plan, primary.accuracies
    return {
        "samples": f"{accuracies.samples:,}",
        "shared": f"{findings.test.samples:,}",
        "summary": primary_comparison.summary(primary),
        "resolution": [
            *recovery_sentences(plan, accuracies.recoveries, accuracies.samples),
            *primary_comparison.resolution_sentences(plan, [*accuracies.gains, *accuracies.controls]),
        ],
        "differences": difference_rows.difference_table(plan, accuracies),
        "results": rows.result_rows(accuracies),
        "tasks": _tasks(plan, accuracies.task_differences, "primary_tasks"),
    }


def _tasks(plan: Plan, comparisons: Sequence[TaskComparison], name: str) -> dict[str, Any] | None:
    if not comparisons:
        return None
    return {
        "sentences": [profiles.task_sentence(plan, comparison) for comparison in comparisons],
        "figures": [
            profile_figures.task_panel(
                comparison,
                plan.alpha,
                f"{comparison.method.name} \N{MINUS SIGN} {comparison.reference.name}",
                f"{name}_{comparison.method.name}_{comparison.reference.name}",
            )
            for comparison in comparisons
        ],
        "table": profile_rows.task_difference_table(plan, comparisons),
    }


def _train(plan: Plan, findings: Findings) -> dict[str, Any] | None:
    train = findings.train
    if train is None or not train.points:
        return None
    return {
        "figure": figures.accuracy_panel(plan, train.points, "Training split (leaks)", "accuracy_train"),
        "configurations": configuration_table(plan, train),
        "differences": difference_rows.difference_table(plan, train),
        "results": rows.result_rows(train),
    }
