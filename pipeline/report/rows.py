"""Numbers as the page's tables show them: formatted cells, in plain dictionaries for the template.

Accuracies are in percent, differences in points, without units in the cells (the column heads carry them).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.report.accuracy import Comparison, Point
from pipeline.report.findings import Findings, SplitFindings
from pipeline.report.methods import describe, role
from pipeline.report.plan import Plan
from pipeline.report.routers import RegretRow, RouterRow
from pipeline.report.tasks import TaskRow
from pipeline.report.verdicts import TOLERANCE
from pipeline.report.wording import level_name, p_value, points, quantity, target_name
from pipeline.statistics import Interval

FADED_AT = 0.5
"""Accuracy lost against dense at which a task cell has its full shade."""
NONE = "\N{EM DASH}"

Row = dict[str, Any]


def result_rows(split: SplitFindings) -> list[Row]:
    """Every operating point."""
    found: list[Row] = []
    for point in split.points:
        is_first = not found or found[-1]["method"] != point.method.name
        found.append(
            {
                "method": point.method.name,
                "starts": is_first,
                "target": target_name(point.target) if not point.method.is_dense else NONE,
                "accuracy": percent_cell(point.accuracy),
                "loss": gap_cell(point.loss, good=0) if not point.method.is_dense else None,
                "sparsity": _share(point.sparsity),
                "deviation": _share(point.deviation),
                "spread": f"{_share(point.spread[0])}, {_share(point.spread[1])}",
                "compute": _share(point.compute),
            }
        )
    return found


def difference_table(plan: Plan, split: SplitFindings) -> Row:
    """Differences from the pooled method of the rung, from random groups and from the baseline: the mean over levels
    with its interval, the interval that redraws tasks and the corrected p-value, then every level. `heading` begins a
    kind of comparison.
    """
    columns = ["mean", "tasks redrawn", "p, corrected", *map(level_name, split.levels)]
    families = {
        "Groups against the pooled method of their own rung": split.gains,
        "Groups against random groups of the same sizes": split.controls,
        f"Other methods against {plan.baseline}": split.differences,
    }
    rows = [
        {**_difference_row(row, plan.alpha), "heading": heading if i == 0 else ""}
        for heading, family in families.items()
        for i, row in enumerate(family)
    ]
    return {"columns": columns, "rows": rows}


def regret_table(plan: Plan, rows: Sequence[RegretRow]) -> Row:
    """Regret at every target and on average."""
    found = [
        {
            "method": row.oracle.name,
            "reference": row.method.name,
            "heading": "",
            "cells": [_gap_or_dash(gap, good=-1) for gap in (*row.at_targets, row.mean)],
        }
        for row in rows
    ]
    return {"columns": [*map(target_name, plan.targets), "mean"], "rows": found}


def router_table(findings: Findings) -> list[Row]:
    """RQ3's table: accuracy and cost of every router."""
    train = {row.router: row for row in findings.train.routers} if findings.train else {}
    costs = {row.method.groups: row for row in findings.test.regrets}
    found: list[Row] = []
    for row in findings.test.routers:
        cost = costs.get(row.router)
        found.append(
            {
                "router": row.router,
                "accuracy": percent_cell(row.accuracy),
                "train": _share(train[row.router].accuracy.value) if row.router in train else NONE,
                "largest": _share(row.largest),
                "flops": quantity(cost.flops) if cost is not None and cost.flops is not None else NONE,
                "share": f"{100 * cost.share:.3g}" if cost is not None and cost.share is not None else NONE,
            }
        )
    return found


def confusion_table(row: RouterRow) -> Row:
    """Samples of every true group (rows) by the group the router named (columns)."""
    totals = np.maximum(row.confusion.sum(axis=1, keepdims=True), 1)
    shares = row.confusion / totals
    rows = [
        {
            "name": f"group {i}",
            "extra": [],
            "cells": [heat_cell(str(n), float(s)) for n, s in zip(counts, share, strict=True)],
        }
        for i, (counts, share) in enumerate(zip(row.confusion, shares, strict=True))
    ]
    caption = f"{row.router}: true group in rows, named group in columns, samples"
    return heat_table(caption, "", [str(i) for i in range(len(rows))], rows)


def tradeoff_rows(plan: Plan, split: SplitFindings) -> list[Row]:
    """Remaining FLOPs and lost accuracy of every sparse method at every target; None where it has no result."""
    found: list[Row] = []
    for method in plan.sparse:
        mine = {point.target: _tradeoff_cell(point) for point in split.points if point.method == method}
        found.append({"method": method.name, "cells": [mine.get(target) for target in plan.targets]})
    return found


