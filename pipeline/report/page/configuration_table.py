"""The configurations table: every configuration and whose profile a sample gets (rows) by target (columns), and what
groups add.

Accuracies are at equal *targets*; what methods really run differs a little, so the last column compares each grouped
method with the pooled one of its configuration at equal realised compute, the levels of that pair beside it.
"""

from __future__ import annotations

from typing import Any

from pipeline.report.analysis.configurations import configuration_name, configurations, group_kind
from pipeline.report.analysis.findings import SplitFindings
from pipeline.report.analysis.plan import Method, Plan
from pipeline.report.page.rows import Row, gap_cell, percent_cell
from pipeline.report.text.wording import level_span, target_name


def configuration_table(plan: Plan, split: SplitFindings) -> Row | None:
    """None where nothing can be right or wrong. `best` marks the highest accuracy at a target among all rows but dense:
    a mark, not a claim.
    """
    if not split.points:
        return None
    found = {(point.method, point.target): point.accuracy for point in split.points}
    best = {
        target: max((found[key].value for key in found if key[1] == target and not key[0].is_dense), default=None)
        for target in plan.targets
    }
    gains = {row.method: {**gap_cell(row.mean, good=1), "at": level_span(row.levels)} for row in split.gains}

    def line(method: Method) -> list[dict[str, Any] | None]:
        cells: list[dict[str, Any] | None] = []
        for target in plan.targets:
            accuracy = found.get((method, target))
            is_best = accuracy is not None and accuracy.value == best[target]
            cells.append(None if accuracy is None else {**percent_cell(accuracy), "best": is_best})
        return cells

    rows = [
        {
            "configuration": configuration_name(plan, configuration) if number == 0 else "",
            "span": len(configuration.methods),
            "kind": group_kind(method),
            "method": method.name,
            "cells": line(method),
            "gain": gains.get(method),
        }
        for configuration in configurations(plan)
        for number, method in enumerate(configuration.methods)
    ]
    dense = next(point.accuracy for point in split.points if point.method.is_dense)
    columns = [target_name(target) for target in plan.targets]
    return {"columns": columns, "rows": rows, "dense": {**percent_cell(dense), "best": False}}
