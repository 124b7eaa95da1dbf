"""Numbers as the page's tables show them: formatted cells, in plain dictionaries for the template.

Accuracies are in percent, differences in points, without units in the cells (the column heads carry them).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.report.analysis.accuracy import Point
from pipeline.report.analysis.findings import Accuracies
from pipeline.report.analysis.plan import Plan
from pipeline.report.analysis.tasks import TaskRow
from pipeline.report.text.methods import describe, role
from pipeline.report.text.rules import TOLERANCE
from pipeline.report.text.wording import points, target_name
from pipeline.statistics.bootstrap import Interval

FADED_AT = 0.5
"""Accuracy lost against dense at which a task cell has its full shade."""
NONE = "\N{EM DASH}"

Row = dict[str, Any]


def result_rows(split: Accuracies) -> list[Row]:
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
                "sparsity": fraction(point.sparsity),
                "deviation": fraction(point.deviation),
                "spread": f"{fraction(point.spread[0])}, {fraction(point.spread[1])}",
                "compute": fraction(point.compute),
            }
        )
    return found


def tradeoff_rows(plan: Plan, split: Accuracies) -> list[Row]:
    """Remaining FLOPs and lost accuracy of every sparse method at every target; None where it has no result."""
    found: list[Row] = []
    for method in plan.sparse:
        mine = {point.target: _tradeoff_cell(point) for point in split.points if point.method == method}
        found.append({"method": method.name, "cells": [mine.get(target) for target in plan.targets]})
    return found


def budget_rows(plan: Plan, split: Accuracies) -> list[Row]:
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
                "extra": [row.samples, fraction(row.chance, 0), f"{fraction(row.dense.value, 0)} ±{_half(row.dense)}"],
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
    return {
        "value": fraction(interval.value),
        "low": fraction(interval.low),
        "high": fraction(interval.high),
        "tone": "",
    }


def gap_or_dash(interval: Interval | None, good: int) -> Row | None:
    """`gap_cell`, or None where there is no difference."""
    return None if interval is None else gap_cell(interval, good)


def fraction(value: float, decimals: int = 1) -> str:
    """A share of 1 as a number of percent."""
    return f"{100 * value:.{decimals}f}"


def _tradeoff_cell(point: Point) -> Row:
    loss = gap_cell(point.loss, good=0)
    safe = point.loss.high < TOLERANCE
    return {
        "compute": fraction(point.compute, 0),
        "loss": loss["value"],
        "low": loss["low"],
        "high": loss["high"],
        "safe": safe,
    }


def _budget_cell(point: Point) -> Row:
    low, high = map(fraction, point.spread)
    return {"value": f"{fraction(point.sparsity)} ± {fraction(point.deviation)}", "low": low, "high": high, "tone": ""}


def _task_cell(accuracy: float | None, dense: float) -> Row:
    if accuracy is None:
        return heat_cell(NONE, 0.0)
    return heat_cell(fraction(accuracy, 0), (dense - accuracy) / FADED_AT)


def _half(interval: Interval) -> str:
    return f"{50 * (interval.high - interval.low):.0f}"


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_plain(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_plain(item) for item in value)
    return "null" if value is None else str(value)
