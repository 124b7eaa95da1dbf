"""Cells and rows of the page's tables: formatted numbers in plain dictionaries, which the template only arranges.

Accuracies are in percent, differences in percentage points, without units in the cells: the column heads carry them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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


def interval_cell(interval: Interval, write: Callable[[float], str], tone: str = "") -> Row:
    """An estimate with the ends of its interval; a non-empty `tone` (`up`, `down`, `shown`) makes it bold."""
    return {"value": write(interval.value), "low": write(interval.low), "high": write(interval.high), "tone": tone}


def sign_tone(interval: Interval, good: int, null: float = 0.0) -> str:
    """`up` or `down` where the interval excludes `null`, `up` being the welcome sign (`good`: 1 or -1); else empty."""
    sign = 1 if interval.low > null else -1 if interval.high < null else 0
    return "" if sign == 0 else "up" if sign == good else "down"


def percent_cell(interval: Interval) -> Row:
    """An accuracy with its interval, in percent."""
    return interval_cell(interval, percentage)


def difference_cell(interval: Interval, good: int = 0) -> Row:
    """A difference in points with its interval; marked where that excludes zero, unless `good` is 0."""
    tone = sign_tone(interval, good) if good else ""
    cell = interval_cell(interval, lambda end: points(end).removeprefix("+"), tone)
    return {**cell, "value": points(interval.value)}


def heat_table(caption: str, corner: str, columns: list[str], rows: list[Row], *, bad: bool = False) -> Row:
    """A table of shaded cells; `bad` shades in the colour of losses."""
    return {"caption": caption, "corner": corner, "columns": columns, "rows": rows, "bad": bad}


def heat_row(name: str, cells: list[Row], extra: Sequence[object] = ()) -> Row:
    """A row of a heat table; `extra` are its cells without shade."""
    return {"name": name, "extra": extra, "cells": cells}


def heat_cell(text: str, heat: float) -> Row:
    """A cell with a shade from 0 (none) to 1 (full)."""
    return {"text": text, "heat": f"{min(max(heat, 0.0), 1.0):.3f}"}


def percentage(fraction: float, decimals: int = 1) -> str:
    """A fraction as a number of percent, without the sign: 0.934 -> "93.4"."""
    return f"{100 * fraction:.{decimals}f}"


def result_rows(split: Accuracies) -> list[Row]:
    """Every operating point of a split."""
    return [
        {
            "method": point.method.name,
            "target": NONE if point.method.is_dense else target_name(point.target),
            "accuracy": percent_cell(point.accuracy),
            "loss": None if point.method.is_dense else difference_cell(point.loss),
            "sparsity": percentage(point.sparsity),
            "deviation": percentage(point.deviation),
            "spread": ", ".join(map(percentage, point.spread)),
            "compute": percentage(point.compute),
        }
        for point in split.points
    ]


def tradeoff_rows(plan: Plan, split: Accuracies) -> list[Row]:
    """Remaining FLOPs and lost accuracy of every sparse method at every target; None where it has no result."""
    return _by_target(plan, split, _tradeoff_cell)


def budget_rows(plan: Plan, split: Accuracies) -> list[Row]:
    """Realised sparsity over samples of every sparse method at every target; None where it has no result."""
    return _by_target(plan, split, _budget_cell)


def task_tables(plan: Plan, rows: Sequence[TaskRow]) -> list[Row]:
    """One heat table of accuracies per target; none without tasks."""
    if not rows:
        return []
    names = [method.name for method in plan.sparse]
    columns = ["samples", "chance", "dense", *names]
    return [
        heat_table(
            f"Target {target_name(target)}",
            "task",
            columns,
            [
                heat_row(
                    row.task,
                    [_task_cell(row.accuracy[name][number], row.dense.value) for name in names],
                    [row.samples, percentage(row.chance, 0), f"{percentage(row.dense.value, 0)} ±{_half(row.dense)}"],
                )
                for row in rows
            ],
            bad=True,
        )
        for number, target in enumerate(plan.targets)
    ]


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


def _by_target(plan: Plan, split: Accuracies, cell: Callable[[Point], Row]) -> list[Row]:
    known = {(point.method, point.target): cell(point) for point in split.points}
    return [
        {"method": method.name, "cells": [known.get((method, target)) for target in plan.targets]}
        for method in plan.sparse
    ]


def _tradeoff_cell(point: Point) -> Row:
    is_safe = point.loss.high < TOLERANCE
    return {**difference_cell(point.loss), "compute": percentage(point.compute, 0), "safe": is_safe}


def _budget_cell(point: Point) -> Row:
    low, high = map(percentage, point.spread)
    value = f"{percentage(point.sparsity)} ± {percentage(point.deviation)}"
    return {"value": value, "low": low, "high": high, "tone": ""}


def _task_cell(accuracy: float | None, dense: float) -> Row:
    if accuracy is None:
        return heat_cell(NONE, 0.0)
    return heat_cell(percentage(accuracy, 0), (dense - accuracy) / FADED_AT)


def _half(interval: Interval) -> str:
    return f"{50 * (interval.high - interval.low):.0f}"


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_plain(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_plain(item) for item in value)
    return "null" if value is None else str(value)
