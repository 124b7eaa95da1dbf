"""RQ2's smaller tables: how far group allocations are from pooled ones, differences task by task, costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from pipeline.report.analysis.evidence import total
from pipeline.report.analysis.plan import Plan
from pipeline.report.analysis.specialisation import Specialisation
from pipeline.report.analysis.task_differences import TaskComparison
from pipeline.report.page.rows import NONE, Row, difference_cell
from pipeline.report.text.wording import compute_range, listed, p_value, percent, quantity, target_name

NAMED = 2
"""Projections and blocks that a sentence names."""
LEARNED_ONCE = "weights of features, learned once"
"""Stands in place of an allocation in the row of learned weights."""


def shift_rows(specialisations: Sequence[Specialisation]) -> list[Row]:
    """Distance of the groups of every profile set from the pooled allocation, in points."""
    return [
        {
            "profile": item.profile,
            "reference": item.reference,
            "kind": item.kind,
            "groups": len(item.shifts),
            "target": target_name(item.target),
            "shift": f"{100 * float(item.mean_shift.mean()):.1f}",
            "range": f"{100 * float(item.mean_shift.min()):.1f} to {100 * float(item.mean_shift.max()):.1f}",
            "projections": _largest(item.projections, item.by_projection),
            "blocks": _largest(_block_names(item), item.by_block),
        }
        for item in specialisations
    ]


def carriers(item: Specialisation) -> str:
    """A sentence about the projections and blocks in which the groups differ most from the pooled allocation."""
    _, projections, blocks = item.shifts.shape
    if not item.shifts.any():
        return "The groups have the pooled allocation: only their thresholds are their own."
    shifts = listed([f"{100 * shift:.1f}" for shift in item.mean_shift])
    return (
        f"Mean absolute difference of a group's sparsities from the pooled ones, group by group: {shifts} points. "
        f"Largest by projection: {_largest(item.projections, item.by_projection)}, where an even split would be "
        f"{percent(1 / projections, 0)}; by block: {_largest(_block_names(item), item.by_block)}, where it would be "
        f"{percent(1 / blocks, 0)}."
    )


def task_difference_table(plan: Plan, comparisons: Sequence[TaskComparison]) -> Row:
    """Every task (rows, alphabetical) by comparison (columns)."""
    by_task = [{row.task: row for row in comparison.rows} for comparison in comparisons]
    return {
        "columns": [
            f"{comparison.method.name} minus {comparison.reference.name}, at {compute_range(comparison.savings)}"
            for comparison in comparisons
        ],
        "rows": [
            {
                "task": task,
                "samples": by_task[0][task].samples,
                "cells": [
                    {
                        **difference_cell(rows[task].gap, good=1 if rows[task].p_corrected < plan.alpha else 0),
                        "p": p_value(rows[task].p_corrected),
                    }
                    for rows in by_task
                ],
            }
            for task in sorted(by_task[0])
        ],
    }


def cost_rows(plan: Plan, costs: Mapping[str, pd.DataFrame]) -> list[Row]:
    """Cost of finding the allocations of every profile set, over its groups; `times`: its tokens over those of the
    baseline's profile set. Learned weights are not a profile set, and have a row of their own.
    """
    unit = total(costs[plan.method(plan.baseline).profile], "tokens")
    allocations = {method.profile: method.allocation for method in plan.sparse}
    return [
        {
            "profile": name,
            "allocation": allocations.get(name, LEARNED_ONCE),
            "groups": len(table),
            "tokens": quantity(total(table, "tokens")),
            "times": f"{total(table, 'tokens') / unit:.3g}" if unit else NONE,
            "evaluations": f"{total(table, 'evaluations'):,.0f}",
        }
        for name, table in costs.items()
    ]


def _block_names(item: Specialisation) -> list[str]:
    return [str(block) for block in range(item.shifts.shape[2])]


def _largest(names: Sequence[str], fractions: np.ndarray) -> str:
    """The names with the largest fractions: "down (31%) and o (22%)"; a dash where all are undefined."""
    if np.isnan(fractions).any():
        return NONE
    order = np.argsort(-fractions, kind="stable")[:NAMED]
    return listed([f"{names[position]} ({percent(float(fractions[position]), 0)})" for position in order])
