"""RQ2's smaller tables: how far groups are from pooled allocations, differences task by task, costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from pipeline.report.analysis.evidence import total
from pipeline.report.analysis.plan import Plan
from pipeline.report.analysis.specialisation import Specialisation
from pipeline.report.analysis.task_differences import TaskComparison
from pipeline.report.page.rows import NONE, Row, gap_cell
from pipeline.report.text.wording import level_span, listed, p_value, percent, quantity, target_name

SHOWN = 2
"""Projections and blocks that a sentence names."""


LEARNED_ONCE = "weights of features, learned once"
"""What stands in place of an allocation in the row of learned weights."""


def shift_rows(found: Sequence[Specialisation]) -> list[Row]:
    """How far the groups of every profile set are from the pooled allocation, in points."""
    return [
        {
            "profile": one.profile,
            "reference": one.reference,
            "kind": one.kind,
            "groups": len(one.shifts),
            "target": target_name(one.target),
            "shift": f"{100 * float(one.mean_shift.mean()):.1f}",
            "range": f"{100 * float(one.mean_shift.min()):.1f} to {100 * float(one.mean_shift.max()):.1f}",
            "projections": _named(one.projections, one.by_projection),
            "blocks": _named([str(block) for block in range(one.shifts.shape[2])], one.by_block),
        }
        for one in found
    ]


def carriers(one: Specialisation) -> str:
    """Which projections and blocks carry the difference of the groups from the pooled allocation."""
    projections, blocks = one.shifts.shape[1:]
    numbers = [str(block) for block in range(blocks)]
    if not one.shifts.any():
        return "The groups have the pooled allocation: only their thresholds are their own."
    shifts = listed([f"{100 * shift:.1f}" for shift in one.mean_shift])
    return (
        f"Mean absolute difference of a group's sparsities from the pooled ones, group by group: {shifts} points. "
        f"Of the projections {_named(one.projections, one.by_projection)} have most of it, where an even share would "
        f"be {percent(1 / projections, 0)}; of the blocks {_named(numbers, one.by_block)}, "
        f"where it would be {percent(1 / blocks, 0)}."
    )


def task_difference_table(plan: Plan, found: Sequence[TaskComparison]) -> Row | None:
    """Every task (rows, alphabetical) by comparison (columns)."""
    if not found:
        return None
    rows = {one.method.name + one.reference.name: {row.task: row for row in one.rows} for one in found}
    tasks = sorted(row.task for row in found[0].rows)
    return {
        "columns": [f"{one.method.name} minus {one.reference.name}, at {level_span(one.levels)}" for one in found],
        "rows": [
            {
                "task": task,
                "samples": next(iter(rows.values()))[task].samples,
                "cells": [
                    {
                        **gap_cell(mine[task].gap, good=1 if mine[task].p_corrected < plan.alpha else 0),
                        "p": p_value(mine[task].p_corrected),
                    }
                    for mine in rows.values()
                ],
            }
            for task in tasks
        ],
    }


def cost_rows(plan: Plan, costs: Mapping[str, pd.DataFrame]) -> list[Row]:
    """What finding the allocations of every profile set took, over its groups; `times`: its tokens over those of the
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
            "seconds": f"{total(table, 'seconds'):,.1f}",
        }
        for name, table in costs.items()
    ]


def _named(names: Sequence[str], fractions: np.ndarray) -> str:
    """The names with the largest shares: "down 31% and o 22%"; a dash where all shares are undefined."""
    if np.isnan(fractions).any():
        return NONE
    order = np.argsort(-fractions, kind="stable")[:SHOWN]
    return listed([f"{names[at]} ({percent(float(fractions[at]), 0)})" for at in order])
