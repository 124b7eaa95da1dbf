"""The page's RQ2 section: configurations, differences, allocations, tasks, costs, and the same on the training
split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pipeline.report.analysis.findings import Findings
from pipeline.report.analysis.plan import Plan
from pipeline.report.analysis.specialisation import Specialisation
from pipeline.report.analysis.task_differences import TaskComparison
from pipeline.report.page import difference_rows, figures, profile_figures, profile_rows, rows
from pipeline.report.page.configuration_table import configuration_table
from pipeline.report.page.style import Figure
from pipeline.report.text import primary_comparison, profiles
from pipeline.report.text.recovery import recovery_sentences
from pipeline.report.text.wording import listed, points, target_name

Keep = Callable[[Figure], Figure]
"""Notes a figure that was drawn, and hands it back."""

LEAST_SPAN = 0.05
"""Heat maps of differences reach their full shade at the largest difference shown, but not below this one: noise must
not look like structure."""


def profile_context(plan: Plan, findings: Findings, keep: Keep) -> dict[str, Any]:
    """Everything the section shows; entries are empty or None where there is nothing to show."""
    test = findings.test
    learned = [one for one in findings.specialisations if one.is_learned]
    span = max([LEAST_SPAN, *(float(np.abs(one.shifts).max()) for one in learned)])
    return {
        "configurations": configuration_table(plan, test),
        "difference_figure": keep(figures.difference_panel(plan, test.gains, "differences")) if test.gains else None,
        "accuracy_figure": keep(figures.accuracy_panel(plan, test.points, "Test split", "accuracy_test"))
        if test.points
        else None,
        "differences": difference_rows.difference_table(plan, test),
        "primary": _primary(findings, keep),
        "results": rows.result_rows(test),
        "pooled": _pooled(findings, keep),
        "specialisations": [_specialisation(one, span, keep) for one in learned],
        "span": points(span, 0).removeprefix("+"),
        "shifts": profile_rows.shift_rows(findings.specialisations),
        "task_differences": _tasks(plan, test.task_differences, keep, "tasks"),
        "costs": profile_rows.cost_rows(plan, findings.costs),
        "train": _train(plan, findings, keep),
    }


def _pooled(findings: Findings, keep: Keep) -> dict[str, Any]:
    """A heat map per configuration; configurations that give every projection the same are only named."""
    drawn = [
        profile_figures.sparsity_panel(
            one.values, one.projections, one.configuration, f"pooled_{one.profile}", 1.0, signed=False
        )
        for one in findings.pooled
        if not one.is_flat
    ]
    flat = [one.configuration for one in findings.pooled if one.is_flat]
    targets = sorted({one.target for one in findings.pooled})
    return {
        "figures": [keep(figure) for figure in drawn],
        "targets": listed([target_name(target) for target in targets]) if targets else "",
        "flat": f"Not drawn, because every projection has the same sparsity: {listed(flat)}." if flat else "",
    }


def _specialisation(one: Specialisation, span: float, keep: Keep) -> dict[str, Any]:
    panels = [
        profile_figures.sparsity_panel(
            shift, one.projections, f"group {group}", f"sparsity_{one.profile}_{group}", span, signed=True
        )
        for group, shift in enumerate(one.shifts)
    ]
    return {
        "profile": one.profile,
        "reference": one.reference,
        "target": target_name(one.target),
        "sentence": profile_rows.carriers(one),
        "figures": [keep(panel) for panel in panels],
    }


def _primary(findings: Findings, keep: Keep) -> dict[str, Any] | None:
    """The primary comparison; None where there is none."""
    primary = findings.primary
    if primary is None or not primary.found.points:
        return None
    plan, found = primary.plan, primary.found
    return {
        "samples": f"{found.samples:,}",
        "shared": f"{findings.test.samples:,}",
        "summary": primary_comparison.summary(primary),
        "resolution": [
            *recovery_sentences(plan, found.recoveries, found.samples),
            *primary_comparison.resolution_sentences(plan, [*found.gains, *found.controls]),
        ],
        "differences": difference_rows.difference_table(plan, found),
        "results": rows.result_rows(found),
        "tasks": _tasks(plan, found.task_differences, keep, "primary_tasks"),
    }


def _tasks(plan: Plan, found: Sequence[TaskComparison], keep: Keep, name: str) -> dict[str, Any] | None:
    if not found:
        return None
    panels = [
        profile_figures.task_panel(
            one,
            plan.alpha,
            f"{one.method.name} \N{MINUS SIGN} {one.reference.name}",
            f"{name}_{one.method.name}_{one.reference.name}",
        )
        for one in found
    ]
    return {
        "sentences": [profiles.task_sentence(plan, one) for one in found],
        "figures": [keep(panel) for panel in panels],
        "table": profile_rows.task_difference_table(plan, found),
    }


def _train(plan: Plan, findings: Findings, keep: Keep) -> dict[str, Any] | None:
    train = findings.train
    if train is None or not train.points:
        return None
    figure = figures.accuracy_panel(plan, train.points, "Training split (leaks)", "accuracy_train")
    return {
        "figure": keep(figure),
        "configurations": configuration_table(plan, train),
        "differences": difference_rows.difference_table(plan, train),
        "results": rows.result_rows(train),
    }