def budget_rows(plan: Plan, split: SplitFindings) -> list[Row]:
    """How evenly every sparse method spends its budget: realised sparsity over samples; None where it has no result."""
    found: list[Row] = []
    for method in plan.sparse:
        mine = {point.target: point for point in split.points if point.method == method}
        cells = [_budget_cell(mine[target]) if target in mine else None for target in plan.targets]
        found.append({"method": method.name, "cells": cells})
    return found


def task_tables(plan: Plan, rows: Sequence[TaskRow]) -> list[Row]:
    """One heat table of accuracies per target."""
    names = [method.name for method in plan.sparse]
    tables: list[Row] = []
    for i, target in enumerate(plan.targets):
        lines = [
            {
                "name": row.task,
                "extra": [row.samples, _share(row.chance, 0), f"{_share(row.dense.value, 0)} ±{_half(row.dense)}"],
                "cells": [_task_cell(row.accuracy[name][i], row.dense.value) for name in names],
            }
            for row in rows
        ]
        columns = ["samples", "chance", "dense", *names]
        tables.append(heat_table(f"Target {target_name(target)}", "task", columns, lines, bad=True))
    return tables


def method_rows(plan: Plan) -> list[Row]:
    """Every method in words."""
    return [
        {
            "name": method.name,
            "role": role(plan, method),
            "profile": method.profile or NONE,
            "text": describe(plan, method),
        }
        for method in plan.methods
    ]


def settings_rows(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """Settings as text, lists and mappings on one line."""
    return {section: {key: _plain(value) for key, value in values.items()} for section, values in settings.items()}


def heat_table(caption: str, corner: str, columns: list[str], rows: list[Row], *, bad: bool = False) -> Row:
    """A table of shaded cells; `bad` shades in the colour of losses."""
    return {"caption": caption, "corner": corner, "columns": columns, "rows": rows, "bad": bad}


def heat_cell(text: str, heat: float) -> Row:
    return {"text": text, "heat": f"{min(max(heat, 0.0), 1.0):.3f}"}


def gap_cell(interval: Interval, good: int) -> Row:
    """A difference; `tone` marks one whose interval excludes zero, and whether its sign is the welcome one (`good`; 0:
    no mark).
    """
    tone = ""
    if good and (interval.low > 0 or interval.high < 0):
        tone = "up" if (interval.value > 0) == (good > 0) else "down"
    low, high = (points(end).removeprefix("+") for end in (interval.low, interval.high))
    return {"value": points(interval.value), "low": low, "high": high, "tone": tone}


def percent_cell(interval: Interval) -> Row:
    """An accuracy with its interval."""
    return {"value": _share(interval.value), "low": _share(interval.low), "high": _share(interval.high), "tone": ""}


def _difference_row(row: Comparison, alpha: float) -> Row:
    over_tasks = _ends(row.over_tasks) if row.over_tasks is not None else {"text": NONE, "bold": False}
    p_corrected = {"text": p_value(row.p_corrected), "bold": row.is_claimed(alpha)}
    cells = [gap_cell(row.mean, good=1), over_tasks, p_corrected, *(_gap_or_dash(gap, good=1) for gap in row.at_levels)]
    return {"method": row.method.name, "reference": row.reference.name, "cells": cells}


def _gap_or_dash(interval: Interval | None, good: int) -> Row | None:
    return None if interval is None else gap_cell(interval, good)


def _tradeoff_cell(point: Point) -> Row:
    loss = gap_cell(point.loss, good=0)
    safe = point.loss.high < TOLERANCE
    return {
        "compute": _share(point.compute, 0),
        "loss": loss["value"],
        "low": loss["low"],
        "high": loss["high"],
        "safe": safe,
    }


def _budget_cell(point: Point) -> Row:
    low, high = map(_share, point.spread)
    return {"value": f"{_share(point.sparsity)} ± {_share(point.deviation)}", "low": low, "high": high, "tone": ""}


def _task_cell(accuracy: float | None, dense: float) -> Row:
    if accuracy is None:
        return heat_cell(NONE, 0.0)
    return heat_cell(_share(accuracy, 0), (dense - accuracy) / FADED_AT)


def _ends(interval: Interval) -> Row:
    """Only the ends of a difference's interval."""
    low, high = (points(end).removeprefix("+") for end in (interval.low, interval.high))
    return {"text": f"[{low}, {high}]", "bold": interval.low > 0 or interval.high < 0}


def _share(value: float, decimals: int = 1) -> str:
    return f"{100 * value:.{decimals}f}"


def _half(interval: Interval) -> str:
    return f"{50 * (interval.high - interval.low):.0f}"


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_plain(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_plain(item) for item in value)
    return "null" if value is None else str(value)
